"""Whether a worker has the device that a model is to run on."""

from __future__ import annotations

import torch

from ..options.shown import shown


def require_device(device: int | str | None) -> None:
    """Raise ValueError for a device that was named and that this worker does not have.

    transformers takes the CPU in place of a number where there is no accelerator: the job that was
    planned for one would go on, slowly, and nothing would say why.
    """
    if device in (None, -1, "cpu"):
        return
    found = torch.accelerator.current_accelerator(check_available=True)
    count = 0 if found is None else torch.accelerator.device_count()
    kind, number = _named(device, "" if found is None else found.type)
    if found is None or kind != found.type or number >= count:
        has = _listed(found.type, count) if found is not None and count else "no accelerator"
        raise ValueError(
            f"device {shown(device)}: this worker has {has}; None takes the best that it has"
        )


def _named(device: int | str | None, usual: str) -> tuple[str, int]:
    """The kind of a device and its number among those; a number alone is of the usual kind."""
    if not isinstance(device, str):
        return usual, int(device or 0)
    kind, _, number = device.partition(":")
    return kind, int(number or 0)


def _listed(kind: str, count: int) -> str:
    return f"{kind}:0 alone" if count == 1 else f"{kind}:0 to {kind}:{count - 1}"
