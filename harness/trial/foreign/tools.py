"""The other generators and the servers as published: what there is, what is here, and how each is started."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import PlanError
from harness.plan import Server
from harness.plan.attack import DESCRIBED
from harness.servers.audit import building
from harness.servers.audit.building import Unit
from harness.servers.build import Missing

SOURCES = Path(__file__).parent
BUILD_THEM = "`python -m harness.trial.foreign` builds it"


@dataclass(frozen=True, slots=True)
class Tool:
    """A generator as ``tools.toml`` describes it."""

    name: str
    speaks: str
    program: str
    unit: Unit

    @property
    def path(self) -> Path:
        return building.place(self.unit) / self.program

    @property
    def missing(self) -> Missing | None:
        return missing(self.unit)

    @property
    def version(self) -> str:
        """As the program itself has it: for Go, what ``go version -m`` reads from it."""
        if self.unit.kind == "module":
            said = _said(["go", "version", "-m", str(self.path)])
            return module_version(said, str(self.unit.package))
        return _said([str(self.path), "--version"]).rpartition(" ")[2].strip()

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
    document = tomllib.loads(DESCRIBED.read_text(encoding="utf-8"))
    return building.units(document["units"], SOURCES)


def unit_of(server: Server) -> Unit | None:
    """The unit that a command of a published server comes from, if one does."""
    words = (server.command or "").replace("/", " ").split()
    return next((unit for name, unit in units().items() if name in words), None)


def missing(unit: Unit) -> Missing | None:
    """Why it is not here, or None where it is."""
    lacking = building.missing(unit)
    return lacking and Missing(
        f"{unit.name}: {lacking.reason}", lacking.next_step.replace(building.BUILD_THEM, BUILD_THEM)
    )


def build(say: Callable[[str], None], names: Sequence[str] = ()) -> None:
    """Get those of these names that are not here, or all; one that cannot be had is left out with a line."""
    building.build([unit for name, unit in units().items() if not names or name in names], say)


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def module_version(build_info: str, package: str) -> str:
    """The version of a module as ``go version -m`` reads it from a program; empty where it is not in it."""
    found = re.search(rf"^\s*(?:mod|dep)\s+{re.escape(package)}\s+(\S+)", build_info, re.MULTILINE)
    return found[1] if found else ""
