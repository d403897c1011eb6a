"""One run that is damaged, or of a newer version, breaks no folder: a line says why, beside all the others."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness import lab, load_plan
from tests.calling import Result, called

Call = Callable[..., Result]
Damage = Callable[[Path], object]
PLAN = '[base]\nserver = "python"\nclients = 50\n'


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return path


@pytest.fixture
def folder(stormlab: Call, tmp_path: Path, plan: Path) -> Path:
    """Two runs of the plan, of which the tests damage the second."""
    stormlab("run", "--plan", str(plan), "--repeats", "2")
    return tmp_path / "runs"


def _cut(run: Path) -> None:
    rows = run / "connections.parquet"
    rows.write_bytes(rows.read_bytes()[:-100])


def _without_a_column(run: Path) -> None:
    rows = run / "connections.parquet"
    pq.write_table(pq.read_table(rows).drop_columns(["outcome"]), rows)


def _says(text: str) -> Damage:
    return lambda run: (run / "manifest.json").write_text(text)


def _has(**changed: Any) -> Damage:
    def damage(run: Path) -> None:
        path = run / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))

    return damage


DAMAGES: dict[str, Damage] = {
    "rows cut": _cut,
    "rows without a column": _without_a_column,
    "no rows": lambda run: (run / "connections.parquet").unlink(),
    "no manifest": lambda run: (run / "manifest.json").unlink(),
    "garbled": _says("{"),
    "no object": _says("[]"),
    "an empty object": _says("{}"),
    "nested too deeply": _says("[" * 100_000),
    "not UTF-8": lambda run: (run / "manifest.json").write_bytes(b"\xff\xfe"),
    "an empty plan": _has(plan={}),
    "a plan that means nothing": _has(plan=3),
    "a list for a host": _has(host=[]),
    "a word for an error": _has(status="failed", error="it failed"),
    "a number for a load balancer": _has(front=3),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_one_damaged_run_is_a_line_beside_all_the_others(damage: Damage, folder: Path, plan: Path) -> None:
    whole, damaged = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    (damaged / "causes.parquet").unlink(missing_ok=True)
    damage(damaged)
    code, output, errors = called("list", "--json", "--data", str(folder))
    assert code == 0
    assert [run["run_id"] for run in json.loads(output)["runs"]] == [whole.name]
    (line,) = errors.splitlines()
    assert damaged.name in line
    for command in ("show", "explain"):
        for name in (damaged.name, str(damaged), "latest"):
            code, _, errors = called(command, name, "--data", str(folder))
            assert code == 3
            (line,) = errors.splitlines()
            assert damaged.name in line
        assert called(command, whole.name, "--data", str(folder))[0] == 0
    code, _, errors = called("verdicts", "--data", str(folder))
    assert code == 0
    assert "Traceback" not in errors
    said: list[str] = []
    assert whole.name in set(
        lab.record(load_plan(plan, {"repeats": 2}), "here", data=folder, say=said.append)["run_id"]
    )
    assert any(damaged.name in line for line in said)
    assert called("run", "--server", "python", "--clients", "5", "--data", str(folder))[0] == 0


def test_what_a_newer_version_has_recorded_is_shown_and_what_is_not_known_is_named(folder: Path) -> None:
    newer = max(folder.iterdir())
    manifest = json.loads((newer / "manifest.json").read_text())
    manifest["plan"]["load"]["of_tomorrow"] = True
    (newer / "manifest.json").write_text(json.dumps(manifest))
    for words in (("list",), ("show", newer.name), ("explain", newer.name)):
        code, output, errors = called(*words, "--json", "--data", str(folder))
        assert code == 0
        (line,) = errors.splitlines()
        assert "plan.load.of_tomorrow" in line
        if words == ("list",):
            assert len(json.loads(output)["runs"]) == 2
    assert json.loads((newer / "manifest.json").read_text()) == manifest, "kept as it is"


@pytest.mark.parametrize(
    "manifest", [{"status": "of tomorrow"}, {"status": "running", "start_ns": 1, "slices": [{"of_tomorrow": 1}]}, []]
)
def test_what_a_newer_version_has_left_half_done_is_said_and_left_alone(manifest: object, folder: Path) -> None:
    partial = folder / ".20990101-000000000-python-0000.partial"
    partial.mkdir()
    (partial / "manifest.json").write_text(json.dumps(manifest))
    os.utime(partial, (0, 0))
    code, output, errors = called("list", "--json", "--data", str(folder))
    assert code == 0
    assert len(json.loads(output)["runs"]) == 2
    (line,) = errors.splitlines()
    assert "20990101-000000000-python-0000" in line
    assert partial.exists()


def test_a_damaged_record_of_an_attack_is_a_line_too(folder: Path) -> None:
    (folder / "attacks").mkdir()
    (folder / "attacks" / "cut.json").write_text("{")
    code, _, errors = called("verdicts", "--data", str(folder))
    assert code == 0
    (line,) = errors.splitlines()
    assert "cut.json" in line
