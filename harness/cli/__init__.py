"""The command line: one file a command; exit codes and errors as docs/reference.md has them.

0 done · 1 a check failed · 2 bad arguments · 3 this machine cannot · 4 the server failed · 130 interrupted.

What can be typed is in :mod:`arguments`; a command itself is imported when it is run, so that help is there at once.
Commands that are not the instrument's own come from the entry points of the group ``stormlab.commands``: modules with
``HELP``, ``add_to(parser)`` and ``run(options)``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import NoReturn

from harness import __version__
from harness.cli.arguments import COMMANDS
from harness.errors import PlanError, StormLabError
from harness.machine.children import STOPPING
from harness.machine.host_settings import put_back_left

TO_BEGIN_WITH = """\
Why does a server fail under a storm of short connections, and what fixes it? To begin with:

  stormlab run --command './my-server --port {port}' --clients 20000    a storm on a server of your own
  stormlab explain                                                      why it went as it did
  stormlab watch --port 8080                                            a server that already serves

`stormlab --help` lists all commands, `stormlab doctor` says what this machine allows."""
OTHERS = "stormlab.commands"
"""The group of entry points of commands that are not the instrument's own."""


class _Parser(argparse.ArgumentParser):
    """Raises instead of exiting, so that errors of arguments are reported like all others."""

    def error(self, message: str) -> NoReturn:
        raise PlanError(message, f"see `{self.prog} --help`")


def commands() -> dict[str, str]:
    """Name of every command → its line of help."""
    own = {name: line for name, (line, _) in COMMANDS.items()}
    return own | {point.name: point.load().HELP for point in entry_points(group=OTHERS)}


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="stormlab",
        description="Why does a server fail under a storm of short connections, and what fixes it?",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"stormlab {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for name, (line, add_to) in COMMANDS.items():
        command = commands.add_parser(name, help=line, allow_abbrev=False)
        command.set_defaults(module=f"harness.cli.{name}")
        add_to(command)
    for point in entry_points(group=OTHERS):
        module = point.load()
        command = commands.add_parser(point.name, help=module.HELP, allow_abbrev=False)
        command.set_defaults(module=point.value)
        module.add_to(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    words = [
        *(sys.argv[1:] if argv is None else argv)
    ]  # not list(): harness.cli.list is a command, once it is imported
    try:
        try:
            return _call(words)
        except KeyboardInterrupt:
            _turn_deaf()
    except KeyboardInterrupt:  # impatience: another one, while the first was on its way here
        _turn_deaf()
    return _fail(words, StormLabError.interrupted("runs that were over are kept"))


def _call(words: Sequence[str]) -> int:
    """Do what was typed; the exit code. Raises: KeyboardInterrupt."""
    for number in STOPPING:
        signal.signal(number, signal.default_int_handler)  # both end a storm in the same orderly way
    if not words:
        print(TO_BEGIN_WITH)
        return 0
    try:
        options, unknown = build_parser().parse_known_args(words)
        if unknown:
            raise PlanError(f"unrecognized: {' '.join(unknown)}", f"see `stormlab {options.command} --help`")
        for line in put_back_left():
            print(f"stormlab: {line}", file=sys.stderr)
        code: int = import_module(options.module).run(options)
        sys.stdout.flush()
    except StormLabError as error:
        return _fail(words, error)
    except BrokenPipeError:  # the reader of standard output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _turn_deaf() -> None:
    """It is ending already: a further signal would only cut off the word that says so."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def _fail(words: Sequence[str], error: StormLabError) -> int:
    if "--json" in words:
        print(json.dumps({"error": error.to_json()}, indent=1, ensure_ascii=False))
    else:
        print(f"stormlab: {error.line}", file=sys.stderr)
    return error.exit_code
