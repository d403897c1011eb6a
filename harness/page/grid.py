"""A notebook executed for every combination of some parameters, resumed where it stopped, and one table at the end."""

from __future__ import annotations

import itertools
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat

from harness.events.store import write_whole
from harness.page import notebooks
from harness.page.propositions import MIME

TABLE = "grid.json"
"""Beside the executed notebooks: a line a combination, its parameters and its propositions."""
_EXECUTED_FROM = "stormlab"
"""Key of a notebook's metadata: the cells that it was executed from, and its parameters."""


def combinations(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every one, the last axis fastest."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def run(
    notebook: Path, axes: Mapping[str, Sequence[Any]], parameters: Mapping[str, Any], *, report: Path, data: Path
) -> list[dict[str, Any]]:
    """Execute what has not been executed yet; the table, a dictionary a combination.

    Raises:
        StormLabError: a cell failed; what was executed before stays, and the next call goes on after it.
    """
    folder, wanted = report / f"{notebook.stem}-grid", combinations(axes)
    table = []
    for number, changes in enumerate(wanted, 1):
        output = folder / f"{named(changes)}.ipynb"
        where = f"{notebook.stem} [{number}/{len(wanted)}] {worded(changes)}"
        every = {**parameters, **changes}
        origin = {_EXECUTED_FROM: _origin(notebook, every)}
        if not done(output, origin):
            begun = time.monotonic()
            print(f"{where}: executing", file=sys.stderr, flush=True)
            figures = folder / "figures" / named(changes)
            notebooks.execute(notebook, output, every, figures=figures, data=data, live=sys.stderr, about=origin)
            print(f"{where}: {time.monotonic() - begun:.0f} s → {output}", file=sys.stderr, flush=True)
        else:
            print(f"{where}: is there already", file=sys.stderr, flush=True)
        table.append({**changes, "notebook": str(output), "propositions": list(propositions(output))})
    write_whole(folder / TABLE, json.dumps(table, indent=1, ensure_ascii=False) + "\n")
    return table


def named(changes: Mapping[str, Any]) -> str:
    """``server-go,backlog-128``: a file's name, whatever the values are."""
    return ",".join(re.sub(r"[^\w.+-]+", "_", f"{name}-{value}").strip("_") for name, value in changes.items())


def worded(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in changes.items())


def done(output: Path, origin: Mapping[str, Any]) -> bool:
    """Whether it was executed from that: the notebook as it is now, and these parameters."""
    return output.exists() and origin.items() <= dict(nbformat.read(output, as_version=4).metadata).items()


def propositions(output: Path) -> Iterator[dict[str, Any]]:
    """Those that an executed notebook shows."""
    for cell in nbformat.read(output, as_version=4).cells:
        for shown in cell.get("outputs", []):
            yield from shown.get("data", {}).get(MIME, [])


def _origin(notebook: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    sources = [cell.source for cell in nbformat.read(notebook, as_version=4).cells]
    return {"cells": sources, "parameters": json.loads(json.dumps(parameters, default=str))}
