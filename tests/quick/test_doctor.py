"""What the machine is said to allow is tried, not guessed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.trial.doctor import data_folder

NOBODY = 65534
"""include/linux/uidgid.h: overflowuid, which owns nothing."""


@pytest.fixture
def unwritable() -> Iterator[Path]:
    """A folder that the test may see and not write to, also where root runs it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        before = os.geteuid()
        if before == 0:
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(before)
            folder.chmod(0o755)


def test_a_folder_that_can_be_written_to_is_said_with_what_is_free(tmp_path: Path) -> None:
    finding = data_folder(tmp_path / "to" / "come")
    assert finding.status == "pass"
    assert "GiB free" in finding.detail
    assert list(tmp_path.iterdir()) == [], "asking leaves nothing"


def test_a_folder_that_cannot_be_written_to_is_no_place_for_runs(unwritable: Path) -> None:
    for data in (unwritable, unwritable / "runs"):
        finding = data_folder(data)
        assert (finding.status, finding.next_step) == ("fail", "choose another folder with --data")
        assert "Permission denied" in finding.detail


def test_below_a_file_there_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finding = data_folder(tmp_path / "file" / "runs")
    assert finding.status == "fail"
    assert "Not a directory" in finding.detail


def test_a_folder_that_may_not_be_looked_into_is_a_finding_too(unwritable: Path) -> None:
    closed = unwritable / "closed"
    os.seteuid(os.getuid())
    unwritable.chmod(0o755)
    closed.mkdir(mode=0o000)
    if os.getuid() == 0:
        os.seteuid(NOBODY)
    assert data_folder(closed / "runs").status == "fail"
