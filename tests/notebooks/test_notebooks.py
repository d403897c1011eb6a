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

from harness import results, store
from harness.notebooks import collection

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
    folder = store.PROJECT / "figures" / notebook.stem
    known = set(results.read(store.REFERENCE / results.RUNS)["run_id"])
    names = {path.stem for path in folder.iterdir()}
    assert len(names) >= 2
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
    done = execute(tmp_path, "01-stack-comparison", "-p", *parameter)
    assert done.returncode == 2
    assert parameter[0] in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_other_data_gives_another_answer(tmp_path: Path) -> None:
    """Nothing is typed by hand."""
    runs = results.read(store.REFERENCE / results.RUNS)
    changed = runs["scenario"].eq("short") & runs["server"].eq("go")
    runs.loc[changed, "success_rate"] = 0.1234
    results.write(runs, tmp_path / "reference" / results.RUNS)
    done = execute(tmp_path, "01", environment={"STORMLAB_REFERENCE": str(tmp_path / "reference")})
    assert done.returncode == 0, done.stderr
    text = json.dumps(words_of(tmp_path / "report" / "01-stack-comparison.ipynb"))
    committed = json.dumps(words_of(store.PROJECT / "notebooks" / "01-stack-comparison.ipynb"))
    assert "12.34%" in text
    assert "12.34%" not in committed


def test_measured_here_it_draws_the_same_figures(tmp_path: Path) -> None:
    small = ("-p", "servers", "[python]", "-p", "short_clients", "300", "-p", "long_requests", "50")
    done = execute(tmp_path, "01", "-p", "source", "here", *small)
    assert done.returncode == 0, done.stderr
    recorded = list(store.runs(tmp_path))
    assert len(recorded) == (4 if os.cpu_count() != 1 else 2)
    figures = tmp_path / "report" / "figures" / "01-stack-comparison"
    assert {path.name for path in figures.glob("*.svg")} == {
        path.name for path in (store.PROJECT / "figures" / "01-stack-comparison").glob("*.svg")
    }
    again = execute(tmp_path, "01", "-p", "source", "here", *small)
    assert again.returncode == 0, again.stderr
    assert len(list(store.runs(tmp_path))) == len(recorded), "what was measured is not measured again"
