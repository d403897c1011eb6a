"""Options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.store import default_data

Commands = Any
"""What :meth:`argparse.ArgumentParser.add_subparsers` returns; argparse keeps its type private."""


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=lambda text: Path(text).absolute(),
        default=default_data(),
        metavar="DIR",
        help="where runs are kept (default: data/runs of the checkout, or STORMLAB_DATA)",
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run_name",
        metavar="RUN",
        nargs="?",
        default="latest",
        help="id of a run, the beginning of one, a run's folder, or `latest` (default)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
