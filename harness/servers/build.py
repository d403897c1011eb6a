"""Building the lab's servers with whatever toolchains are there; one that is missing leaves its servers out.

``python -m harness.servers.build`` builds what is not built and says a line for each unit; with ``--allocators`` also
the Rust servers with jemalloc and mimalloc, which otherwise wait until a trial asks for one. Nothing is fetched or
written outside the checkout, but for the toolchains' own caches.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from harness.errors import MachineError
from harness.plan import Allocator

SOURCES = Path(__file__).parent
BUILT = SOURCES.parent.parent / ".build"
PATIENCE = {"CARGO_NET_RETRY": "1", "CARGO_HTTP_TIMEOUT": "10"}
"""A registry that is out of reach is given up soon; by default cargo tries four times, 30 s each."""
FETCH_LIMIT_S, BUILD_LIMIT_S = 300, 1200


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a unit's servers are left out, and how to get them."""

    reason: str
    next_step: str


class BuildError(Exception):
    """A step failed; the message is its last words."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What is built in one go: its sources, the program it needs, and how."""

    program: str | None
    how_to_get: str
    build: Callable[[], None]
    duration: str = ""
    runs_it: bool = False
    """Whether the program is needed also to run what was built."""


def build_all(say: Callable[[str], None]) -> None:
    """Build every unit that has changed; failures are remembered for :func:`missing`, never raised."""
    for name, unit in UNITS.items():
        if unit.program is None:
            continue
        if shutil.which(unit.program) is None:
            say(f"servers: {name}: left out: {unit.program} is not installed; {unit.how_to_get}")
            continue
        stamp = _stamp_of(name)
        if _read_stamp(name) == {"sources": stamp}:
            say(f"servers: {name}: up to date")
            continue
        begun = time.monotonic()
        say(f"servers: {name}: building{unit.duration}")
        try:
            BUILT.mkdir(exist_ok=True)
            unit.build()
            _write_stamp(name, {"sources": stamp})
        except (BuildError, OSError) as error:
            with contextlib.suppress(OSError):
                _write_stamp(name, {"failed": str(error)})
            say(f"servers: {name}: left out: {error}; {unit.how_to_get}, then run `make setup` again")
            continue
        say(f"servers: {name}: built in {time.monotonic() - begun:.0f} s")


def missing(unit: str) -> Missing | None:
    """Why the servers of a unit cannot be started here, or None where they can."""
    if unit not in UNITS:
        return Missing(f"its unit {unit!r} is not one of {', '.join(UNITS)}", "leave `unit` out of your own entries")
    needs = UNITS[unit]
    if needs.program is None:
        return None
    if shutil.which(needs.program) is None and (needs.runs_it or not _is_built(unit)):
        return Missing(f"{needs.program} is not installed", f"{needs.how_to_get}, then run `make setup`")
    if _is_built(unit):
        return None
    failed = _read_stamp(unit).get("failed")
    return Missing(f"building it failed: {failed}" if failed else "it is not built yet", "run `make setup`")


VARIANT_PROGRAMS = {"cc": "gcc", "make": "make"}
"""What the allocators' own sources, in C, are built with beside cargo, and the package that has it."""
VARIANTS = tuple(name for name in get_args(Allocator) if name != "system")


def missing_variant(allocator: str) -> Missing | None:
    """Why the Rust servers cannot be had with an allocator, or None where they are built or can be."""
    stamp = _read_stamp(f"rust-{allocator}")
    if stamp == {"sources": _stamp_of("rust")}:
        return None
    needed = {"cargo": "Rust (rustup, or your distribution's cargo)", **VARIANT_PROGRAMS}
    lacking = next((program for program in needed if shutil.which(program) is None), None)
    if lacking is not None:
        return Missing(f"{lacking}, which builds {allocator}, is not installed", f"install {needed[lacking]}")
    if stamp.get("failed_sources") == _stamp_of("rust"):
        return Missing(
            f"building it with {allocator} failed: {stamp['failed']}",
            "try again with `python -m harness.servers.build --allocators`",
        )
    return None


def build_variant(allocator: str, say: Callable[[str], None]) -> None:
    """Build the Rust servers with an allocator, unless they are; their other programs stay as they are.

    Raises:
        MachineError: it failed, which is remembered for :func:`missing_variant`.
    """
    name, stamp = f"rust-{allocator}", _stamp_of("rust")
    if _read_stamp(name) == {"sources": stamp}:
        return
    begun = time.monotonic()
    say(f"servers: rust with {allocator}: building, once, which takes a minute or two")
    try:
        BUILT.mkdir(exist_ok=True)
        _cargo_build("--features", allocator, *(f"--bin={program}-{allocator}" for program in RUST_PROGRAMS))
        _write_stamp(name, {"sources": stamp})
    except (BuildError, OSError) as error:
        with contextlib.suppress(OSError):
            _write_stamp(name, {"failed": str(error), "failed_sources": stamp})
        raise MachineError(
            f"building the Rust servers with {allocator} failed: {error}",
            "try again with `python -m harness.servers.build --allocators`",
        ) from error
    say(f"servers: rust with {allocator}: built in {time.monotonic() - begun:.0f} s")


def build_variants(say: Callable[[str], None]) -> None:
    """All of them; one that fails is said in a line."""
    for allocator in VARIANTS:
        try:
            build_variant(allocator, say)
        except MachineError as error:
            say(f"servers: rust with {allocator}: left out: {error.message}")


@functools.cache
def locked_versions(unit: str | None) -> Mapping[str, str]:
    """Package → version as the unit's lock file pins it; empty for units without one.

    Where there are several of a package, ``parent > package`` is the one that the parent has.
    """
    lock = SOURCES / (unit or "") / "Cargo.lock"
    if unit is None or not lock.is_file():
        return {}
    packages = tomllib.loads(lock.read_text(encoding="utf-8"))["package"]
    found = {package["name"]: package["version"] for package in packages}
    for package in packages:
        # A dependency is named with its version only where there are several.
        for dependency in package.get("dependencies", ()):
            name, _, version = dependency.partition(" ")
            if version:
                found[f"{package['name']} > {name}"] = version
    return found


# ---- units ------------------------------------------------------------------------------------------------------


RUST_PROGRAMS = ("hyper", "actix", "tokio")
HTTP2_PROGRAMS = ("hyper", "actix")


def _build_rust() -> None:
    _cargo_build()
    _cargo_build("--features", "http2", *(f"--bin={program}-http2" for program in HTTP2_PROGRAMS))


def _cargo_build(*words: str) -> None:
    host = next(line.split()[1] for line in run_step(["rustc", "-vV"]).splitlines() if line.startswith("host:"))
    folder = SOURCES / "rust"
    environment = {**PATIENCE, "CARGO_TARGET_DIR": str(BUILT / "rust")}
    run_step(["cargo", "fetch", "--locked", "--target", host], folder, environment, FETCH_LIMIT_S)
    run_step(["cargo", "build", "--release", "--locked", "--offline", *words], folder, environment, BUILD_LIMIT_S)


def _build_go() -> None:
    target = BUILT / "go" / "server"
    environment = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"}
    run_step(["go", "build", "-trimpath", "-o", str(target), "."], SOURCES / "go", environment, BUILD_LIMIT_S)


def _build_node() -> None:
    run_step(["node", "--check", str(SOURCES / "node" / "server.js")])


def _build_nothing() -> None:
    """Python runs from its source."""


UNITS: dict[str, Unit] = {
    "python": Unit(None, "", _build_nothing),
    "rust": Unit(
        "cargo",
        "install Rust (rustup, or your distribution's cargo) for Hyper, Actix and Tokio",
        _build_rust,
        ", which takes a minute or two",
    ),
    "go": Unit("go", "install Go (your distribution's golang) for net/http", _build_go),
    "node": Unit("node", "install Node.js (your distribution's nodejs) for http", _build_node, runs_it=True),
}


def run_step(
    argv: list[str], folder: Path = SOURCES, environment: Mapping[str, str] | None = None, limit_s: float = 60
) -> str:
    try:
        done = subprocess.run(
            argv,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
        )
    except FileNotFoundError as error:
        raise BuildError(f"{argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"`{' '.join(argv[:2])}` took longer than {limit_s:g} s") from error
    if done.returncode:
        raise BuildError(f"`{' '.join(argv[:2])}` failed: {_last_words(done.stderr)}")
    return done.stdout


def _last_words(stderr: str) -> str:
    """The lines that say why: the first error and, in cargo's chain of causes, the last."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("error", "fatal"))]
    chosen = [*errors[:1], *lines[-1:]] if lines else ["it said nothing"]
    return "; ".join(dict.fromkeys(chosen))[:300]


def _is_built(unit: str) -> bool:
    return _read_stamp(unit) == {"sources": _stamp_of(unit)}


def _stamp_of(unit: str) -> str:
    """Hash of a unit's sources."""
    digest = hashlib.sha256()
    for file in sorted((SOURCES / unit).rglob("*")):
        if file.is_file() and file.suffix in (".rs", ".toml", ".lock", ".go", ".mod", ".js"):
            digest.update(str(file.relative_to(SOURCES)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _read_stamp(unit: str) -> dict[str, str]:
    try:
        stamp: dict[str, str] = json.loads((BUILT / f"{unit}.json").read_text())
    except (OSError, ValueError):
        return {}
    return stamp


def _write_stamp(unit: str, stamp: Mapping[str, str]) -> None:
    (BUILT / f"{unit}.json").write_text(json.dumps(stamp) + "\n")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="build the lab's servers")
    parser.add_argument("--allocators", action="store_true", help="also the Rust servers with jemalloc and mimalloc")
    asked = parser.parse_args()
    build_all(_say)
    if asked.allocators:
        build_variants(_say)
