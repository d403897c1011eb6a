"""What the audit needs beyond the lab's own servers, had on demand, each unit in a folder of its own."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import shutil
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.servers.build import BUILD_LIMIT_S, BUILT, FETCH_LIMIT_S, PATIENCE, BuildError, Missing, run_step

SOURCES = Path(__file__).parent
PLACE = BUILT / "audit"
BUILD_THEM = "`stormlab audit --build` builds it"
_STAMP = "built.json"
_CPU = {"x86_64": "x64", "aarch64": "arm64"}
"""npm's words for machines."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What is had in one go; ``kind`` says how (see subjects.toml)."""

    name: str
    kind: str
    version: str | None = None
    package: str | None = None
    sources: Path = field(default=SOURCES, repr=False)
    """The folder its own sources are in, if it has any."""

    @property
    def program(self) -> str | None:
        """The program that gets it, if it takes one."""
        programs = {"cargo": "cargo", "crate": "cargo", "go": "go", "module": "go", "npm": "npm", "pip": None}
        return programs[self.kind]


def units(document: Mapping[str, Mapping[str, Any]], sources: Path = SOURCES) -> dict[str, Unit]:
    return {name: Unit(name, **fields, sources=sources) for name, fields in document.items()}


def place(unit: Unit) -> Path:
    """The folder its programs are in."""
    folder = PLACE / unit.name
    return folder / "node_modules" / _package(unit) if unit.kind == "npm" else folder


def missing(unit: Unit) -> Missing | None:
    """Why its programs are not here, or None where they are."""
    stamp = _read_stamp(unit)
    if stamp.get("sources") == _stamp_of(unit):
        return None
    if unit.program is not None and shutil.which(unit.program) is None:
        return Missing(f"it is not built, and {unit.program} is not installed", f"install {unit.program}")
    return Missing("it is not built", BUILD_THEM)


def build(needed: Iterable[Unit], say: Callable[[str], None]) -> None:
    """Get the units that are not here; one that cannot be had is left out with a line."""
    for unit in dict.fromkeys(needed):
        lacking = missing(unit)
        if lacking is None:
            continue
        if unit.program is not None and shutil.which(unit.program) is None:
            say(f"left out: {unit.name}: {lacking.reason}; {lacking.next_step}")
            continue
        begun = time.monotonic()
        say(f"{unit.name}: building")
        folder = PLACE / unit.name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            _HOW[unit.kind](unit, folder)
        except BuildError as error:
            say(f"left out: {unit.name}: {error}")
            continue
        (folder / _STAMP).write_text(json.dumps({"sources": _stamp_of(unit)}) + "\n")
        package_versions.cache_clear()
        say(f"{unit.name}: built in {time.monotonic() - begun:.0f} s")


@functools.cache
def package_versions(unit: Unit) -> Mapping[str, str]:
    """Package → version, as the unit's lock file or requirements pin it."""
    if unit.kind == "cargo":
        packages = tomllib.loads((unit.sources / "rust" / unit.name / "Cargo.lock").read_text())["package"]
        return {package["name"]: package["version"] for package in packages}
    if unit.kind == "pip":
        pins = (line.partition("==") for line in _REQUIREMENTS.read_text().splitlines() if "==" in line)
        return {name.lower(): version for name, _, version in pins}
    return {}


_REQUIREMENTS = SOURCES / "python" / "requirements.txt"


def _cargo(unit: Unit, folder: Path) -> None:
    environment = {**PATIENCE, "CARGO_TARGET_DIR": str(folder)}
    project = unit.sources / "rust" / unit.name
    run_step(["cargo", "fetch", "--locked"], project, environment, FETCH_LIMIT_S)
    run_step(["cargo", "build", "--locked", "--offline"], project, environment, BUILD_LIMIT_S)


def _crate(unit: Unit, folder: Path) -> None:
    what = [str(unit.package), "--version", f"={unit.version}", "--locked", "--no-track", "--force"]
    environment = {**PATIENCE, "CARGO_TARGET_DIR": str(folder / "target")}
    try:
        run_step(["cargo", "install", "--root", str(folder), *what], folder, environment, FETCH_LIMIT_S + BUILD_LIMIT_S)
    finally:
        shutil.rmtree(folder / "target", ignore_errors=True)  # many times the size of the program


def _module(unit: Unit, folder: Path) -> None:
    environment = {"GOBIN": str(folder / "bin"), "CGO_ENABLED": "0"}
    run_step(["go", "install", f"{unit.package}@{unit.version}"], folder, environment, FETCH_LIMIT_S + BUILD_LIMIT_S)


def _go(unit: Unit, folder: Path) -> None:
    # Named, a release is fetched as the module it is in Go's own module proxy; unnamed, it is the one installed.
    toolchain = "local" if unit.version is None else f"go{unit.version}"
    environment = {"GOTOOLCHAIN": toolchain, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
    command = ["go", "build", "-trimpath", "-o", str(folder / "server"), "."]
    run_step(command, SOURCES / "go", environment, FETCH_LIMIT_S + BUILD_LIMIT_S)


def _npm(unit: Unit, folder: Path) -> None:
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1", "--prefix", str(folder)]
    run_step(["npm", "install", *options, f"{_package(unit)}@{unit.version}"], folder, {}, FETCH_LIMIT_S)


def _pip(unit: Unit, folder: Path) -> None:
    # An environment of the Python that runs the lab.
    run_step([sys.executable, "-m", "venv", str(folder)], folder, {}, FETCH_LIMIT_S)
    options = ["--quiet", "--disable-pip-version-check", "--retries=1", "--requirement", str(_REQUIREMENTS)]
    run_step([str(folder / "bin" / "python"), "-m", "pip", "install", *options], folder, {}, FETCH_LIMIT_S)


_HOW: Mapping[str, Callable[[Unit, Path], None]] = {
    "cargo": _cargo,
    "crate": _crate,
    "go": _go,
    "module": _module,
    "npm": _npm,
    "pip": _pip,
}


def _package(unit: Unit) -> str:
    machine = platform.machine()
    return (unit.package or "").format(cpu=_CPU.get(machine, machine))


def _stamp_of(unit: Unit) -> str:
    """Hash of what it is made from."""
    digest = hashlib.sha256(repr(unit).encode())
    folders = {"cargo": ["rust/src", f"rust/{unit.name}"], "go": ["go"], "pip": ["python/requirements.txt"]}
    for name in folders.get(unit.kind, ()):
        path = unit.sources / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and file.suffix in (".rs", ".toml", ".lock", ".go", ".mod", ".txt"):
                digest.update(os.fsencode(file.relative_to(unit.sources)) + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _read_stamp(unit: Unit) -> dict[str, str]:
    try:
        stamp: dict[str, str] = json.loads((PLACE / unit.name / _STAMP).read_text())
    except (OSError, ValueError):
        return {}
    return stamp
