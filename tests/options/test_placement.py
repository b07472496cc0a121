"""Which workers the stage with the model needs: what is valid, and the hints that it becomes."""

from __future__ import annotations

from typing import Any

import pytest
from apache_beam.transforms.resources import parse_resource_hints

from transforms.options.placement import Placement


@pytest.mark.parametrize(
    "accelerator",
    [
        "type:nvidia-l4;count:1;install-nvidia-driver",
        "type:nvidia-tesla-t4;count:2;install-nvidia-driver:5xx;use_nvidia_mps",
        "type:tpu-v5-lite-podslice;topology:1x1",
    ],
)
def test_accelerators(accelerator: str) -> None:
    hints = Placement(accelerator=accelerator).hints
    assert hints == {"accelerator": accelerator}
    assert parse_resource_hints(hints)


@pytest.mark.parametrize(
    "accelerator",
    [
        "",
        1,
        "nvidia-l4",
        "type:",
        "count:1",
        "count:1;type:nvidia-l4",
        "type:nvidia-l4;count:0",
        "type:nvidia-l4;count:one",
        "type:nvidia-l4;count:1;count:2",
        "type:nvidia-l4;install-driver",
        "type:nvidia-l4; count:1",
    ],
)
def test_what_is_no_accelerator(accelerator: Any) -> None:
    with pytest.raises(ValueError, match=r"accelerator must be parts like 'type:nvidia-l4;"):
        Placement(accelerator=accelerator)


@pytest.mark.parametrize(("given", "count"), [("16GB", 16 * 10**9), ("2 GiB", 2**31), (7, 7)])
def test_memory(given: Any, count: int) -> None:
    hints = Placement(min_ram=given).hints
    assert hints == {"min_ram": count}
    assert list(parse_resource_hints(hints).values()) == [str(count).encode()]


def test_what_is_fused_with_others() -> None:
    assert Placement().is_fused
    assert not Placement(isolate=True).is_fused
    assert not Placement(min_ram="1GB").is_fused
