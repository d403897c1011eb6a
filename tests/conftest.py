"""Fixtures of all tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.calling import Result, stormlab_json


@pytest.fixture
def stormlab(tmp_path: Path) -> Callable[..., Result]:
    """Call the command line; runs go to ``tmp_path / "runs"``."""
    return partial(stormlab_json, tmp_path / "runs")
