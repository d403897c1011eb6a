"""Errors that a user sees: one line that names what was asked, what was found and the next step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""


_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_a-z])")
"""Commands to a terminal: control sequences such as colours, operating system commands such as titles (ECMA-48)."""


def printable(line: str) -> str:
    """What others wrote, in characters that a terminal only shows: no colours, no commands to it."""
    return "".join(character for character in _ESCAPES.sub("", line) if character.isprintable()).strip()


class StormLabError(Exception):
    """Base of all errors meant for the user; ``exit_code`` is the command line's."""

    exit_code = 1

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    @property
    def line(self) -> str:
        """What a user reads of it."""
        return f"{self.message}; {self.next_step}" if self.next_step else self.message

    def _render_traceback_(self) -> list[str]:
        """IPython asks for this: a notebook shows the line instead of a traceback."""
        return [f"{type(self).__name__}: {self.line}"]

    def to_json(self) -> dict[str, Any]:
        """The ``error`` of the contract."""
        return {"code": self.exit_code, "message": self.message, "next_step": self.next_step}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> StormLabError:
        error = cls(document["message"], document["next_step"])
        error.exit_code = document["code"]
        return error

    @classmethod
    def interrupted(cls, message: str) -> StormLabError:
        error = cls(f"interrupted; {message}")
        error.exit_code = INTERRUPTED
        return error


class PlanError(StormLabError):
    """What was asked for cannot mean anything."""

    exit_code = 2


class MachineError(StormLabError):
    """This machine cannot do what was asked: a missing toolchain, permission, disk space, or limit."""

    exit_code = 3


class ServerError(StormLabError):
    """The server under test failed: never ready, or gone during the storm."""

    exit_code = 4
