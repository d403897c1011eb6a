"""Building what the lab starts: its own servers and engine, those that the audit asks, other people's load generators.

A unit is built with whatever toolchains are there; one that is missing leaves its programs out, and says so.
``python -m harness.servers.build`` builds the lab's own servers and engine, and with ``--allocators`` also the Rust
servers with jemalloc and mimalloc, which otherwise wait until a trial asks for one. Nothing is fetched or written
outside the checkout, but for the toolchains' own caches.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, get_args

from harness.plan import Allocator

SOURCES = Path(__file__).parent
LOAD = SOURCES.parent / "load"
BUILT = SOURCES.parent.parent / ".build"
RUST_PROGRAMS = ("hyper", "actix", "tokio")
HTTP2_PROGRAMS = ("hyper", "actix")
FETCH_LIMIT_S, BUILD_LIMIT_S = 300, 1200
SAYS_EVERY_S = 15.0
"""How often a step that takes long says what it is at."""
Say = Callable[[str], None]
Run = Callable[..., str]
""":func:`run_step`, with somebody to say something to."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Why something cannot be had here, and how to get it."""

    reason: str
    next_step: str

    @property
    def line(self) -> str:
        return f"{self.reason}; {self.next_step}"


class BuildError(Exception):
    """A step failed; the message is its last words."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What is built in one go, in a folder of :data:`BUILT`; ``kind`` says how (:data:`KINDS`)."""

    name: str
    kind: str
    version: str | None = None
    package: str | None = None
    sources: Path = field(default=SOURCES, repr=False)
    """The folder that its own sources are in, if it has any."""
    builder: str = field(default="run `make setup`", repr=False)
    """What has it built."""

    @property
    def folder(self) -> Path:
        """What it is built in; units that are not the lab's own have the folder's stamp in it."""
        return BUILT / self.name if self.is_the_labs else BUILT / "audit" / self.name

    @property
    def is_the_labs(self) -> bool:
        """Whether `make setup` builds it, or a trial that asks for it, from the lab's own sources."""
        return self.sources in (SOURCES, LOAD)

    @property
    def programs(self) -> Path:
        """The folder that its programs are in."""
        return self.folder / "node_modules" / self.npm_package if self.kind == "npm" else self.folder

    @property
    def npm_package(self) -> str:
        """Its package for this machine, which npm has words of its own for."""
        machine = platform.machine()
        return (self.package or "").format(cpu={"x86_64": "x64", "aarch64": "arm64"}.get(machine, machine))

    @property
    def versions(self) -> Mapping[str, str]:
        """Package → version, as its lock file or requirements pin it; empty where it has neither."""
        return pinned_versions(self.sources / KINDS[self.kind].pins.format(name=self.name))

    @property
    def program(self) -> str | None:
        """The program that it takes most of all; None where it takes none."""
        return next(iter(KINDS[self.kind].needs), None)

    @property
    def is_built(self) -> bool:
        """Whether it was built from the sources that are there now."""
        return KINDS[self.kind].build is None or self._read_stamp().get("sources") == self._fingerprint()

    @property
    def missing(self) -> Missing | None:
        """Why its programs cannot be started here, or None where they can, on demand after :meth:`build`."""
        lacking = self._lacking()
        if lacking is not None or self.is_built:
            return lacking
        stamp = self._read_stamp()
        if "failed" in stamp and stamp.get("failed_sources") in (None, self._fingerprint()):
            return Missing(f"building it failed: {stamp['failed']}", self.builder)
        return None if KINDS[self.kind].on_demand else Missing("it is not built", self.builder)

    def build(self, say: Say) -> Missing | None:
        """Build it, unless it is; returns, and remembers for :attr:`missing`, why that failed."""
        build, begun, lacking = KINDS[self.kind].build, time.monotonic(), self._lacking()
        if lacking is not None or build is None or self.is_built:
            return lacking
        say(f"{self.name}: building{KINDS[self.kind].duration}")
        try:
            self._stamp.parent.mkdir(parents=True, exist_ok=True)
            build(self, functools.partial(run_step, say=lambda at: say(f"{self.name}: {at}")))
            self._write_stamp(sources=self._fingerprint())
        except (BuildError, OSError) as error:
            with contextlib.suppress(OSError):
                self._write_stamp(failed=str(error), failed_sources=self._fingerprint())
            return Missing(f"building it failed: {error}", self.builder)
        say(f"{self.name}: built in {time.monotonic() - begun:.0f} s")
        return None

    def _lacking(self) -> Missing | None:
        """The first program that it takes and that is not installed."""
        kind = KINDS[self.kind]
        if self.is_built and not kind.runs_it:
            return None
        for program, how_to_get in kind.needs.items():
            if shutil.which(program) is None:
                return Missing(f"{program} is not installed", f"{how_to_get}, then {self.builder}")
        return None

    @property
    def _stamp(self) -> Path:
        return BUILT / f"{self.name}.json" if self.is_the_labs else self.folder / "built.json"

    def _read_stamp(self) -> dict[str, str]:
        try:
            stamp: dict[str, str] = json.loads(self._stamp.read_text())
        except (OSError, ValueError):
            return {}
        return stamp

    def _write_stamp(self, **stamp: str) -> None:
        self._stamp.write_text(json.dumps(stamp) + "\n")

    def _fingerprint(self) -> str:
        """Hash of the files that it is made of and, but for the lab's own, of its description."""
        digest = hashlib.sha256() if self.is_the_labs else hashlib.sha256(repr(self).encode())
        for name in KINDS[self.kind].made_of:
            path = self.sources / name.format(name=self.name)
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file() and file.suffix in (".rs", ".toml", ".lock", ".go", ".mod", ".js", ".txt"):
                    digest.update(os.fsencode(file.relative_to(self.sources)) + b"\0" + file.read_bytes())
        return digest.hexdigest()[:16]


def build_all(units: Iterable[Unit], say: Say) -> None:
    """Build what is not built; a unit that cannot be had is left out with a line."""
    for unit in dict.fromkeys(units):
        was_built = unit.is_built
        why_not = unit.build(say)
        if why_not is not None:
            say(f"{unit.name}: left out: {why_not.line}")
        elif was_built:
            say(f"{unit.name}: up to date")


def described(document: Mapping[str, Mapping[str, Any]], sources: Path, builder: str) -> dict[str, Unit]:
    """The units of a document, name → fields of :class:`Unit`."""
    return {name: Unit(name, **fields, sources=sources, builder=builder) for name, fields in document.items()}


@functools.cache
def pinned_versions(file: Path) -> Mapping[str, str]:
    """Package → version as a lock file of Cargo's, or requirements of pip's, pin it; empty where there is none.

    Where there are several of a crate, ``parent > crate`` is the one that the parent has.
    """
    if not file.is_file():
        return {}
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".txt":
        pins = (line.partition("==") for line in text.splitlines() if "==" in line)
        return {name.lower(): version for name, _, version in pins}
    packages = tomllib.loads(text)["package"]
    found = {package["name"]: package["version"] for package in packages}
    for package in packages:
        # A dependency is named with its version only where there are several.
        for dependency in package.get("dependencies", ()):
            name, _, version = dependency.partition(" ")
            if version:
                found[f"{package['name']} > {name}"] = version
    return found


# ---- how units are built ------------------------------------------------------------------------------------------


PATIENCE = {"CARGO_NET_RETRY": "1", "CARGO_HTTP_TIMEOUT": "10"}
"""A registry that is out of reach is given up soon; by default cargo tries four times, 30 s each."""


def _cargo(project: Path, target: Path, run: Run, *words: str) -> None:
    """Build a project as its lock file has it; only what this machine's programs take is fetched."""
    environment = {**PATIENCE, "CARGO_TARGET_DIR": str(target)}
    host = next(line.split()[1] for line in run(["rustc", "-vV"]).splitlines() if line.startswith("host:"))
    run(["cargo", "fetch", "--locked", "--target", host], project, environment, FETCH_LIMIT_S)
    run(["cargo", "build", "--locked", "--offline", *words], project, environment, BUILD_LIMIT_S)


def _lab_rust(unit: Unit, run: Run) -> None:
    """The Rust servers; of a variant those with the allocator that is its package, and no others."""
    project, target = unit.sources / "rust", BUILT / "rust"
    if unit.package is None:
        _cargo(project, target, run, "--release")
    feature, programs = ("http2", HTTP2_PROGRAMS) if unit.package is None else (unit.package, RUST_PROGRAMS)
    _cargo(project, target, run, "--release", "--features", feature, *(f"--bin={each}-{feature}" for each in programs))


def _lab_native(unit: Unit, run: Run) -> None:
    _cargo(unit.sources / "native", unit.folder, run, "--release")


def _lab_node(unit: Unit, run: Run) -> None:
    run(["node", "--check", str(unit.sources / "node" / "server.js")])


def _project(unit: Unit, run: Run) -> None:
    _cargo(unit.sources / "rust" / unit.name, unit.folder, run)


def _crate(unit: Unit, run: Run) -> None:
    what = [str(unit.package), "--version", f"={unit.version}", "--locked", "--no-track", "--force"]
    environment = {**PATIENCE, "CARGO_TARGET_DIR": str(unit.folder / "target")}
    command = ["cargo", "install", "--root", str(unit.folder), *what]
    try:
        run(command, unit.folder, environment, FETCH_LIMIT_S + BUILD_LIMIT_S)
    finally:
        shutil.rmtree(unit.folder / "target", ignore_errors=True)  # many times the size of the program


def _module(unit: Unit, run: Run) -> None:
    environment = {"GOBIN": str(unit.folder / "bin"), "CGO_ENABLED": "0"}
    command = ["go", "install", f"{unit.package}@{unit.version}"]
    run(command, unit.folder, environment, FETCH_LIMIT_S + BUILD_LIMIT_S)


def _go(unit: Unit, run: Run) -> None:
    # Named, a release is fetched as the module it is in Go's own module proxy; unnamed, it is the one installed.
    toolchain = "local" if unit.version is None else f"go{unit.version}"
    environment = {"GOTOOLCHAIN": toolchain, "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"}
    command = ["go", "build", "-trimpath", "-o", str(unit.folder / "server"), "."]
    run(command, unit.sources / "go", environment, FETCH_LIMIT_S + BUILD_LIMIT_S)


def _npm(unit: Unit, run: Run) -> None:
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1", "--prefix", str(unit.folder)]
    run(["npm", "install", *options, f"{unit.npm_package}@{unit.version}"], unit.folder, {}, FETCH_LIMIT_S)


def _pip(unit: Unit, run: Run) -> None:
    """An environment of the Python that runs the lab."""
    run([sys.executable, "-m", "venv", str(unit.folder)], unit.folder, {}, FETCH_LIMIT_S)
    wanted = ["--requirement", str(unit.sources / KINDS["pip"].pins)]
    options = ["--quiet", "--disable-pip-version-check", "--retries=1"]
    command = [str(unit.folder / "bin" / "python"), "-m", "pip", "install", *options, *wanted]
    run(command, unit.folder, {}, FETCH_LIMIT_S)


@dataclass(frozen=True, slots=True)
class Kind:
    """How units are built; ``{name}`` in paths below a unit's sources is its own."""

    build: Callable[[Unit, Run], None] | None = None
    """None: they run from their sources."""
    needs: Mapping[str, str] = field(default_factory=dict)
    """Program → how to get it."""
    made_of: tuple[str, ...] = ()
    pins: str = ""
    """The file that pins versions."""
    duration: str = ""
    runs_it: bool = False
    """Whether what was built takes the program, too."""
    on_demand: bool = False
    """Whether a trial that asks for it has it built."""


_RUST = {"cargo": "install Rust (rustup, or your distribution's cargo)"}
_GO = {"go": "install Go (your distribution's golang)"}
_NODE = {"node": "install Node.js (your distribution's nodejs)"}
_C = {"cc": "install gcc, which allocators are built with", "make": "install make, which allocators are built with"}
_MINUTES = ", which takes a minute or two"
_PROJECT = "rust/{name}"
KINDS: Mapping[str, Kind] = {
    "lab-python": Kind(),
    "lab-rust": Kind(_lab_rust, _RUST, ("rust",), "rust/Cargo.lock", _MINUTES),
    "lab-rust-variant": Kind(_lab_rust, _RUST | _C, ("rust",), duration=_MINUTES, on_demand=True),
    "lab-native": Kind(_lab_native, _RUST, ("native",), "native/Cargo.lock", ", which takes half a minute"),
    "lab-node": Kind(_lab_node, _NODE, ("node",), runs_it=True),
    "cargo": Kind(_project, _RUST, ("rust/src", _PROJECT), f"{_PROJECT}/Cargo.lock"),
    "crate": Kind(_crate, _RUST),
    "go": Kind(_go, _GO, ("go",)),
    "module": Kind(_module, _GO),
    "npm": Kind(_npm, {"npm": "install npm"}),
    "pip": Kind(_pip, made_of=("python/requirements.txt",), pins="python/requirements.txt"),
}
NATIVE = Unit("native", "lab-native", sources=LOAD)
"""The engine that drives storms where there is Rust."""
LAB: Mapping[str, Unit] = {
    "python": Unit("python", "lab-python"),
    "rust": Unit("rust", "lab-rust"),
    "go": Unit("go", "go"),
    "node": Unit("node", "lab-node"),
}
"""The lab's own servers."""
VARIANTS: Mapping[str, Unit] = {
    allocator: Unit(
        f"rust-{allocator}",
        "lab-rust-variant",
        package=allocator,
        builder="run `python -m harness.servers.build --allocators`",
    )
    for allocator in get_args(Allocator)
    if allocator != "system"
}
"""The Rust servers with each allocator."""


def run_step(
    argv: list[str],
    folder: Path = SOURCES,
    environment: Mapping[str, str] | None = None,
    limit_s: float = 60,
    say: Say | None = None,
) -> str:
    """What a program writes to its standard output; while it runs, ``say`` hears now and then what it is at.

    Raises:
        BuildError: it is not installed, took too long, or failed.
    """
    called, begun = " ".join(argv[:2]), time.monotonic()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                argv,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
        except FileNotFoundError as error:
            raise BuildError(f"{argv[0]} is not installed") from error
        try:
            while (gone_s := time.monotonic() - begun) < limit_s:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(min(SAYS_EVERY_S, limit_s - gone_s))
                    break
                if say is not None:
                    say(f"{called}: {time.monotonic() - begun:.0f} s{_progress(_written(errors))}")
            else:
                raise BuildError(f"`{called}` took longer than {limit_s:g} s")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode:
            raise BuildError(f"`{called}` failed: {_last_words(_written(errors))}")
        return _written(output)


def said_by(argv: list[str]) -> str:
    """What a program writes to its standard output; empty where it cannot."""
    try:
        return run_step(argv, Path("/"), limit_s=10)
    except BuildError:
        return ""


def _written(file: IO[bytes]) -> str:
    """All of a file, whose position is left where the program that writes it has it."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")


def _progress(errors: str) -> str:
    """How far cargo says it is."""
    crates = re.findall(r"^ *Compiling (\S+)", errors, re.MULTILINE)
    return f", {len(crates)} crates compiled so far, now {crates[-1]}" if crates else ""


def _last_words(stderr: str) -> str:
    """The lines that say why: the first error and, in cargo's chain of causes, the last."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("error", "fatal"))]
    chosen = [*errors[:1], *lines[-1:]] if lines else ["it said nothing"]
    return "; ".join(dict.fromkeys(chosen))[:300]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="build the lab's servers and its engine")
    parser.add_argument("--allocators", action="store_true", help="also the Rust servers with jemalloc and mimalloc")
    wanted = [unit for unit in (*LAB.values(), NATIVE) if KINDS[unit.kind].build is not None]
    wanted += VARIANTS.values() if parser.parse_args().allocators else ()
    build_all(wanted, lambda line: print(f"setup: {line}", file=sys.stderr, flush=True))
