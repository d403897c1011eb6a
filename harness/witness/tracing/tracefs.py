"""The kernel's tracefs: reached, an instance of one's own made and removed, formats read.

An instance has its own buffers, clock, filters and switches, so nobody else's tracing is disturbed. It is the kernel's
and outlives its maker: it has to be removed (Documentation/trace/ftrace.rst, "Instances").
"""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import MachineError
from harness.machine.namespace import mount_privately

TRACEFS = Path("/sys/kernel/tracing")
"""The kernel makes this folder for it, empty until it is mounted."""
MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x2, 0x4, 0x8
"""include/uapi/linux/mount.h"""
_NAME = re.compile(r"stormlab-(\d+)-(\d+)")
_FIELD = re.compile(r"field:.*?(?P<name>\w+)(\[\d+\])?;\s*offset:(?P<offset>\d+);\s*size:(?P<size>\d+);")
_WORD = re.compile(r'\{ (\d+), "(\w+)" \}')


@dataclass(frozen=True, slots=True)
class Format:
    """How an event lies in the buffer: its number there, and (offset, size) in bytes of each of its fields."""

    number: int
    fields: dict[str, tuple[int, int]]
    words: dict[str, dict[int, str]]
    """Of each field that has names for its values, these."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Format:
        fields = {name: (offset, size) for name, (offset, size) in document["fields"].items()}
        words = {name: {int(value): word for value, word in named.items()} for name, named in document["words"].items()}
        return cls(document["number"], fields, words)


def reach() -> None:
    """Make :data:`TRACEFS` usable by this process, mounting it for this process alone where nobody has.

    Raises:
        MachineError: it cannot be mounted, or may not be used.
    """
    try:
        if (TRACEFS / "instances").is_dir():
            return
        mount_privately(Path("tracefs"), TRACEFS, b"tracefs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError as error:
        raise MachineError(
            f"--trace was asked for; {TRACEFS} is not mounted and cannot be: {error.strerror}",
            "run it as root outside of containers, or without --trace",
        ) from error


class Instance:
    """An instance of tracefs, ``stormlab-<pid>-<port>``: its name claims the port."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def claim(cls, ports: Sequence[int], pid: int) -> Instance:
        """Make an instance for a port that no other live instance has. Instances of dead processes are removed.

        Raises:
            MachineError: it may not be made, or every port is taken.
        """
        remove_stale()
        for port in random.sample(list(ports), len(ports)):
            if port in (claimed for _, claimed in _claims()):
                continue
            instance = cls(TRACEFS / "instances" / f"stormlab-{pid}-{port}")
            try:
                instance.path.mkdir()
            except OSError as error:
                raise MachineError(
                    f"--trace was asked for; no instance of tracefs can be made: {error.strerror}",
                    "run it as root outside of containers, or without --trace",
                ) from error
            if all(other >= pid for other, claimed in _claims() if claimed == port):
                return instance
            instance.remove()  # another process claimed it in the same instant, and goes first
        raise MachineError(f"--trace was asked for; {len(ports)} trials are being traced", "wait until one is over")

    @property
    def port(self) -> int:
        return int(self.path.name.rpartition("-")[2])

    def write(self, file: str, text: str) -> None:
        """Raises: OSError."""
        with (self.path / file).open("w") as control:
            control.write(text)

    def remove(self) -> None:
        """Raises: OSError, while one of its files is open."""
        self.path.rmdir()

    def stats(self) -> list[dict[str, int]]:
        """Of each CPU's buffer, the counts by the kernel's names: entries, overrun, dropped events, …"""
        found = []
        for stats in sorted(self.path.glob("per_cpu/cpu*/stats")):
            pairs = (line.split(":") for line in stats.read_text().splitlines())
            found.append({name.strip(): int(value) for name, value in pairs if value.strip().isdigit()})
        return found


def remove_stale() -> None:
    """Remove instances whose process is gone; the kernel keeps those in use, whoever asks (EBUSY)."""
    for pid, port in _claims():
        if not _is_tracing(pid):
            with contextlib.suppress(OSError):
                Instance(TRACEFS / "instances" / f"stormlab-{pid}-{port}").remove()


def _is_tracing(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"harness.witness.tracing" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _claims() -> list[tuple[int, int]]:
    """(pid, port) of every instance of this lab's."""
    names = (_NAME.fullmatch(path.name) for path in (TRACEFS / "instances").iterdir())
    return [(int(found[1]), int(found[2])) for found in names if found]


def read_format(event: str) -> Format | None:
    """The format of ``system/name``; None where this kernel has no such tracepoint."""
    try:
        return parse_format((TRACEFS / "events" / event / "format").read_text())
    except FileNotFoundError:
        return None


def parse_format(text: str) -> Format:
    """A ``format`` file: see Documentation/trace/events.rst."""
    number = int(re.findall(r"^ID: (\d+)", text, re.MULTILINE)[0])
    words = {}
    for part in text.split("__print_symbolic(REC->")[1:]:
        name, _, rest = part.partition(",")
        words[name] = {int(value): word for value, word in _WORD.findall(rest.partition(")")[0])}
    return Format(number, parse_fields(text), {name: named for name, named in words.items() if named})


def parse_fields(text: str) -> dict[str, tuple[int, int]]:
    """(offset, size) of each field, in bytes."""
    return {found["name"]: (int(found["offset"]), int(found["size"])) for found in _FIELD.finditer(text)}
