"""A search on real storms: it finds what they allow, goes on where it stopped, and takes a server of one's own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from harness import cli, record, results
from harness.report import search as tell
from harness.search import load_search
from harness.servers.build import SOURCES

SEARCH = """
[base]
server = "python"
clients = 250
stall_ms = 200
timeout_s = 0.95  # who was dropped tries again after a second, which is too late
[target]
success = 0.99
p99_ms = 950
[test]
runs = 1
confirm = 2
[[knob.backlog]]
cost = 0
[[knob.backlog]]
cost = 1
backlog = 400
[[knob.loops]]
cost = 0
[[knob.loops]]
cost = 1
accept_loops = 2
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cheapest.toml"
    path.write_text(SEARCH)
    return path


def test_the_cheapest_that_is_good_enough_is_found_and_its_storms_are_runs(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "runs"
    assert cli.main(["tune", str(file), "--data", str(data), "--json"]) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert document["chosen"] == {"changes": {"backlog": 400}, "cost": 1}
    assert "no {accept_loops}" in said.err, "what this server cannot be told is left out, and said"
    fates = [(step["fate"], len(step["test"]), len(step["fresh"])) for step in document["path"]]
    assert fates == [("given up", 1, 0), ("found", 1, 2)]
    named = [storm["run_id"] for step in document["path"] for storm in step["test"] + step["fresh"]]
    assert sorted(named) == sorted(path.name for path in data.iterdir())

    assert cli.main(["tune", str(file), "--data", str(data)]) == 0
    assert len(list(data.iterdir())) == 4, "nothing is measured that was measured"
    assert "backlog 400, at a cost of 1" in capsys.readouterr().out

    search, runs = record.searched(load_search(file), "here", data=data, say=lambda line: None)
    assert (len(search.candidates), len(runs)) == (2, 4)
    said_here = tell.verdict(search, tell.walked(search, runs), runs)
    assert "**backlog 400**" in said_here
    results.write(runs, tmp_path / "reference" / results.RUNS)
    again, kept = record.searched(load_search(file), "reference", reference=tmp_path / "reference")
    assert tell.verdict(again, tell.walked(again, kept), kept) == said_here, "the same path, from the record"


def test_a_server_of_ones_own_is_tuned(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = f"{sys.executable} {SOURCES}/python/server.py --port {{port}} --backlog {{backlog}}"
    words = ["tune", str(file), "--command", command, "--success", "0.01", "--data", str(tmp_path / "runs"), "--json"]
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out)["target"]["success"] == 0.01


def test_what_is_no_search_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tune", str(tmp_path / "none.toml")]) == 2
    assert "cannot read the search" in capsys.readouterr().err
