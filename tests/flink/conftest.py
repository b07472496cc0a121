"""A Flink cluster for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.flink import built, cluster
from support.flink.cluster import Cluster


@pytest.fixture(scope="session")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two TaskManagers of one slot each. `make flink-test` has built what they are made of."""
    if missing := built.missing_tools():
        pytest.skip(missing)
    if not built.is_built():
        pytest.skip("make flink-test builds the cluster first")
    folder: Path = tmp_path_factory.mktemp("flink")
    with cluster.running(folder) as started:
        yield started
