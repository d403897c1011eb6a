"""A grid of one notebook: every combination once, resumed where it stopped, one table at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.page import grid
from tests.calling import called
from tests.notebooks.test_notebooks import execute

SMALL = ("-p", "source", "here", "-p", "clients", "200", "-p", "timeout_s", "3")
GRID = ("--grid", "backlog=16,32", "--grid", "stall_ms=50,100")


def test_a_grid_that_was_interrupted_goes_on_and_ends_with_a_table(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "harness", "notebooks", "00-tour", *SMALL, *GRID, "--data", str(tmp_path)]
    first = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert first.stderr is not None
    for line in first.stderr:
        if "[2/4]" in line:
            os.killpg(first.pid, signal.SIGINT)
            break
    first.communicate()
    assert first.returncode != 0
    folder = tmp_path / "report" / "00-tour-grid"
    assert not (folder / grid.TABLE).exists(), "no half-written table"
    done = execute(tmp_path, "00-tour", *SMALL, *GRID)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is there already") >= 1
    table = json.loads((folder / grid.TABLE).read_text())
    assert [(line["backlog"], line["stall_ms"]) for line in table] == [(16, 50), (16, 100), (32, 50), (32, 100)]
    values = [one["value"] for line in table for one in line["propositions"]]
    assert values == [1.0] * 4, "backlog + 1 came through in each"
    assert "00.first_try" in done.stdout
    again = execute(tmp_path, "00-tour", *SMALL, *GRID)
    assert again.stderr.count("is there already") == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--grid", "backlog"), "KEY=VALUE"),
        (("--grid", "baklog=1,2"), "no parameter 'baklog'"),
        (("--grid", "backlog=few,many"), "backlog is 'few'"),
        (("--grid", "backlog=1,2", "-p", "backlog", "3"), "by -p and by --grid"),
        (("--grid", "backlog=1,2", "--export"), "--export"),
    ],
)
def test_a_grid_that_means_nothing_is_refused(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    code, _, told = called("notebooks", "00-tour", *words, "--data", str(tmp_path))
    assert code == 2
    assert said in told


def test_names_of_combinations_are_names_of_files() -> None:
    assert grid.named({"server": "go", "sizes": [1, 2], "path": "../x y"}) == "server-go,sizes-_1_2,path-.._x_y"
