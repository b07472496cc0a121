"""One content hash for everything that decides whether two models, programs or files are the same.

Programs, engines, checked models and staged copies are found by it. Different contents never have
the same digest. Equal contents have the same one in every process; but what cannot be taken apart
(a lock, an open file) is equal to itself alone.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import operator
import os
import struct
import sys
import types
import uuid
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .late import Tensor

#: What is read of a model's directory: weights, settings, vocabularies, templates and code.
_READ = (".safetensors", ".bin", ".json", ".txt", ".model", ".spm", ".tiktoken", ".jinja", ".py")


def digest(value: Any) -> str:
    """The hash of a value's content, with the types of all that is in it.

    Arrays and tensors count by dtype, shape and bytes; functions by their code, defaults and
    closures; sets in any order; mappings in their own order, which a chat template may print.
    """
    content = _Content()
    try:
        content.add(value)
    except RecursionError:  # nested too deeply: equal to itself alone
        return uuid.uuid4().hex
    return content.hexdigest()


def of_keywords(keywords: Mapping[str, Any]) -> str:
    """The hash of keyword arguments, in whatever order they were given."""
    return digest(sorted(keywords.items(), key=lambda item: str(item[0])))


def of_directory(path: str) -> str:
    """The hash of which files a model's directory has, how large they are and when they came.

    It changes when a file is overwritten. Files are not read for it.
    """
    found = []
    for folder, folders, names in os.walk(path):
        inside = os.path.relpath(folder, path)
        # A model's parts lie in folders of its directory, and nothing lies deeper.
        folders[:] = [name for name in folders if inside == "." and not name.startswith(".")]
        for name in names:
            if name.endswith(_READ) and not name.startswith("."):
                found.append((inside, name, *_stat(os.path.join(folder, name))))
    return digest(sorted(found))


def _stat(path: str) -> tuple[int, ...]:
    try:
        about = os.stat(path)
    except OSError:  # it has gone meanwhile, or is a link to nowhere
        return ()
    return about.st_size, about.st_ino, about.st_mtime_ns, about.st_ctime_ns


def tensor_bytes(tensor: Tensor) -> np.ndarray[Any, Any]:
    """The bytes of a dense tensor of any dtype, in the order of its positions."""
    import torch

    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy()


class _Content:
    """A hash that values are added to, one by one."""

    def __init__(self, known: Mapping[int, int] | None = None, around: Iterable[int] = ()) -> None:
        self._hash = hashlib.sha256()
        #: Objects that were added, by their ids, with their numbers.
        self._known = dict(known or {})
        #: Containers that are being added: one that is met in itself is a circle.
        self._around = list(around)
        #: No id may be another object's before all are added.
        self._kept: list[Any] = []

    def hexdigest(self) -> str:
        """The digest of all that was added."""
        return self._hash.hexdigest()

    def add(self, value: Any) -> None:
        """Add a value with its type."""
        add = _KINDS.get(type(value))
        if add is not None:
            add(self, value)
        elif isinstance(value, Tensor):
            self._tensor(value)
        elif isinstance(value, type):
            self._class(value)
        else:
            self._object(value)

    def _write(self, kind: str, content: bytes | memoryview = b"") -> None:
        # With its length: nothing that follows can be taken for a part of it.
        self._hash.update(f"{kind} {len(content)} ".encode())
        self._hash.update(content)

    def _text(self, value: str) -> None:
        self._write("str", value.encode("utf-8", "surrogatepass"))

    def _number(self, value: complex) -> None:
        kind = type(value).__name__
        if isinstance(value, int):
            self._write(kind, hex(value).encode())
        else:
            self._write(kind, struct.pack("<dd", value.real, value.imag))

    def _bytes(self, value: bytes | bytearray) -> None:
        self._write(type(value).__name__, memoryview(value))

    def _sequence(self, value: list[Any] | tuple[Any, ...]) -> None:
        if self._enters(value):
            self._write(type(value).__name__, str(len(value)).encode())
            for item in value:
                self.add(item)
            self._around.pop()

    def _mapping(self, value: Mapping[Any, Any]) -> None:
        if self._enters(value):
            self._write(type(value).__name__, str(len(value)).encode())
            for name, item in value.items():
                self.add(name)
                self.add(item)
            self._around.pop()

    def _set(self, value: set[Any] | frozenset[Any]) -> None:
        found = []
        for item in value:
            content = _Content(self._known, [*self._around, id(value)])
            content.add(item)
            found.append(content.hexdigest())
        self._write(type(value).__name__, " ".join(sorted(found)).encode())

    def _enters(self, value: Any) -> bool:
        """Whether a container is to be added, and is not in itself."""
        if id(value) in self._around:
            self._write("circle", str(self._around.index(id(value))).encode())
            return False
        self._around.append(id(value))
        return True

    def _array(self, value: np.ndarray[Any, Any]) -> None:
        if value.dtype.hasobject:
            self._write("array", repr((value.dtype, value.shape)).encode())
            self.add(value.tolist())
            return
        self._write("array", repr((value.dtype, value.shape)).encode())
        self._write("bytes", memoryview(value.tobytes()))

    def _tensor(self, value: Tensor) -> None:
        import torch

        dense = value.layout == torch.strided and not value.is_meta and not value.is_quantized
        if not dense or hasattr(value, "__tensor_flatten__"):
            self._object(value)
            return
        about = (type(value).__name__, value.dtype, tuple(value.shape), value.device)
        self._write("tensor", repr(about).encode())
        self._write("bytes", tensor_bytes(value).tobytes())

    def _is_known(self, value: Any) -> bool:
        """Whether an object was added before; from now on it was."""
        number = self._known.get(id(value))
        if number is None:
            self._known[id(value)] = len(self._known)
            self._kept.append(value)
            return False
        self._write("again", str(number).encode())
        return True

    def _code(self, code: types.CodeType) -> None:
        self._write("code", code.co_code)
        self.add(code.co_consts)
        self.add((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars))
        self.add((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount))
        self.add((code.co_flags, code.co_exceptiontable))

    def _function(self, value: types.FunctionType) -> None:
        if self._is_known(value):
            return
        self.add((value.__module__, value.__qualname__))
        self._code(value.__code__)
        self.add(value.__defaults__)
        self._attributes(value.__kwdefaults__ or {})
        self._attributes(value.__dict__)
        for cell in value.__closure__ or ():
            self.add(_content(cell))
        if not _is_importable(value):  # else a process that imports it has globals of its own
            known = value.__globals__
            self._attributes({n: known[n] for n in _names(value.__code__) if n in known})

    def _class(self, value: type[Any]) -> None:
        if self._is_known(value):
            return
        self.add((value.__module__, value.__qualname__))
        members = sorted(vars(value).items())
        if _is_importable(value):  # another of this name may have been there before
            for name, member in members:
                if isinstance(member, types.FunctionType):
                    self._text(name)
                    self._code(member.__code__)
            return
        self.add(value.__bases__)
        self._attributes({name: member for name, member in members if name not in _SLOTS})

    def _bound(self, value: Any) -> None:
        """A method, or a function that is not written in Python."""
        owner = value.__self__
        self._write("method", value.__qualname__.encode())
        self.add(getattr(value, "__func__", None))
        self.add(owner.__name__ if isinstance(owner, types.ModuleType) else owner)

    def _descriptor(self, value: Any) -> None:
        self._write(type(value).__name__)
        functions = ("__func__", "fget", "fset", "fdel")
        self.add([getattr(value, name, None) for name in functions])

    def _module(self, value: types.ModuleType) -> None:
        self._write("module", value.__name__.encode())

    def _attributes(self, value: Mapping[str, Any]) -> None:
        """Attributes: their order says nothing."""
        self._write("attributes", str(len(value)).encode())
        for name, item in sorted(value.items()):
            self._text(name)
            self.add(item)

    def _object(self, value: Any) -> None:
        """Any other object, by what it would be pickled as."""
        if self._is_known(value):
            return
        reduced = _reduced(value)
        if reduced is None:
            self._write("only", _token(value).encode())
            return
        self._class(type(value))
        if isinstance(reduced, str):
            self._text(reduced)
            self.add(getattr(value, "__wrapped__", None))
            return
        self._kept.append(reduced)
        found: list[Any] = [*reduced, None, None, None]
        make, arguments, state, items, pairs = found[:5]
        self.add(make)
        self.add(arguments)
        if isinstance(state, dict) and all(type(name) is str for name in state):
            self._attributes(state)
        else:
            self.add(state)
        self.add(list(items or ()))
        self.add(list(pairs or ()))


_KINDS: dict[type[Any], Any] = {
    type(None): lambda content, _: content._write("None"),
    str: _Content._text,
    bytes: _Content._bytes,
    bytearray: _Content._bytes,
    **dict.fromkeys((bool, int, float, complex), _Content._number),
    **dict.fromkeys((list, tuple), _Content._sequence),
    **dict.fromkeys((dict, types.MappingProxyType), _Content._mapping),
    **dict.fromkeys((set, frozenset), _Content._set),
    np.ndarray: _Content._array,
    types.CodeType: _Content._code,
    types.FunctionType: _Content._function,
    types.MethodType: _Content._bound,
    types.BuiltinFunctionType: _Content._bound,
    types.ModuleType: _Content._module,
    **dict.fromkeys((classmethod, staticmethod, property), _Content._descriptor),
}
#: Members that every class has, and that say nothing of it.
_SLOTS = frozenset(("__dict__", "__weakref__"))


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is not filled yet
        return cell.__class__


def _names(code: types.CodeType) -> set[str]:
    """The names that a function looks up outside of itself, in the functions within it, too."""
    inner = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _is_importable(value: Any) -> bool:
    """Whether another process finds the same function or class by its name."""
    return value.__module__ != "__main__" and _is_named(value, value.__module__, value.__qualname__)


def _is_named(value: Any, module: Any, name: str) -> bool:
    try:
        return operator.attrgetter(name)(sys.modules[module]) is value
    except (KeyError, AttributeError):
        return False


def _reduced(value: Any) -> Any:
    """What pickle would make an object of; None where it can make nothing of it."""
    reduce = copyreg.dispatch_table.get(type(value))
    try:
        found = value.__reduce_ex__(4) if reduce is None else reduce(value)
    except Exception:
        return None
    if not isinstance(found, str) or hasattr(value, "__wrapped__"):
        return found
    module = getattr(value, "__module__", None) or type(value).__module__
    return found if _is_named(value, module, found) else None


_tokens: dict[int, tuple[weakref.ref[Any], str]] = {}


def _token(value: Any) -> str:
    """A name that this object alone has, for as long as it lives."""
    found = _tokens.get(id(value))
    if found is not None and found[0]() is value:
        return found[1]
    token = uuid.uuid4().hex
    try:
        forget = functools.partial(_forget, id(value), token)
        _tokens[id(value)] = weakref.ref(value, forget), token
    except TypeError:  # of a type that cannot be referred to: a new name each time
        pass
    return token


def _forget(key: int, token: str, _: Any) -> None:
    if key in _tokens and _tokens[key][1] == token:
        del _tokens[key]
