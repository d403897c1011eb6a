"""Who is audited: the lab's own servers and what ``subjects.toml`` describes, as data."""

from __future__ import annotations

import functools
import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import PlanError
from harness.plan import Server
from harness.servers import catalogue
from harness.servers.build import Missing, Unit, described, said_by

SOURCES = Path(__file__).parent
DESCRIBED = SOURCES / "subjects.toml"
_VERSION = re.compile(r"\d+(?:\.\d+)+[\w.+-]*")


@dataclass(frozen=True, slots=True)
class Subject:
    """A server under audit, as ``subjects.toml`` describes it."""

    name: str
    stack: str
    command: str
    unit: Unit | None = None
    versions: tuple[str, ...] = ()
    version_command: str | None = None
    config: str | None = None
    own: tuple[str, ...] = ()
    told: bool = False
    why: str = ""
    entry: catalogue.Entry | None = None
    """The catalogue's, for the lab's own servers and the user's."""
    lab: bool = False
    """Whether it is the lab's own."""

    @property
    def described(self) -> bool:
        """Whether the checkout describes it, so that its row may be committed; a user's server is the user's."""
        return self.lab or self.entry is None

    @property
    def missing(self) -> Missing | None:
        """Why it cannot be started here, or None."""
        if self.name == catalogue.COMMAND:  # whether it is there shows when it is started
            return None
        if self.entry is not None:
            return self.entry.missing
        if self.unit is not None:
            return self.unit.missing
        program = catalogue.absent_program(self.command)
        return None if program is None else Missing(f"{program} is not installed", f"install {program}")

    @property
    def version(self) -> str:
        """Its version before it is started; empty where only the running process can say it."""
        if self.entry is not None:
            return self.entry.version
        if self.version_command is not None:
            return _said(self.version_command.format_map(self._places("")))
        if self.unit is None:
            return ""
        if not self.versions:
            return self.unit.version or ""
        known = self.unit.versions
        own, *others = (known.get(package, "?") for package in self.versions)
        beside = ", ".join(f"{name} {version}" for name, version in zip(self.versions[1:], others, strict=True))
        return f"{own} ({beside})" if beside else own

    def argv(self, port: int, folder: str) -> list[str]:
        """The command line that starts it; ``folder`` is empty and its own.

        Raises:
            PlanError: the command is malformed.
        """
        if self.entry is not None:
            return catalogue.argv(self.entry, Server(name=self.name), "127.0.0.1", port)
        return catalogue.filled_in(self.name, self.command, {**self._places(folder), "port": str(port)})

    def files(self, port: int, folder: str) -> dict[str, str]:
        """What has to lie in ``folder`` before it is started, name → text: its configuration, if it has one."""
        if self.config is None:
            return {}
        text = (SOURCES / self.config).read_text(encoding="utf-8")
        return {self.config: text.replace("{port}", str(port)).replace("{folder}", folder)}

    def _places(self, folder: str) -> dict[str, str]:
        return {
            "sources": str(SOURCES),
            "folder": folder,
            "config": f"{folder}/{self.config}",
            "lab_python": sys.executable,
            "unit": "" if self.unit is None else str(self.unit.programs),
        }


def subjects() -> dict[str, Subject]:
    """All there are by name: the catalogue's, then those of ``subjects.toml``.

    Raises:
        PlanError: a file of the user's is not valid, or gives one of these names to another program.
    """
    document = tomllib.loads(DESCRIBED.read_text(encoding="utf-8"))
    known = {}
    for name, entry in catalogue.catalogue().items():
        lab = entry.source is None
        if not lab and name in document["subjects"]:
            raise PlanError(f"{entry.source} gives a command of its own to {name}", "name it otherwise")
        said = _plain(document["lab"].get(name, {}) if lab else {})
        known[name] = Subject(name, entry.title, entry.command, told=lab, entry=entry, lab=lab, **said)
    units = described(document["units"], SOURCES, "run `stormlab audit --build`")
    for name, fields in document["subjects"].items():
        unit = units[fields["unit"]] if "unit" in fields else None
        known[name] = Subject(name, **{**_plain(fields), "unit": unit})
    return known


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """TOML's lists as tuples, its lines as one."""
    kept = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    return {**kept, "why": " ".join(str(fields.get("why", "")).split())}


def of_command(command: str) -> Subject:
    """A server that nobody has described.

    Raises:
        PlanError: the command has no place for the port.
    """
    entry = catalogue.known(Server(name=catalogue.COMMAND, command=command))
    return Subject(catalogue.COMMAND, command, command, entry=entry)


def find(names: list[str]) -> list[Subject]:
    """The subjects of these names, or whose names begin so; all of them for none.

    Raises:
        PlanError: a name that nobody has.
    """
    known = subjects()
    if not names:
        return list(known.values())
    found: dict[str, Subject] = {}
    for name in names:
        chosen = {name: known[name]} if name in known else {key: s for key, s in known.items() if key.startswith(name)}
        if not chosen:
            raise PlanError(
                f"no server called {name!r} is known to the audit; known are {', '.join(known)}",
                "choose from them, or use --command",
            )
        found |= chosen
    return list(found.values())


@functools.cache
def _said(command: str) -> str:
    """The version in what a command says; some say it on standard error."""
    found = _VERSION.search(said_by(["sh", "-c", f"{command} 2>&1"]))
    return found[0] if found else ""
