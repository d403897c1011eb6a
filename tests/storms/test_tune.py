"""A search on real storms: it finds what they allow, goes on where it stopped, and takes a server of one's own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from analysis import reference
from analysis.claims import evidence
from harness import cli
from harness import lab as record
from harness.events import store
from harness.events.check import Check
from harness.page import search as tell
from harness.plan.search import load_search
from harness.servers.build import SOURCES
from harness.thought import experiments
from harness.thought import runs as results
from harness.thought.summary import Summary

SEARCH = """
[base]
server = "python"
clients = 150
stall_ms = 20  # it lasts until all have tried to connect, however long that takes
timeout_s = 0.95  # the longest that is over before who was dropped tries again, after a second
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


@pytest.mark.alone
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


@pytest.mark.alone
def test_a_server_of_ones_own_is_tuned(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = f"{sys.executable} {SOURCES}/python/server.py --port {{port}} --backlog {{backlog}}"
    data = tmp_path / "runs"
    words = ["tune", str(file), "--command", command, "--success", "0.01", "--data", str(data), "--json"]
    assert cli.main(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["target"]["success"] == 0.01
    assert document["chosen"] == {"changes": {"backlog": 400}, "cost": 1}, "of it, too, some are dropped at first"
    assert [len(step["test"] + step["fresh"]) for step in document["path"]] == [1, 3]
    held = list(store.runs(data))
    assert len(held) == 4
    for run in held:
        assert run.trial.server.command == command
        assert run.manifest["server"]["command"] == command


UNREADY = """
import runpy, sys
if "default" in sys.argv:
    raise SystemExit("no backlog of mine")
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.alone
def test_a_candidate_that_cannot_be_started_is_a_miss(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "unready.py").write_text(UNREADY)
    server = f"{SOURCES}/python/server.py --backlog {{backlog}} --port {{port}}"
    command, data = f"{sys.executable} {tmp_path}/unready.py {server}", tmp_path / "runs"
    words = ["tune", str(file), "--command", command, "--data", str(data), "--json"]
    for attempt in (1, 2):
        assert cli.main(words) == 0
        said = capsys.readouterr()
        document = json.loads(said.out)
        assert [step["fate"] for step in document["path"]] == ["given up", "found"]
        assert document["chosen"] == {"changes": {"backlog": 400}, "cost": 1}
        for told in ("counted as a miss", "no backlog of mine", "({backlog} stands for the word `default` here)"):
            assert (told in said.err) == (attempt == 1)
        assert len(list(data.iterdir())) == 4, "what could not be started is not started again"


@pytest.mark.alone
def test_what_was_a_miss_here_is_a_miss_in_what_is_published_and_judged(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unready.py").write_text(UNREADY)
    server = f"{SOURCES}/python/server.py --backlog {{backlog}} --port {{port}}"
    command, data = f"{sys.executable} {tmp_path}/unready.py {server}", tmp_path / "runs"
    file.write_text(SEARCH.replace('server = "python"', f"command = {json.dumps(command)}"))
    assert cli.main(["tune", str(file), "--data", str(data)]) == 0
    monkeypatch.setattr(experiments, "SEARCHES", file.parent)
    search, here = record.searched(load_search(file), "here", data=data, say=lambda line: None)
    fates = [one.fate for one in tell.walked(search, here)]
    assert fates[0] == "given up"
    assert list(evidence.gather(data).runs["run_id"]) == list(here["run_id"])
    published = reference.publish(data, tmp_path / "reference")
    assert list(published["run_id"]) == list(here["run_id"])
    again, kept = record.searched(load_search(file), "reference", reference=tmp_path / "reference")
    assert [one.fate for one in tell.walked(again, kept)][: len(fates)] == fates


def test_a_server_that_no_candidate_starts_is_a_failed_server(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tune", str(file), "--command", "false {port} {backlog}", "--data", str(tmp_path / "runs")]
    assert cli.main(words) == 4
    said = capsys.readouterr()
    assert "None of 2 candidates" in said.out
    assert "no candidate could be started: the server ended before it was ready" in said.err
    assert cli.main([*words, "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["chosen"] is None


def test_a_failed_check_of_a_storm_shows_in_the_exit_code(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["tune", str(file), "--success", "0.01", "--p99-ms", "1e9", "--data", str(tmp_path / "runs")]
    monkeypatch.setattr(Summary, "failed_checks", [Check("conservation", "fail", "planted")])
    assert cli.main(words) == 1


def test_what_is_no_search_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tune", str(tmp_path / "none.toml")]) == 2
    assert "cannot read the search" in capsys.readouterr().err
