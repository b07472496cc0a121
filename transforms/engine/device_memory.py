"""The memory of a device, shared by the models of a job: which are loaded, and which wait.

A small file has it, for all processes of the machine; whoever reads or changes it holds a lock.
Nobody decides for all: each model that is loaded finds by the same rule whether it is its turn to
make room, and each that waits, whether there is room by now.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ..options import content_hash
from ..options.whole_file import write_whole
from .interface import EngineSpec

logger = logging.getLogger(__name__)

#: Seconds between looks at who waits, and whether there is room.
LOOK = 0.02
_SHORTEST_TURN = 1.0  # seconds that a model may stay at least, though another waits
_TURN = 4  # times as long as loading it takes: then loading takes a fifth of the time at most


@dataclass
class Entry:
    """A model that is loaded, or waits to be."""

    pid: int
    #: What it takes, or has reserved.
    nbytes: int
    #: What it and all that are loaded may take together.
    limit: int
    is_loaded: bool
    #: When it was loaded, or began to wait; and when it was last at work. On time.monotonic, which
    #: is the same for all processes of a machine.
    since: float
    used: float


class DeviceMemory:
    """The part of one model in the memory of a device.

    Args:
      path: the file that all models of the job on the device share; in a private folder.
      limit: bytes that all loaded models may take together.
      nbytes: bytes that this one takes. None: unknown, so it is first loaded on its own; so is one
        that is said to be larger than the limit, for what it takes once it is loaded decides.

    """

    def __init__(self, path: Path, limit: int, nbytes: int | None = None) -> None:
        self._path = path
        self.limit = limit
        self._nbytes = limit if nbytes is None else min(nbytes, limit)
        self._id = f"{os.getpid()}-{uuid.uuid4().hex}"
        #: Its entry, as it was last seen: it is put back into a file that lost it.
        self._own: Entry | None = None

    def enter(self) -> bool:
        """Whether the model may be loaded now; if not, it waits from the first call on.

        Those that wait are let in one after the other, so that a large one has its turn, too.
        """
        now = time.monotonic()
        with self._entries() as entries:
            own = entries.setdefault(
                self._id, Entry(os.getpid(), self._nbytes, self.limit, False, now, now)
            )
            own.nbytes = self._nbytes
            taken = sum(each.nbytes for each in entries.values() if each.is_loaded)
            if own is not _first_waiting(entries) or taken + own.nbytes > self.limit:
                return False
            own.is_loaded, own.since, own.used = True, now, now
            return True

    def resize(self, nbytes: int) -> bool:
        """Say what the loaded model takes; whether all that are loaded still fit."""
        self._nbytes = nbytes
        with self._entries() as entries:
            entries[self._id].nbytes = nbytes
            taken = sum(each.nbytes for each in entries.values() if each.is_loaded)
            return taken <= self.limit

    def must_leave(self, used: float, load_seconds: float) -> bool:
        """Whether the loaded model has to make room, between two batches.

        The least recently used ones do. One stays idle for as long as loading it takes, for what
        it waits for may come; one that is at work stays for several times as long.

        Args:
          used: when it was last at work, on time.monotonic.
          load_seconds: how long loading it takes.

        """
        now = time.monotonic()
        with self._entries() as entries:
            waiting = _first_waiting(entries)
            if waiting is None:
                return False
            own = entries[self._id]
            own.used = used
            if not self._is_next(entries, waiting):
                return False
            turn = max(_SHORTEST_TURN, _TURN * load_seconds)
            has_had_its_turn = now - own.since >= turn and now - waiting.since >= turn
            return now - used >= load_seconds or has_had_its_turn

    def _is_next(self, entries: dict[str, Entry], waiting: Entry) -> bool:
        """Whether this model is one of the least recently used ones that make enough room."""
        loaded = {name: each for name, each in entries.items() if each.is_loaded}
        missing = waiting.nbytes + sum(each.nbytes for each in loaded.values()) - waiting.limit
        for name, each in sorted(loaded.items(), key=lambda item: item[1].used):
            if missing <= 0:
                return False
            if name == self._id:
                return True
            missing -= each.nbytes
        return False

    def leave(self) -> None:
        """Say that the model is not loaded, and does not wait."""
        with self._entries() as entries:
            entries.pop(self._id, None)

    @contextlib.contextmanager
    def _entries(self) -> Iterator[dict[str, Entry]]:
        """All entries but those of processes that have gone; what changes in here is kept."""
        import fcntl

        with open(self._path.parent / "memory.lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                found = self._read()
                before = _text(found)
                entries = {name: each for name, each in found.items() if _is_alive(each.pid)}
                if self._own is not None:
                    entries.setdefault(self._id, self._own)
                yield entries
                if _text(entries) != before:
                    self._write(entries)
                self._own = entries.get(self._id)
            finally:  # a process forked meanwhile has the file open, too
                fcntl.flock(lock, fcntl.LOCK_UN)

    def _read(self) -> dict[str, Entry]:
        """What the file says; nothing, where it is damaged: those that live put themselves back."""
        try:
            found = json.loads(self._path.read_bytes())
            return {name: Entry(**each) for name, each in found.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError) as error:
            logger.warning("%s is damaged and is written anew: %s", self._path, error)
            self._path.unlink()
            return {}

    def _write(self, entries: dict[str, Entry]) -> None:
        """Replace the file: a process that is killed here leaves the old one or the new one."""
        if not entries:
            self._path.unlink(missing_ok=True)
            return
        write_whole(self._path, _text(entries))


def device_memory(spec: EngineSpec, folder: Callable[[], Path]) -> DeviceMemory | None:
    """The part of an engine's model in the memory of its device; None where nothing limits it.

    `folder` gives the private folder for what processes share.
    """
    limit = spec.sharing.max_device_memory
    if limit is None:
        return None
    name = content_hash.digest((spec.sharing.key, device_name(spec.device)))[:16]
    return DeviceMemory(folder() / f"{name}.memory", limit, spec.nbytes)


def device_name(device: int | str | None) -> str:
    """One name for a device of this machine, however it is written: its number, or "cpu".

    None is the best device of the machine, which only a worker knows.
    """
    if device is None:
        device = 0 if torch.accelerator.is_available() else "cpu"
    if device in ("cpu", -1):
        return "cpu"
    kind, _, number = str(device).partition(":")
    return kind if kind.isdecimal() else number or "0"


def _text(entries: dict[str, Entry]) -> str:
    return json.dumps({name: asdict(each) for name, each in entries.items()})


def _first_waiting(entries: dict[str, Entry]) -> Entry | None:
    waiting = [each for each in entries.values() if not each.is_loaded]
    return min(waiting, key=lambda each: each.since, default=None)


def _is_alive(pid: int) -> bool:
    """Whether a process has not ended; one that nobody has waited for yet has."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:  # not every system has it
        return True
    return stat.rpartition(b")")[2].split()[0] != b"Z"
