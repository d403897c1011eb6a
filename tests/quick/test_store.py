"""Runs on disk: never half readable, never lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from harness.errors import MachineError, PlanError
from harness.events import store
from harness.events.assembling import assemble
from harness.events.rows import Outcome, Rows
from harness.events.store import Partial, find_run, runs
from harness.lab import open_first
from harness.plan import Load, Trial
from harness.plan.slices import Slice, cut, source_pool
from harness.trial.caller import recover

MANIFEST = {
    "server": {"name": "python", "binary_hash": "b"},
    "plan": {},
    "plan_hash": "p",
    "host": {"host_id": "h"},
    "agents": [],
}


LOAD = Load(clients=5)


def slices_in(folder: Path) -> list[Slice]:
    source = source_pool("127.0.0.1", LOAD, [])
    return cut(LOAD, 1, target="127.0.0.1", port=80, source=source, cpus=(0,), folder=str(folder))


def under_way(data: Path, *, answered: int = 0, storm: bool = True) -> Partial:
    """A partial run as a killed supervisor leaves it."""
    partial = Partial.create(data, {**MANIFEST, "plan": Trial(load=LOAD).to_json()})
    (slice_,) = slices_in(partial.path)
    with Rows(Path(slice_.rows_path), LOAD.clients, 0, create=True) as rows:
        for index in range(answered):
            rows.connection["issued_ns"][index] = 10**9 + index
            rows.connection["closed_ns"][index] = 2 * 10**9
            rows.connection["outcome"][index] = Outcome.answered
    no_such_process = 2**22 + 1
    running = {
        "status": "running",
        "slices": [slice_.to_json()],
        "agents_planned": 1,
        "supervisor_pid": no_such_process,
    }
    partial.write_manifest(partial.read_manifest() | running | ({"start_ns": 10**9} if storm else {}))
    return partial


def test_a_run_under_way_is_not_readable_as_a_run(tmp_path: Path) -> None:
    partial = under_way(tmp_path)
    assert json.loads((partial.path / store.MANIFEST).read_text())["status"] == "running"
    assert list(runs(tmp_path)) == []
    with pytest.raises(PlanError):
        find_run(tmp_path, partial.run_id)


def test_what_a_killed_process_had_recorded_is_brought_in(tmp_path: Path) -> None:
    partial = under_way(tmp_path, answered=2)
    (run,) = recover(tmp_path)
    assert run.run_id == partial.run_id
    assert run.manifest["status"] == "failed"
    assert run.manifest["error"]["code"] == 3
    assert run.connections()["outcome"].to_pylist() == ["answered"] * 2 + ["not_issued"] * 3
    assert not partial.path.exists()
    assert recover(tmp_path) == []


def test_what_a_killed_load_balancer_kept_is_no_part_of_the_run(tmp_path: Path) -> None:
    partial = under_way(tmp_path, answered=2)
    (partial.path / store.FRONT_FOLDER / "proxy").mkdir(parents=True)
    (run,) = recover(tmp_path)
    assert sorted(path.name for path in run.path.iterdir()) == [store.CONNECTIONS, store.MANIFEST]


def test_a_run_killed_before_its_storm_is_removed_whole(tmp_path: Path) -> None:
    under_way(tmp_path, storm=False)
    assert recover(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_finishing_renames_and_leaves_no_raw_rows(tmp_path: Path) -> None:
    partial = under_way(tmp_path, answered=5)
    slices = slices_in(partial.path)
    with Rows(Path(slices[0].rows_path), LOAD.clients, 0) as rows:
        tables = assemble(slices, [rows], 10**9)
    run = partial.finish(tables, {**partial.read_manifest(), "status": "complete"})
    assert sorted(path.name for path in run.path.iterdir()) == [store.CONNECTIONS, store.MANIFEST]
    assert [found.run_id for found in runs(tmp_path)] == [run.run_id]
    assert find_run(tmp_path, run.run_id[:-2]).path == run.path
    assert find_run(tmp_path, "latest").path == run.path
    assert find_run(tmp_path, str(run.path)).run_id == run.run_id


def test_a_run_that_is_both_here_and_in_the_reference_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its id means the copy in the data folder, and so does the beginning of its id."""
    under_way(tmp_path / "runs", answered=1)
    (run,) = recover(tmp_path / "runs")
    shutil.copytree(tmp_path / "runs", tmp_path / "reference")
    monkeypatch.setattr(store, "REFERENCE", tmp_path / "reference")
    assert find_run(tmp_path / "runs", run.run_id).path == run.path
    assert find_run(tmp_path / "runs", run.run_id[:-1]).path == run.path
    assert find_run(tmp_path / "elsewhere", run.run_id).path == tmp_path / "reference" / run.run_id


@pytest.mark.parametrize("kept", [True, False])
def test_what_is_thought_is_kept_beside_a_run_and_never_in_the_reference(
    kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However its folder is written: relative to where one is."""
    under_way(tmp_path / "reference", answered=1)
    (run,) = recover(tmp_path / "reference")
    monkeypatch.setattr(store, "REFERENCE", tmp_path / ("elsewhere" if kept else "reference"))
    monkeypatch.chdir(tmp_path)
    relative = store.Run(Path("reference") / run.run_id, run.manifest)
    relative.keep_thought(pa.table({"cause": ["clean"]}))
    assert (run.path / store.CAUSES).exists() is kept


def test_an_id_that_begins_another_one_means_the_run_that_has_it(tmp_path: Path) -> None:
    under_way(tmp_path, answered=1)
    (run,) = recover(tmp_path)
    shutil.copytree(run.path, run.path.with_name(f"{run.run_id}-2"))
    assert find_run(tmp_path, run.run_id).path == run.path
    with pytest.raises(PlanError, match="2 runs match"):
        find_run(tmp_path, run.run_id[:-1])


def test_of_several_runs_the_first_with_rows_is_opened_and_an_unclear_id_is_said(tmp_path: Path) -> None:
    under_way(tmp_path, answered=1)
    (run,) = recover(tmp_path)
    first = open_first(["20000101-000000000-python-0000", run.run_id], data=tmp_path)
    assert first is not None
    assert first.run.run_id == run.run_id
    assert open_first(["20000101-000000000-python-0000"], data=tmp_path) is None
    shutil.copytree(run.path, run.path.with_name(f"{run.run_id}-2"))
    with pytest.raises(PlanError, match="2 runs match"):
        open_first([run.run_id[:-1]], data=tmp_path)


def test_a_run_killed_in_its_very_last_step_gets_its_name(tmp_path: Path) -> None:
    partial = under_way(tmp_path, answered=5)
    with Rows(Path(slices_in(partial.path)[0].rows_path), LOAD.clients, 0) as rows:
        tables = assemble(slices_in(partial.path), [rows], 10**9)
    store.write_table(tables.connections, partial.path / store.CONNECTIONS)
    partial.write_manifest({**partial.read_manifest(), "status": "complete"})
    (run,) = recover(tmp_path)
    assert run.manifest["status"] == "complete"
    assert not list(run.path.glob("*.rows"))


def test_one_that_cannot_be_brought_in_stays_and_stops_nobody(tmp_path: Path) -> None:
    broken = under_way(tmp_path)
    (broken.path / store.MANIFEST).write_text("{")
    under_way(tmp_path, answered=1)
    assert len(recover(tmp_path)) == 1
    assert broken.path.exists()


def test_what_is_no_run_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / store.CONNECTIONS).write_text("")
    (tmp_path / "damaged" / store.MANIFEST).write_text("not json")
    assert list(runs(tmp_path)) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot write"):
        Partial.create(tmp_path / "file" / "runs", MANIFEST)


@pytest.mark.parametrize(
    ("status", "error", "agents", "counts"),
    [
        ("complete", None, [{}], True),
        ("failed", {"code": 4, "message": "the server ended during the storm"}, [{}], True),
        ("failed", {"code": 4, "message": "the server was not ready"}, [], False),
        ("failed", {"code": 130, "message": "interrupted"}, [{}], False),
    ],
)
def test_a_storm_in_which_the_server_ended_is_a_result(
    status: str, error: dict[str, object] | None, agents: list[object], counts: bool, tmp_path: Path
) -> None:
    run = store.Run(tmp_path, MANIFEST | {"status": status, "error": error, "agents": agents})
    assert run.is_result is counts


@pytest.mark.parametrize(
    ("server", "front", "who"),
    [
        ({}, None, (True, False)),
        ({"ended": "exit status 1"}, None, (True, False)),
        ({"ended": "exit status 1"}, {"ended": None}, (True, False)),
        ({"ended": None}, {"ended": "exit status 1"}, (False, True)),
        ({"ended": "exit status 1"}, {"ended": "exit status 1"}, (True, True)),
    ],
)
def test_who_ended_in_the_storm(
    server: dict[str, object], front: dict[str, object] | None, who: tuple[bool, bool], tmp_path: Path
) -> None:
    """The server or the load balancer before it; of runs that do not say, the server."""
    error = {"code": 4, "message": "it ended during the storm"}
    manifest = {"server": server, "status": "failed", "error": error, "agents": [{}]}
    run = store.Run(tmp_path, manifest if front is None else {**manifest, "front": front})
    assert (run.server_ended, run.front_ended) == who
    assert run.is_result
