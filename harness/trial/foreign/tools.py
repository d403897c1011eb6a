"""The other generators and the servers as published: what there is, what is here, and how each is started."""

from __future__ import annotations

import functools
import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import PlanError
from harness.plan import Server
from harness.plan.attack import DESCRIBED
from harness.servers import build
from harness.servers.build import Unit


@dataclass(frozen=True, slots=True)
class Tool:
    """A generator as ``tools.toml`` describes it."""

    name: str
    speaks: str
    program: str
    unit: Unit

    @property
    def path(self) -> Path:
        return self.unit.programs / self.program

    @property
    def version(self) -> str:
        """As the program itself has it: for Go, what ``go version -m`` reads from it."""
        if self.unit.kind == "module":
            return module_version(build.said_by(["go", "version", "-m", str(self.path)]), str(self.unit.package))
        return build.said_by([str(self.path), "--version"]).rpartition(" ")[2].strip()

    def command(self, options: str, url: str, results: Path) -> list[str]:
        """The command line of an attack; vegeta reads where to go from its standard input (:meth:`stdin`)."""
        words = shlex.split(options)
        if self.speaks == "vegeta":
            return [str(self.path), "attack", *words, f"-output={results}"]
        return [str(self.path), *(["--no-tui"] if self.speaks == "oha" else []), *words, url]

    def stdin(self, url: str) -> str:
        return f"GET {url}\n" if self.speaks == "vegeta" else ""

    def as_typed(self, options: str, url: str) -> str:
        """What a reader would type."""
        if self.speaks == "vegeta":
            return f'echo "GET {url}" | vegeta attack {options} | vegeta report'
        return f"{self.speaks} {'--no-tui ' if self.speaks == 'oha' else ''}{options} {url}"


def tools() -> dict[str, Tool]:
    """All there are by name."""
    known = units()
    described = tomllib.loads(DESCRIBED.read_text(encoding="utf-8"))["tools"]
    return {
        name: Tool(name, fields["speaks"], fields["program"], known[fields.get("unit", name)])
        for name, fields in described.items()
    }


def find(name: str) -> Tool:
    """Raises: PlanError: no such tool."""
    known = tools()
    if name not in known:
        raise PlanError(f"no tool is called {name!r}", f"known are {', '.join(known)}")
    return known[name]


@functools.cache
def units() -> Mapping[str, Unit]:
    """What the generators and the published servers are built from, by name."""
    document = tomllib.loads(DESCRIBED.read_text(encoding="utf-8"))
    return build.described(document["units"], Path(__file__).parent, "run `python -m harness.trial.foreign`")


def unit_of(server: Server) -> Unit | None:
    """The unit that a command of a published server comes from, if one does."""
    words = (server.command or "").replace("/", " ").split()
    return next((unit for name, unit in units().items() if name in words), None)


def module_version(build_info: str, package: str) -> str:
    """The version of a module as ``go version -m`` reads it from a program; empty where it is not in it."""
    found = re.search(rf"^\s*(?:mod|dep)\s+{re.escape(package)}\s+(\S+)", build_info, re.MULTILINE)
    return found[1] if found else ""
