"""The command line: one file a command; exit codes and errors as CONTRACT has them.

0 done · 1 a check failed · 2 bad arguments · 3 this machine cannot · 4 the server failed · 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from harness import __version__
from harness.children import STOPPING
from harness.cli import audit, calibrate, doctor, explain, listing, notebooks, run, servers, show, verdicts
from harness.errors import PlanError, StormLabError
from harness.report import tables

COMMANDS = (doctor, servers, run, listing, show, explain, calibrate, audit, verdicts, notebooks)


class _Parser(argparse.ArgumentParser):
    """Raises instead of exiting, so that errors of arguments are reported like all others."""

    def error(self, message: str) -> NoReturn:
        raise PlanError(message, f"see `{self.prog} --help`")


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="stormlab",
        description="Why does a server fail under a storm of short connections, and what fixes it?",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"stormlab {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for command in COMMANDS:
        command.add_to(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    for number in STOPPING:
        signal.signal(number, signal.default_int_handler)  # both end a storm in the same orderly way
    try:
        options, unknown = build_parser().parse_known_args(words)
        if unknown:
            raise PlanError(f"unrecognized: {' '.join(unknown)}", f"see `stormlab {options.command} --help`")
        code: int = options.run(options)
        sys.stdout.flush()
    except StormLabError as error:
        return _fail(words, error)
    except KeyboardInterrupt:
        return _fail(words, StormLabError.interrupted("runs that were over are kept"))
    except BrokenPipeError:  # the reader of standard output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _fail(words: Sequence[str], error: StormLabError) -> int:
    if "--json" in words:
        tables.print_json({"error": error.to_json()})
    else:
        print(f"stormlab: {error.line}", file=sys.stderr)
    return error.exit_code
