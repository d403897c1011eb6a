"""The allocator of a server: the library that is preloaded for it, and what a running process shows of the one it has.

What counts is never the command line. A library must be mapped; what is linked in must be among the names of the
running program, and the server must say that the allocator itself calls fresh memory its own (servers/README.md).
"""

from __future__ import annotations

import mmap
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.servers.build import Missing, said_by

LIBRARIES = {"jemalloc": ("libjemalloc.so", "libjemalloc2"), "mimalloc": ("libmimalloc.so", "libmimalloc2.0")}
"""What the library's name begins with, and Debian's package of it."""
FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/lib/*-linux-*", "/usr/local/lib", "/lib", "/lib64")
MARKS = {"jemalloc": b"mallctl\0", "mimalloc": b"mi_free\0"}
"""Ends of names in the symbol table of a program that an allocator is linked into, whatever prefix it was given."""


@dataclass(frozen=True, slots=True)
class Found:
    """Which allocator the processes of a server use, and how that is known."""

    allocator: str
    evidence: str


def library(allocator: str) -> Path | None:
    """The system's library of an allocator, of several the newest; it is never installed."""
    begins, _ = LIBRARIES[allocator]
    named = [path for path in _cached_by_the_loader() if path.name.startswith(begins)]
    there = named or [path for folder in FOLDERS for path in Path("/").glob(f"{folder[1:]}/{begins}.*")]
    return max((path for path in there if path.exists()), key=lambda path: path.name, default=None)


def missing_library(allocator: str) -> Missing | None:
    """Why it cannot be preloaded here, or None where it can."""
    if library(allocator) is not None:
        return None
    begins, package = LIBRARIES[allocator]
    return Missing(f"{begins} is not found, and {allocator} would be preloaded from it", f"install Debian's {package}")


def preloading(path: str) -> Mapping[str, str]:
    """The environment in which a program gets this library, before those that it is given already."""
    return {"LD_PRELOAD": ":".join(filter(None, (path, os.environ.get("LD_PRELOAD"))))}


def found(pids: Sequence[int], announced: str) -> Found:
    """What all of these processes have; ``announced`` is what the server says of it (``jemalloc 5.3.1``), if at all."""
    mapped = [_mapped(pid) for pid in pids]
    many = f" by all {len(pids)} processes" if len(pids) > 1 else ""
    for allocator, (begins, _) in LIBRARIES.items():
        names = {name for files in mapped for name in files if name.startswith(begins)}
        if pids and all(any(name.startswith(begins) for name in files) for files in mapped):
            no_heap = "" if any("[heap]" in files for files in mapped) else ", and no heap of libc's is there"
            return Found(allocator, f"{', '.join(sorted(names))} is mapped{many}{no_heap}")
        if names:
            return Found("system", f"{', '.join(sorted(names))} is mapped by some of {len(pids)} processes only")
    for allocator, mark in MARKS.items():
        if pids and all(_program_has(pid, mark) for pid in pids):
            name = mark.rstrip(b"\0").decode()
            if announced.startswith(allocator):
                return Found(allocator, f"fresh memory belongs to {announced}; …{name} is in the program{many}")
            return Found("system", f"…{name} is in the program, but nothing says that fresh memory belongs to it")
    libc = sorted({name for files in mapped for name in files if name.startswith(("libc.so", "libc-", "ld-musl"))})
    whose = f"{', '.join(libc)} is mapped" if libc else "the program is linked statically"
    return Found("system", f"no other allocator is mapped or in the program; {whose}")


def _mapped(pid: int) -> frozenset[str]:
    """Names of the files and regions in a process's memory map."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
        return frozenset(Path(line.split(maxsplit=5)[5]).name for line in lines if len(line.split(maxsplit=5)) == 6)
    return frozenset()


def _program_has(pid: int, mark: bytes) -> bool:
    with (
        suppress(OSError, ValueError),
        Path(f"/proc/{pid}/exe").open("rb") as program,
        mmap.mmap(program.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return content.find(mark) >= 0
    return False


def _cached_by_the_loader() -> list[Path]:
    """The libraries that the dynamic loader knows; ldconfig is often not on a user's PATH."""
    program = shutil.which("ldconfig", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin")
    if program is None:
        return []
    return [Path(line.rpartition(" => ")[2]) for line in said_by([program, "-p"]).splitlines() if " => " in line]
