"""``stormlab notebooks``: execute the collection, or some of it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml

from harness import PROJECT
from harness.errors import PlanError


def run(options: argparse.Namespace) -> int:
    from harness.page import notebooks

    parameters = {key: _value(key, text) for key, text in options.parameters}
    axes = dict(_axis(text) for text in options.grid)
    chosen = notebooks.find(options.names)
    for notebook in chosen:
        notebooks.check_parameters(notebook, parameters)
    report = options.data / "report"
    if axes:
        return _grid(chosen, axes, parameters, report, options)
    figures = PROJECT / "figures" if options.export else report / "figures"
    in_place = options.export and not parameters
    outputs = {notebook: notebook if in_place else report / notebook.name for notebook in chosen}
    one = partial(_execute, parameters=parameters, figures=figures, data=options.data)
    # Storms want the machine to themselves.
    at_once = 1 if parameters.get("source") == "here" else min(len(chosen), os.cpu_count() or 1)
    if at_once == 1:
        for notebook, output in outputs.items():
            one(notebook, output)
        return 0
    with ProcessPoolExecutor(at_once, get_context("spawn")) as pool:
        for done in [pool.submit(one, notebook, output) for notebook, output in outputs.items()]:
            done.result()
    return 0


def _execute(notebook: Path, output: Path, parameters: Mapping[str, Any], figures: Path, data: Path) -> None:
    from harness.page import notebooks

    begun = time.monotonic()
    print(f"{notebook.stem}: executing", file=sys.stderr, flush=True)
    notebooks.execute(notebook, output, parameters, figures=figures, data=data, live=sys.stderr)
    print(f"{notebook.stem}: {time.monotonic() - begun:.0f} s → {output}", file=sys.stderr, flush=True)


def _grid(
    chosen: Sequence[Path],
    axes: Mapping[str, Sequence[Any]],
    parameters: Mapping[str, Any],
    report: Path,
    options: argparse.Namespace,
) -> int:
    from harness.page import grid, notebooks, tables

    if options.export:
        raise PlanError("a grid is none of the committed notebooks", "leave out --export")
    if twice := set(axes) & set(parameters):
        raise PlanError(f"{', '.join(twice)} is given by -p and by --grid", "leave one of the two out")
    for notebook in chosen:
        for changes in grid.combinations(axes):
            notebooks.check_parameters(notebook, changes)
    for notebook in chosen:
        table = grid.run(notebook, axes, parameters, report=report, data=options.data)
        ids = list(dict.fromkeys(one["id"] for line in table for one in line["propositions"]))
        tables.print_rows((*axes, *ids), [_line(line, axes, ids) for line in table])
    return 0


def _line(line: Mapping[str, Any], axes: Mapping[str, Any], ids: Sequence[str]) -> list[str]:
    """Its parameters, and of each proposition whether it holds and its value."""
    from harness.page.numbers import briefly
    from harness.thought.proposition import said

    known = {one["id"]: one for one in line["propositions"]}

    def shown(name: str) -> str:
        one = known.get(name)
        if one is None:
            return ""
        value = "" if one["value"] is None else f" ({briefly(one['value'], one['unit'])})"
        return said(one["holds"]) + value

    return [*(str(line[name]) for name in axes), *map(shown, ids)]


def _axis(text: str) -> tuple[str, list[Any]]:
    """``KEY=V1,V2``: the values, read as YAML, so that one may be a list of its own."""
    key, equals, values = text.partition("=")
    read = _value(key, f"[{values}]")
    if not equals or not key or not read:
        raise PlanError(f"--grid takes KEY=VALUE,VALUE…, not {text!r}", "for example --grid backlog=128,1024")
    return key, read


def _value(key: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PlanError(
            f"the value of {key} is not YAML: {text!r}", "quote it for the shell, e.g. '[hyper, go]'"
        ) from error
