"""The Dockerfile of an image for workers: the versions that are here, and what a job needs."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from transforms.options.shown import shown
from transforms.options.suggest import unknown

PACKAGE = "pipelines-beam"
#: NVIDIA's image with the libraries of CUDA. The driver is the machine's.
CUDA = "nvidia/cuda:12.8.1-cudnn-runtime-ubuntu22.04"
_PINNED = ("torch", "transformers", "tokenizers", "safetensors", "numpy")
_OF_EXTRAS = {"vision": ("torchvision",), "video": ("torchvision",), "diffusers": ("diffusers",)}
_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
_CACHE = "/opt/huggingface"

_PART = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:[\w.-]+(?::\d+)?/)?{_PART}(?:/{_PART})*(?::\w[\w.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?"
)
_WHEEL = re.compile(r"[\w.+!-]+\.whl")
#: Docker takes them for patterns and variables in the source of a COPY.
_OF_PATTERNS = frozenset("$*?[]\\")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?(@[\w./-]+)?")


class ImageError(ValueError):
    """An image cannot be made of what is asked."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """What an image has. Raises ImageError for what cannot be built."""

    #: Its name in a registry, with a tag.
    name: str
    #: The folder of the Dockerfile: what is copied into the image lies in it.
    folder: Path
    #: An image with CUDA on which it is built. None: Beam's own, for CPUs.
    base: str | None = None
    #: This package as a wheel. None: it comes from the package index.
    wheel: str | None = None
    extras: Sequence[str] = ()
    #: Ids of the Hugging Face hub, with @revision where it is not main; or directories.
    models: Sequence[str] = ()

    def __post_init__(self) -> None:
        for what, name in (("the image", self.name), ("--cuda", self.base)):
            if name is not None and not _REFERENCE.fullmatch(name):
                raise ImageError(
                    f"{what} must be the name of an image, such as "
                    f"registry.example.com/me/pipelines-beam:1, got {shown(name)}"
                )
        _version(PACKAGE)
        known = importlib.metadata.metadata(PACKAGE).get_all("Provides-Extra") or []
        for extra in self.extras:
            if extra not in known:
                raise ImageError(f"--extras: {unknown('extra', extra, known)}")
        if self.wheel is not None:
            self._check_wheel(self.wheel)
        for model in self.models:
            if not Path(model).is_dir() and not _HUB_ID.fullmatch(model):
                raise ImageError(
                    "--model must be a directory that exists, or an id of the Hugging Face hub, "
                    f"such as organisation/name@revision, got {shown(model)}"
                )
        for path in filter(None, (self.wheel, *self._directories)):
            self._within(path)
        for model in self._directories:
            _check_links(Path(model))

    def _check_wheel(self, wheel: str) -> None:
        """Raises ImageError unless it is that of this version."""
        start = f"{PACKAGE.replace('-', '_')}-{_version(PACKAGE)}-"
        name = Path(wheel).name
        is_named = name.startswith(start) and _WHEEL.fullmatch(name)
        if not Path(wheel).is_file() or not is_named:
            raise ImageError(
                f"--wheel must be the file {start}….whl, which `python -m build --wheel` makes, "
                f"got {shown(wheel)}"
            )

    @property
    def _directories(self) -> list[str]:
        return [model for model in self.models if Path(model).is_dir()]

    def _within(self, path: str) -> str:
        """A path relative to the folder. Raises ImageError for one outside it."""
        whole = Path(path).resolve()
        if not whole.is_relative_to(self.folder.resolve()):
            raise ImageError(
                f"Docker copies nothing from outside the folder of the Dockerfile, "
                f"{str(self.folder)!r}: give --output in a folder that {shown(path)} is in"
            )
        found = whole.relative_to(self.folder.resolve()).as_posix()
        if not _OF_PATTERNS.isdisjoint(found):
            raise ImageError(
                f"Docker takes {' '.join(sorted(_OF_PATTERNS))} in a path for a pattern or a "
                f"variable: rename {shown(path)}"
            )
        return found

    def text(self) -> str:
        """The Dockerfile."""
        return "\n".join(["# Workers of pipelines-beam.", *self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        yield from self._python()
        yield ""
        yield "# The versions of the machine that sends the job."
        pinned = [*_PINNED, *(name for extra in self.extras for name in _OF_EXTRAS.get(extra, ()))]
        index = "" if self.base else f" --extra-index-url {_CPU_INDEX}"
        versions = [_pin(name, cpu=not self.base) for name in dict.fromkeys(pinned)]
        yield f"RUN pip install --no-cache-dir{index} {' '.join(versions)}"
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        if self.wheel is None:
            yield f"RUN pip install --no-cache-dir '{PACKAGE}{extras}=={_version(PACKAGE)}'"
        else:
            name = Path(self.wheel).name
            yield _copy(self._within(self.wheel), f"/tmp/{name}")  # noqa: S108 - of the image
            yield f"RUN pip install --no-cache-dir '/tmp/{name}{extras}' && rm /tmp/{name}"
        yield from self._models()
        yield ""
        yield f"RUN {PACKAGE} --version"
        if self.base:
            yield 'ENTRYPOINT ["/opt/apache/beam/boot"]'

    def _python(self) -> Iterator[str]:
        """Python and Beam: those of Beam's image, or put into one with CUDA."""
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        beam = _version("apache-beam")
        image = f"apache/beam_python{python}_sdk:{beam}"
        if self.base is None:
            yield f"FROM {image}"
            return
        yield f"FROM {self.base}"
        yield "ENV DEBIAN_FRONTEND=noninteractive"
        yield "RUN apt-get update && apt-get install -y --no-install-recommends \\"
        yield "    build-essential ca-certificates software-properties-common \\"
        yield "    && add-apt-repository -y ppa:deadsnakes/ppa \\"
        yield f"    && apt-get install -y --no-install-recommends python{python}-dev \\"
        yield f"    python{python}-venv && rm -rf /var/lib/apt/lists/*"
        yield f"RUN python{python} -m venv /opt/venv"
        yield "# Dataflow puts the driver there."
        yield "ENV LD_LIBRARY_PATH=/usr/local/nvidia/lib64:$LD_LIBRARY_PATH"
        yield "ENV PATH=/opt/venv/bin:$PATH"
        yield "# Beam's boot would make an environment of its own, which lacks all of this one."
        yield "ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1"
        yield f"RUN pip install --no-cache-dir 'apache-beam[gcp,yaml]=={beam}'"
        yield f"COPY --from={image} /opt/apache/beam /opt/apache/beam"

    def _models(self) -> Iterator[str]:
        """Models that workers need not download."""
        named = [model for model in self.models if model not in self._directories]
        if self.models:
            yield ""
            yield "# Models: directories where the machine that sends the job has them."
        if named:
            yield f"ENV HF_HOME={_CACHE}"
        for model in named:
            name, _, revision = model.partition("@")
            at = f" --revision {shlex.quote(revision)}" if revision else ""
            yield f"RUN hf download {shlex.quote(name)}{at}"
        for model in self._directories:
            yield _copy(self._within(model), os.path.abspath(model))

    def commands(self, file: Path) -> list[str]:
        """The commands that build it from a Dockerfile, and push it."""
        build = ["docker", "build", "--tag", self.name, "--file", str(file), str(file.parent)]
        return [shlex.join(build), shlex.join(["docker", "push", self.name])]


def _check_links(directory: Path) -> None:
    """Raises ImageError for a directory with links out of it, which lead nowhere in an image."""
    inside = directory.resolve()
    for path in directory.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            raise ImageError(
                f"the model {shown(str(directory))} has links to files that Docker does not copy, "
                f"such as {shown(path.name)}: give a copy of it (cp -rL), or its id of the hub"
            )


def _copy(source: str, target: str) -> str:
    return f"COPY {json.dumps([source, target], ensure_ascii=False)}"


def _pin(package: str, *, cpu: bool) -> str:
    """A package in its version here, without what that says of devices."""
    version = _version(package).partition("+")[0]
    return f"{package}=={version}{'+cpu' if cpu and package in ('torch', 'torchvision') else ''}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise ImageError(
            f"{package} is not installed here: the image has the versions here"
        ) from error
