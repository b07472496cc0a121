"""File systems like those of object stores, slower or worse, in a module that processes import."""

from __future__ import annotations

import os
import time
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.local import LocalFileSystem


class _Local(LocalFileSystem):  # type: ignore[misc]
    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        # Older versions of fsspec strip no protocol of a subclass.
        found: str = super()._strip_protocol(str(path).removeprefix(f"{cls.protocol}://"))
        return found


class SlowFileSystem(_Local):
    """slow:///folder: each file takes `SLOW_STORE` seconds, half of it before its second half."""

    protocol = "slow"

    def get_file(self, path: str, local: str, **options: Any) -> None:
        wait = float(os.environ.get("SLOW_STORE", "0"))
        with open(self._strip_protocol(path), "rb") as file:
            data = file.read()
        with open(os.environ["SLOW_STORE_LOG"], "a") as log:
            log.write(f"{os.path.basename(path)}\n")
        with open(local, "wb") as out:
            out.write(data[: len(data) // 2])
            out.flush()
            time.sleep(wait)
            out.write(data[len(data) // 2 :])


class TruncatingFileSystem(_Local):
    """short:///folder: the last byte of each file never comes."""

    protocol = "short"

    def get_file(self, path: str, local: str, **options: Any) -> None:
        with open(self._strip_protocol(path), "rb") as file, open(local, "wb") as out:
            out.write(file.read()[:-1])


class ForbiddenFileSystem(_Local):
    """forbidden:///folder: this machine may not look."""

    protocol = "forbidden"

    def find(self, path: str, **options: Any) -> Any:
        raise PermissionError("403 Forbidden")


class FlakyFileSystem(_Local):
    """flaky:///folder: the first time that a file is renamed is an error, done or not in turn."""

    protocol = "flaky"
    #: The names that files were to get.
    failed: ClassVar[list[str]] = []

    def mv(self, path: str, target: str, **options: Any) -> None:
        is_first = target not in self.failed
        if is_first:
            self.failed.append(target)
        if not is_first or len(self.failed) % 2:
            super().mv(path, target, **options)
        if is_first:
            raise OSError("503 Slow Down")


for kind in (FlakyFileSystem, SlowFileSystem, TruncatingFileSystem, ForbiddenFileSystem):
    fsspec.register_implementation(kind.protocol, kind, clobber=True)
