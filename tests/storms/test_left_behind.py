"""Whatever is killed, and however a folder is damaged: nothing goes on, and the rest can be read."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.machine import children
from tests.calling import Result, called, partial_manifest, start

Call = Callable[..., Result]
FORKS = "bash -c 'python3 -m http.server {port} --bind 127.0.0.1 & wait'"
LEAVES = "bash -c 'setsid python3 -m http.server {port} --bind 127.0.0.1 & wait'"


@pytest.mark.parametrize("command", [FORKS, LEAVES], ids=["its children", "a session of its own"])
def test_with_command_line_and_supervisor_killed_the_next_command_ends_what_is_left(
    command: str, tmp_path: Path
) -> None:
    """A signal for a parent that dies reaches direct children only."""
    process = start(tmp_path, "--command", command, "--clients", "2000", "--rate", "100", "--timeout", "5")
    manifest = partial_manifest(tmp_path)
    run_id = str(manifest["run_id"])
    assert len(children.with_mark(run_id, children.RUN)) > 2
    for pid in (process.pid, manifest["supervisor_pid"]):
        os.kill(int(str(pid)), signal.SIGKILL)
    process.wait()
    assert called("list", "--data", str(tmp_path / "runs"))[0] == 0
    assert children.with_mark(run_id, children.RUN) == []
    assert json.loads((tmp_path / "runs" / run_id / "manifest.json").read_text())["status"] == "failed"


@pytest.fixture
def folder(stormlab: Call, tmp_path: Path) -> Path:
    """Two runs, of which the tests damage a copy of the second."""
    stormlab("run", "--server", "python", "--clients", "50", "--repeats", "2")
    return tmp_path / "runs"


def _cut(run: Path) -> None:
    rows = run / "connections.parquet"
    rows.write_bytes(rows.read_bytes()[:-100])


def _garble(run: Path) -> None:
    (run / "manifest.json").write_text("{")


def _of_no_object(run: Path) -> None:
    (run / "manifest.json").write_text("[]")


def _without_a_plan(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "plan": {}}))


@pytest.mark.parametrize("damage", [_cut, _garble, _of_no_object, _without_a_plan])
def test_one_damaged_run_is_a_line_beside_all_the_others(damage: Callable[[Path], None], folder: Path) -> None:
    whole, damaged = sorted(folder.iterdir())
    shutil.rmtree(damaged / "causes.parquet", ignore_errors=True)
    damage(damaged)
    code, output, errors = called("list", "--json", "--data", str(folder))
    assert code == 0
    assert [run["run_id"] for run in json.loads(output)["runs"]] == [whole.name]
    (line,) = errors.splitlines()
    assert damaged.name in line
    for command in ("show", "explain"):
        code, _, errors = called(command, damaged.name, "--data", str(folder))
        assert code in (2, 3)
        assert len(errors.splitlines()) == 1
        assert called(command, whole.name, "--data", str(folder))[0] == 0
    assert called("run", "--server", "python", "--clients", "5", "--data", str(folder))[0] == 0


def test_what_a_newer_version_has_written_beside_is_left_alone(folder: Path) -> None:
    newer = sorted(folder.iterdir())[1]
    manifest = json.loads((newer / "manifest.json").read_text())
    manifest["plan"]["load"]["of_tomorrow"] = True
    (newer / "manifest.json").write_text(json.dumps(manifest))
    partial = folder / ".20990101-000000000-python-0000.partial"
    partial.mkdir()
    (partial / "manifest.json").write_text(json.dumps({"status": "of tomorrow"}))
    os.utime(partial, (0, 0))
    code, output, _ = called("list", "--json", "--data", str(folder))
    assert code == 0
    assert len(json.loads(output)["runs"]) == 2
    assert called("show", newer.name, "--data", str(folder))[0] == 0


def test_a_server_that_listens_elsewhere_is_told_where(stormlab: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.servers.process.READY_WITHIN_S", 1.0)
    result = stormlab("run", "--command", "{python} -m http.server {port} --bind ::1", "--clients", "5")
    assert result.code == 4
    assert "it listens on [::1]:" in json.dumps(result.document)
