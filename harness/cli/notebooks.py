"""``stormlab notebooks``: execute the collection, or some of it."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import yaml

from harness import PROJECT
from harness.errors import PlanError


def run(options: argparse.Namespace) -> int:
    from harness.page import notebooks

    parameters = {key: _value(key, text) for key, text in options.parameters}
    chosen = notebooks.find(options.names)
    for notebook in chosen:
        notebooks.check_parameters(notebook, parameters)
    report = options.data / "report"
    figures = PROJECT / "figures" if options.export else report / "figures"
    for notebook in chosen:
        in_place = options.export and not parameters
        output = notebook if in_place else report / notebook.name
        begun = time.monotonic()
        print(f"{notebook.stem}: executing", file=sys.stderr, flush=True)
        notebooks.execute(notebook, output, parameters, figures=figures, data=options.data, live=sys.stderr)
        print(f"{notebook.stem}: {time.monotonic() - begun:.0f} s → {output}", file=sys.stderr, flush=True)
    return 0


def _value(key: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PlanError(
            f"the value of {key} is not YAML: {text!r}", "quote it for the shell, e.g. '[hyper, go]'"
        ) from error
