"""Fixtures of all tests."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.calling import Result, stormlab_json

# A shell that starts the suite in the background has it ignore Ctrl-C, and all that it starts too; some tests send one.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def stormlab(tmp_path: Path) -> Callable[..., Result]:
    """Call the command line; runs go to ``tmp_path / "runs"``."""
    return partial(stormlab_json, tmp_path / "runs")
