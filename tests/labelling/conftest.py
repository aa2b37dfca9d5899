"""Stores of both kinds for the tests of preferences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.cluster import MISSING, Cluster, binaries


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'robo-reward[postgres]'")
    if binaries() is None:
        pytest.skip(MISSING)
    with Cluster() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place for a new store."""
    if request.param == "sqlite":
        return str(tmp_path / "preferences.db")
    return request.getfixturevalue("cluster").database()
