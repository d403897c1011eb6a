"""Fixtures of all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.calling import Result, processes_naming, stormlab_json


@pytest.fixture
def stormlab(tmp_path: Path) -> Callable[..., Result]:
    """Call the command line; runs go to ``tmp_path / "runs"``."""
    return partial(stormlab_json, tmp_path / "runs")


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path) -> Iterator[None]:
    """No test leaves a supervisor, an agent or a server of its own behind."""
    yield
    assert not processes_naming(str(tmp_path))
