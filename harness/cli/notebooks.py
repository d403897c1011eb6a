"""``stormlab notebooks``: execute the collection, or some of it."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import yaml

from harness.cli.options import Commands, add_data
from harness.errors import PlanError
from harness.store import PROJECT


def add_to(commands: Commands) -> None:
    parser = commands.add_parser("notebooks", help="execute notebooks", allow_abbrev=False)
    parser.set_defaults(run=run)
    parser.add_argument("names", nargs="*", metavar="NAME", help="e.g. 01-stack-comparison, or 01 (default: all)")
    parser.add_argument(
        "-p",
        dest="parameters",
        nargs=2,
        action="append",
        default=[],
        metavar=("KEY", "VALUE"),
        help="a parameter of the notebook, its value read as YAML; repeatable",
    )
    parser.add_argument(
        "--export",
        action="store_true",
        help="write figures into figures/, and the notebooks in place where no parameter was changed",
    )
    add_data(parser)


def run(options: argparse.Namespace) -> int:
    from harness import notebooks  # papermill takes a second to import; other commands need not wait for it

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
