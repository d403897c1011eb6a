"""Every notebook executes afresh, stands on its data, and is committed with the outputs of its own source."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest

from harness import PROJECT
from harness.events import store
from harness.events.records import published
from harness.page.notebooks import collection
from harness.thought import runs as results
from tests.calling import called

NOTEBOOKS = collection()


def execute(data: Path, *words: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", "notebooks", *words, "--data", str(data)],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    )


def words_of(path: Path) -> list[Any]:
    """Sources and outputs of all cells, pictures left out: their bytes may depend on the fonts of a machine."""
    found: list[Any] = []
    for cell in nbformat.read(path, as_version=4).cells:
        found.append(cell.source)
        for output in cell.get("outputs", []):
            data = {kind: text for kind, text in output.get("data", {}).items() if not kind.startswith("image/")}
            found.append((output.output_type, data, output.get("text")))
    return found


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_executed_afresh_it_says_what_is_committed(notebook: Path, tmp_path: Path) -> None:
    done = execute(tmp_path, notebook.stem)
    assert done.returncode == 0, done.stderr
    assert words_of(tmp_path / "report" / notebook.name) == words_of(notebook), "run `make notebooks`"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_figures_are_committed_with_what_they_were_made_from(notebook: Path) -> None:
    folder = PROJECT / "figures" / notebook.stem
    known = set(results.read(store.REFERENCE / results.RUNS)["run_id"])
    known |= {attack["run_id"] for attack in published()}
    names = {path.stem for path in folder.glob("*.svg")}
    assert names
    assert {path.stem for path in folder.iterdir() if path.suffix != ".csv"} == names, "an older one was left"
    for name in names:
        assert (folder / f"{name}.svg").read_bytes()[:5] == b"<?xml"
        assert (folder / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        about = json.loads((folder / f"{name}.json").read_text())
        assert about["caption"]
        assert about["alternative_text"]
        assert set(about["runs"]) <= known


@pytest.mark.parametrize(
    "parameter", [("sevrers", "[go]"), ("servers", "go"), ("short_clients", "many"), ("repeats", "x")]
)
def test_a_misspelt_or_mistyped_parameter_is_an_error(parameter: tuple[str, str], tmp_path: Path) -> None:
    code, _, said = called("notebooks", "01-stack-comparison", "-p", *parameter, "--data", str(tmp_path))
    assert code == 2
    assert parameter[0] in said
    assert len(said.splitlines()) == 1
