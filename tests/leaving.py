"""What is asked after every test of a folder whose tests start something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.calling import processes_naming


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    """No test leaves a supervisor, an agent or a server of its own behind."""
    yield
    assert not processes_naming(str(tmp_path))
