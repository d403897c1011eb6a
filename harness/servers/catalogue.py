"""Which servers there are, as data: the lab's own in ``catalogue.toml``, the user's in ``servers.toml``."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from harness import PROJECT
from harness.errors import MachineError, PlanError
from harness.plan import Server
from harness.servers import allocators, build
from harness.servers.build import Missing, Unit

OWN = Path(__file__).with_name("catalogue.toml")
COMMAND = "command"
"""What a server is called that is given by its command alone."""
USERS = "servers.toml"
"""In the checkout, for notebooks opened anywhere in it, or in the folder one works in, which wins."""
_OPTIONAL = ("backlog", "body_bytes", "work_us", "workers", "stamps", "accept_loops", "reuseport", "accept_batch")
"""Options of a server that reach it through a placeholder of the same name."""
_OR_DEFAULT = ("backlog", "workers", "accept_loops", "accept_batch")
"""Of these, those that are a number or the word ``default``."""
_CONTRACT = (
    "--host {host} --port {port} --backlog {backlog} --body-bytes {body_bytes} --work-us {work_us} "
    "--workers {workers} --stamps {stamps}"
)
"""What ``{options}`` stands for: the contract of the lab's own servers (servers/README.md)."""
_ACCEPTING = "--accept-loops {accept_loops} --reuseport {reuseport} --accept-batch {accept_batch}"
"""What ``{accepting}`` stands for: who accepts, of those that can be told."""
_HTTP2 = " --http 2"
"""And with it, where HTTP/2 is asked for."""
_FIELDS: Mapping[str, type] = {
    **dict.fromkeys(("command", "title", "accept_stamp"), str),
    **dict.fromkeys(("own_allocator", "http2"), bool),
    "packages": list,
    "unit": str,
}
"""What an entry may have."""
_MOVED = ("{servers}/../foreign/", "{servers}/../trial/foreign/")
"""A place as recorded plans name it, whose hashes hold the text, and where it is now."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A server as the catalogue describes it; ``unit`` is what has to be built for it, if anything."""

    name: str
    title: str
    command: str
    unit: Unit | None = None
    packages: tuple[str, ...] = ()
    own_allocator: bool = False
    """Whether its memory comes from its own runtime, so that no other malloc could be given to it."""
    http2: bool = False
    """Whether it speaks HTTP/2 with prior knowledge when told to."""
    source: Path | None = None
    """The file of the user's that names it; None of the lab's own, and of a command."""
    accept_stamp: str = "handed_over"
    """Where its accept stamp is taken, if it has one: ``accept`` by the code that accepts, else ``handed_over``."""

    @property
    def missing(self) -> Missing | None:
        """Why it cannot be started here, or None."""
        if self.unit is not None:
            return self.unit.missing
        program = absent_program(self.command)
        if program is None:
            return None
        return Missing(f"its program {program!r} is not found", "correct its command, or go to the folder it is in")

    def missing_for(self, server: Server) -> Missing | None:
        """Why a planned server cannot be started here, or None where it can, if need be after :func:`provide`."""
        if server.command is None and self.missing is not None:
            return self.missing
        if server.command is not None and "{build}" in server.command:
            for word in argv(self, server, "127.0.0.1", 1):
                if word.startswith(str(build.BUILT)) and not Path(word).exists():
                    named = Path(word).relative_to(build.BUILT)
                    return Missing(f"{named} is not built", "`python -m harness.trial.foreign` builds it")
        if server.allocator == "system":
            return None
        if self.own_allocator:
            reason = f"its runtime has an allocator of its own and cannot take {server.allocator}"
            return Missing(reason, "leave --allocator out")
        if not self.has_variants:
            return allocators.missing_library(server.allocator)
        return build.VARIANTS[server.allocator].missing if self.unit else None

    @property
    def may_speak_http2(self) -> bool:
        """Of the user's own that is the user's affair, and seen when it is asked."""
        return self.http2 or self.unit is None

    @property
    def has_variants(self) -> bool:
        """Whether each allocator has a program of its own, instead of being preloaded."""
        return "{variant}" in self.command

    @property
    def version(self) -> str:
        """Versions of what it is built from, where a lock file pins them; the rest say theirs when they start."""
        locked = {} if self.unit is None else self.unit.versions
        return ", ".join(f"{package.split()[-1]} {locked[package]}" for package in self.packages if package in locked)


def absent_program(command: str) -> str | None:
    """The program that a command line starts with, if it is not here; None also where a placeholder names it."""
    program = next(iter(shlex.split(command)), "")
    return None if "{" in program or shutil.which(program) is not None else program


def catalogue() -> dict[str, Entry]:
    """All entries by name, the lab's own first.

    Raises:
        PlanError: a file of the user's is not valid, or gives one of the lab's own names to another program.
    """
    own = _read(OWN)
    entries = dict(own)
    named = os.environ.get("STORMLAB_SERVERS")
    for users in [Path(named)] if named else [PROJECT / USERS, Path(USERS)]:
        if not users.exists():
            continue
        found = _read(users)
        if taken := {*own, COMMAND} & found.keys():
            names = ", ".join(sorted(taken))
            raise PlanError(f"{users.absolute()} gives commands of its own to {names}", "name them otherwise")
        entries |= {name: replace(entry, source=users.absolute()) for name, entry in found.items()}
    return entries


def find(server: Server) -> Entry:
    """The entry of a planned server that can be started here.

    Raises:
        PlanError: no such name.
        MachineError: it is known, but could not be built here, or cannot have the allocator.
    """
    entry = known(server)
    why_not = entry.missing_for(server)
    if why_not is not None:
        raise MachineError(f"server {entry.name!r} cannot run here: {why_not.reason}", why_not.next_step)
    return entry


def provide(server: Server, say: Callable[[str], None]) -> Entry:
    """As :func:`find`; the program with the allocator is built where it is not yet, once, which takes a minute.

    Raises:
        PlanError, MachineError: as :func:`find`, or it cannot be built.
    """
    entry = find(server)
    announce(entry, say)
    if server.allocator != "system" and entry.has_variants and entry.unit:
        variant = build.VARIANTS[server.allocator]
        why_not = variant.build(lambda line: say(f"servers: {line}"))
        if why_not is not None:
            raise MachineError(f"server {entry.name!r} cannot run here: {why_not.reason}", why_not.next_step)
    return entry


def announce(entry: Entry, say: Callable[[str], None]) -> None:
    """Say of a command that a file of the user's names whose it is, before it is run; of all others nothing."""
    if entry.source is not None:
        say(f"servers: {entry.name} is the command that {entry.source} names: {entry.command}")


def preloaded(entry: Entry, server: Server) -> Path | None:
    """The library that is preloaded to give a server its allocator, if one is."""
    if server.allocator == "system" or entry.has_variants:
        return None
    return allocators.library(server.allocator)


def known(server: Server) -> Entry:
    """The entry that a planned server means, whether it can be started or not; a command makes one of its own.

    Raises:
        PlanError: no such name.
    """
    if server.command is not None:
        return Entry(name=COMMAND, title=server.command, command=server.command)
    entries = catalogue()
    if server.name not in entries:
        near = get_close_matches(server.name, entries, n=1)
        raise PlanError(
            f"no server is called {server.name!r}; known are {', '.join(entries)}",
            (f"did you mean {near[0]}? Else " if near else "")
            + f"choose one of them, add yours to {USERS}, or use --command",
        )
    return entries[server.name]


def default_places(server: Server) -> list[str]:
    """The placeholders of a server's command that :func:`argv` fills with the word ``default`` instead of a number."""
    places = (name for name in _OR_DEFAULT if getattr(server, name) is None)
    command = known(server).command
    return [name for name in places if f"{{{name}}}" in command]


def argv(entry: Entry, server: Server, host: str, port: int, *, http2: bool = False) -> list[str]:
    """The command line that starts it.

    Raises:
        PlanError: an option was asked for that its command has no placeholder for, or the command is malformed; or
            HTTP/2, which it does not speak.
    """
    if http2 and not entry.may_speak_http2:
        speaking = ", ".join(name for name, known in catalogue().items() if known.http2)
        raise PlanError(f"{entry.name} does not speak HTTP/2", f"leave --http2 out, or take one of {speaking}")
    if http2 and server.allocator != "system" and entry.has_variants:
        raise PlanError(
            f"{entry.name} is not built for HTTP/2 with {server.allocator}", "leave --http2 or --allocator out"
        )
    values = {
        "host": host,
        "port": str(port),
        **{option: _word(getattr(server, option)) for option in _OPTIONAL},
        "python": sys.executable,
        "servers": str(build.SOURCES),
        "build": str(build.BUILT),
        "http": "-http2" if http2 else "",
        "variant": "" if server.allocator == "system" else f"-{server.allocator}",
    }
    default = Server()
    contract = _CONTRACT + (_HTTP2 if http2 else "")
    command = entry.command.replace(*_MOVED).replace("{options}", contract).replace("{accepting}", _ACCEPTING)
    for option in _OPTIONAL:
        if getattr(server, option) != getattr(default, option) and f"{{{option}}}" not in command:
            flag = "--" + option.replace("_", "-")
            raise PlanError(
                f"{flag} was asked for; the command of {entry.name!r} has no {{{option}}} to pass it on",
                f"write {{{option}}} where the command takes it, or leave {flag} out",
            )
    return filled_in(entry.name, command, values)


def _word(value: int | bool | None) -> str:
    """As it stands on a command line."""
    if value is None:
        return "default"
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def filled_in(name: str, command: str, values: Mapping[str, str]) -> list[str]:
    """The words of a command line whose placeholders are filled with ``values``.

    Raises:
        PlanError: it is malformed.
    """
    try:
        return [word.format_map(values) for word in shlex.split(command)]
    except (ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise PlanError(
            f"the command of {name!r} cannot be read ({error}): {command}",
            f"quote it as for a shell; placeholders are {', '.join('{' + name + '}' for name in values)}",
        ) from error


def identity_hash(entry: Entry, server: Server, before: Sequence[str] = (), *, http2: bool = False) -> str:
    """Hash of what a server is made of, with the programs ``before`` it: what a run's identity needs to know of it.

    Raises:
        PlanError: as :func:`argv`.
    """
    command = argv(entry, server, "127.0.0.1", 1, http2=http2)  # the address does not matter for that
    library = preloaded(entry, server)
    return binary_hash([*command, *([] if library is None else [str(library)]), *before])


def binary_hash(words: list[str]) -> str:
    """Hash of the program and of every file named on a command line."""
    digest = hashlib.sha256()
    for word in words:
        with suppress(OSError):  # a word may be no path at all, or name what cannot be read
            path = Path(shutil.which(word) or word)
            if path.is_file():
                status = path.stat()
                digest.update(_file_hash(str(path.resolve()), status.st_mtime_ns, status.st_size))
    return digest.hexdigest()[:16]


@functools.lru_cache(maxsize=64)
def _file_hash(path: str, modified_ns: int, size: int) -> bytes:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _read(path: Path) -> dict[str, Entry]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PlanError(f"cannot read the catalogue {path}: {error}", "correct the file or remove it") from error
    return {name: _entry(path, name, fields) for name, fields in document.items()}


def _entry(path: Path, name: str, fields: Any) -> Entry:
    named = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name)  # it becomes part of the names of folders
    if (
        not named
        or not isinstance(fields, dict)
        or "command" not in fields
        or any(not isinstance(value, _FIELDS.get(key, ())) for key, value in fields.items())
        or fields.get("unit", "go") not in build.LAB
    ):
        raise PlanError(
            f"entry {name!r} in {path} needs a command and may have {', '.join(_FIELDS)} ({' or '.join(build.LAB)})",
            f'write [{name}] and below it command = "program --port {{port}}"',
        )
    try:
        Server(command=fields["command"])
        shlex.split(fields["command"])
    except (PlanError, ValueError) as error:
        raise PlanError(
            f"the command of {name!r} in {path} is no use: {fields['command']!r}",
            "it must contain {port} or {options}, and be quoted as for a shell",
        ) from error
    unit, packages = build.LAB.get(fields.get("unit", "")), tuple(fields.get("packages", ()))
    return Entry(**{"name": name, "title": fields["command"], **fields, "unit": unit, "packages": packages})
