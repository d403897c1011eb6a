"""Runs on disk, in phases: planned, running, then complete or failed.

A run under way lives in ``.<run_id>.partial/``, whose manifest names the processes; it is renamed when it is over, so
that no half-written result is ever readable under a run's name. What is recorded is never rewritten afterwards.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness import PROJECT
from harness.errors import INTERRUPTED, MachineError, PlanError, ServerError, printable
from harness.events.manifest import MANIFEST, read_any_manifest, read_manifest
from harness.plan import Trial

if TYPE_CHECKING:  # pyarrow starts threads, and the supervisor must have only one while its storm runs
    import pyarrow as pa

    from harness.events.assembling import Tables

REFERENCE = Path(os.environ.get("STORMLAB_REFERENCE") or PROJECT / "data" / "reference")
"""The committed data; the variable is for trying the notebooks on other data."""
LOG_TAIL_BYTES = 4096
LOG_LOOKED_AT_BYTES = 1 << 20
SERVER_LOG = "server.log"
SYNS_LOST = "syns_lost.json"
"""How many SYNs of each (address, port) were lost on purpose, where a fault asked for it."""
SUPERVISOR_LOG = "supervisor.log"
ONLY_WHILE_RUNNING = ("*.rows", "*.samples", "*.pages", "agent-*.log", SUPERVISOR_LOG)
"""Files that belong to no run that is over."""
FRONT_CONF, FRONT_LOG = "front.conf", "front.log"
FRONT_FOLDER = "front"
"""What a load balancer keeps while it runs; it is no part of the run."""
CONNECTIONS, REQUESTS, SAMPLES = "connections.parquet", "requests.parquet", "samples.parquet"
TRACE = "trace.parquet"
SERVER_SAMPLES = "server-samples.parquet"
"""With something before the server: the samples of the server and its own listener."""
CAUSES, VERSION_KEY = "causes.parquet", b"rules_version"
"""What was thought about the record, beside it; never part of it."""

_DELTA_PACKED = (
    "connection",
    "client",
    "request",
    "local_port",
    "client_port",
    "scheduled_us",
    "issued_us",
    "synack_us",
    "established_us",
    "resent_us",
    "accepted_us",
    "first_byte_us",
    "arrived_us",
    "last_byte_us",
    "closed_us",
    "time_us",
    "server_cpu_us",
    "server_wait_us",
)
"""Columns that go up by small steps; the rest repeat few values, for which a dictionary is best."""


def default_data() -> Path:
    """Where runs go unless ``--data`` says otherwise."""
    return Path(os.environ.get("STORMLAB_DATA") or PROJECT / "data" / "runs").absolute()


class Identity(NamedTuple):
    """Runs with the same one repeat each other."""

    plan_hash: str
    host_id: str
    binary_hash: str
    """Of what the server is made of."""
    engine: str


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is over: where it lies and its manifest. The tables are read when asked for."""

    path: Path
    manifest: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Run:
        """Raises: DamagedRun: its manifest or its rows are not there, or it is not the manifest of a run."""
        try:
            found = read_manifest(path)
        except (OSError, ValueError) as error:
            raise DamagedRun(path.name, MANIFEST, error) from error
        if not (path / CONNECTIONS).is_file():
            raise DamagedRun(path.name, CONNECTIONS, FileNotFoundError("it is not there"))
        return cls(path, found)

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def trial(self) -> Trial:
        """Raises: DamagedRun: its manifest is not one of a run."""
        try:
            return Trial.from_json(self.manifest["plan"])
        except (KeyError, TypeError, ValueError, AttributeError, PlanError) as error:
            raise DamagedRun(self.run_id, MANIFEST, error) from error

    @property
    def unknown_fields(self) -> list[str]:
        """Of its plan, the fields that this version has none for: another one has recorded it."""
        return [f"plan.{name}" for name in Trial.unknown_fields(self.manifest["plan"])]

    @property
    def identity(self) -> Identity:
        """What a damaged manifest lacks is empty: it repeats nothing."""
        host, server = self.manifest["host"], self.manifest["server"]
        made_of = server.get("binary_hash", "")
        return Identity(self.manifest["plan_hash"], host.get("host_id", ""), made_of, self.engine)

    @property
    def engine(self) -> str:
        """What drove it; before there was another it was the one in Python."""
        return str(self.manifest.get("engine", "python"))

    @property
    def error(self) -> Mapping[str, Any] | None:
        """Why it failed, as ``{code, message, next_step}``."""
        found: Mapping[str, Any] | None = self.manifest.get("error")
        return found

    @property
    def interrupted(self) -> bool:
        return self.error is not None and self.error["code"] == INTERRUPTED

    @property
    def server_ended(self) -> bool:
        """Whether the server came to an end of its own while the storm went on, which the agents saw through."""
        return self._one_ended and (self.manifest["server"].get("ended") is not None or not self.front_ended)

    @property
    def front_ended(self) -> bool:
        """Whether the load balancer before the server did."""
        return self._one_ended and self.manifest.get("front", {}).get("ended") is not None

    @property
    def server_failed(self) -> bool:
        """Whether it failed because the server did, or what is before it: in the storm, or so that there was none."""
        return self.error is not None and self.error["code"] == ServerError.exit_code

    @property
    def _one_ended(self) -> bool:
        return self.server_failed and bool(self.manifest["agents"])

    @property
    def is_result(self) -> bool:
        """Whether it says something of what the storm met: it was held as planned, though that may have ended in it."""
        return self.manifest["status"] == "complete" or self._one_ended

    def connections(self) -> pa.Table:
        found = self._table(CONNECTIONS)
        if found is None:  # removed since
            raise DamagedRun(self.run_id, CONNECTIONS, FileNotFoundError("it is not there"))
        return found

    def samples(self) -> pa.Table | None:
        """What the probe saw, or None where there was none."""
        return self._table(SAMPLES)

    def server_samples(self) -> pa.Table | None:
        """What the probe saw of the server behind a load balancer; None where the storm met the server itself."""
        return self._table(SERVER_SAMPLES)

    def trace(self) -> pa.Table | None:
        """What the kernel's tracepoints said, or None where they were not followed."""
        return self._table(TRACE)

    def _table(self, name: str) -> pa.Table | None:
        path = self.path / name
        try:
            return read_table(path) if path.exists() else None
        except (OSError, ValueError) as error:  # Arrow's errors are of these kinds
            raise DamagedRun(self.run_id, name, error) from error

    @property
    def has_log(self) -> bool:
        """Whether what the server wrote is there; the reference data leave it out."""
        return (self.path / SERVER_LOG).exists()

    def log_lines(self, pattern: re.Pattern[bytes], log: str = SERVER_LOG) -> int:
        """How often a log, the server's or the load balancer's, has something; of a long one the beginning is read."""
        try:
            with (self.path / log).open("rb") as file:
                return len(pattern.findall(file.read(LOG_LOOKED_AT_BYTES)))
        except OSError:
            return 0

    def last_words(self, log: str = SERVER_LOG) -> str:
        """The last line of a log that says anything, in characters that a terminal only shows; empty without one."""
        try:
            with (self.path / log).open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return next((line for line in map(printable, reversed(lines)) if line), "")

    def thought(self, version: str) -> pa.Table | None:
        """What was kept of it by rules of this ``version``; None where it has to be thought again."""
        with suppress(Exception):  # however the reader calls the damage: it can be made again
            table = self._table(CAUSES)
            if table is not None and (table.schema.metadata or {}).get(VERSION_KEY) == version.encode():
                return table
        return None

    def keep_thought(self, table: pa.Table) -> None:
        """Keep what was thought about it; where that is not possible, or the run is committed, it is not kept."""
        if REFERENCE.resolve() not in self.path.resolve().parents:
            draft = self.path / f".{CAUSES}.{os.getpid()}"
            with suppress(OSError):
                write_table(table, draft)
                draft.replace(self.path / CAUSES)

    def requests(self) -> pa.Table:
        """One row for each planned request; where each connection carries one, its row is the request's."""
        if (asked := self._table(REQUESTS)) is not None:
            return asked
        table = self.connections()
        names = ["last_byte_us" if name == "closed_us" else name for name in table.column_names]
        return table.rename_columns(names)


class DamagedRun(MachineError):
    """A run of which something cannot be read, or that another version has written."""

    def __init__(self, run_id: str, name: str, error: Exception) -> None:
        why = " ".join(str(error).split()) or type(error).__name__
        super().__init__(f"run {run_id} cannot be read: {name}: {why}", "remove its folder, or put back what it lacks")


class NoSuchRun(PlanError):
    """No run is recorded of this name, or the reference data keep no rows of it."""


class Partial:
    """The folder of a run under way.

    Raises:
        MachineError: the data folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, data: Path, manifest: Mapping[str, Any]) -> Partial:
        """Begin a run in phase ``planned``."""
        now = dt.datetime.now(dt.UTC)
        moment = f"{now:%Y%m%d-%H%M%S}{now.microsecond // 1000:03d}"  # ids in order of time, also within a second
        run_id = f"{moment}-{manifest['server']['name']}-{secrets.token_hex(2)}"
        partial = cls(data / f".{run_id}.partial")
        try:
            partial.path.mkdir(parents=True)
            partial.write_manifest(
                {**manifest, "run_id": run_id, "status": "planned", "begun": now.isoformat(timespec="seconds")}
            )
        except OSError as error:
            shutil.rmtree(partial.path, ignore_errors=True)
            raise cannot_write(data, error) from error
        return partial

    @property
    def run_id(self) -> str:
        return self.path.name.removeprefix(".").removesuffix(".partial")

    def read_manifest(self) -> dict[str, Any]:
        """Raises: OSError, ValueError: it is not there, or damaged."""
        return read_any_manifest(self.path)

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        write_whole(self.path / MANIFEST, json.dumps(manifest, indent=1) + "\n")

    def finish(self, tables: Tables, manifest: Mapping[str, Any]) -> Run:
        """Write the tables and the last manifest, drop the raw rows, and give the run its name.

        Raises:
            MachineError: there is no room; the raw rows stay where they are, for :func:`harness.trial.caller.recover`.
        """
        try:
            write_table(tables.connections, self.path / CONNECTIONS)
            for table, name in (
                (tables.requests, REQUESTS),
                (tables.samples, SAMPLES),
                (tables.trace, TRACE),
                (tables.server_samples, SERVER_SAMPLES),
            ):
                if table is not None:
                    write_table(table, self.path / name)
            self.write_manifest(manifest)
            return self.rename(manifest)
        except OSError as error:
            raise MachineError(
                f"cannot finish run {self.run_id}: {error.strerror or error}",
                f"its rows are kept in {self.path}; free some space, then `stormlab list` brings it in",
            ) from error

    def rename(self, manifest: Mapping[str, Any]) -> Run:
        """The last step: everything is written; what only a run under way needs goes. Raises: OSError."""
        for pattern in ONLY_WHILE_RUNNING:
            for raw in self.path.glob(pattern):
                raw.unlink()
        # A balancer that was killed, or never started, has put nothing away itself.
        shutil.rmtree(self.path / FRONT_FOLDER, ignore_errors=True)
        final = self.path.with_name(self.run_id)
        self.path.rename(final)
        return Run(final, manifest)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def cannot_write(data: Path, error: OSError) -> MachineError:
    return MachineError(
        f"cannot write to {data}: {error.strerror}", "choose another folder with --data or STORMLAB_DATA"
    )


def runs(data: Path, say: Callable[[str], None] = lambda line: None) -> Iterator[Run]:
    """All runs of a folder that are over, oldest first; of one that cannot be read ``say`` is told why."""
    for path in _run_folders(data):
        try:
            yield Run.read(path)
        except DamagedRun as error:
            say(error.message)


def _run_folders(data: Path) -> list[Path]:
    """Where runs that are over lie, oldest first, whole or damaged: they have a manifest, or rows."""
    return [path for path in _entries(data) if not path.name.startswith(".") and _is_run(path)]


def _is_run(path: Path) -> bool:
    with suppress(OSError):  # what can be no path at all
        return (path / MANIFEST).exists() or (path / CONNECTIONS).exists()
    return False


def partials(data: Path) -> Iterator[Partial]:
    """Runs that are under way, or were when their process was killed."""
    for path in _entries(data):
        if path.name.startswith(".") and path.name.endswith(".partial") and path.is_dir():
            yield Partial(path)


def _entries(data: Path) -> list[Path]:
    try:
        return sorted(data.iterdir()) if data.exists() else []
    except OSError as error:
        raise MachineError(
            f"cannot read {data}: {error.strerror}", "choose another folder with --data or STORMLAB_DATA"
        ) from error


def read_table(path: Path) -> pa.Table:
    import pyarrow.parquet as pq

    return pq.read_table(path)


def find_run(data: Path, name: str) -> Run:
    """A run by its id, the beginning of its id, ``latest``, or its folder.

    Raises:
        NoSuchRun: there is none.
        PlanError: there is more than one whose id begins like this.
        DamagedRun: it cannot be read.
    """
    if name and _is_run(Path(name)):
        return Run.read(Path(name).absolute())
    own = _run_folders(data)
    if name == "latest" and own:
        return Run.read(own[-1])
    known = {path.name: path for path in (*_run_folders(REFERENCE), *own)}  # of one in both, the copy in ``data``
    if name in known:
        return Run.read(known[name])
    found = [path for run_id, path in known.items() if run_id.startswith(name)]
    if len(found) == 1:
        return Run.read(found[0])
    raise (PlanError if found else NoSuchRun)(
        f"{len(found)} runs match {name!r} among the {len(known)} in {data} and the reference data",
        "see `stormlab list`, or record one with `stormlab run`",
    )


def write_table(table: pa.Table, path: Path) -> None:
    """Write Parquet as small as it gets: steps packed, repeated values in dictionaries, zstd over all."""
    import pyarrow.parquet as pq

    packed = [name for name in table.column_names if name in _DELTA_PACKED]
    others = [name for name in table.column_names if name not in _DELTA_PACKED]
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=9,
        use_dictionary=others,
        column_encoding=dict.fromkeys(packed, "DELTA_BINARY_PACKED"),
        write_statistics=False,
    )


def write_whole(path: Path, text: str) -> None:
    """Write a file so that readers see the old content or the new one, never a part."""
    draft = path.with_name(f".{path.name}.new")
    with draft.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def counts(run: Run, searched: Collection[str]) -> bool:
    """Whether a run says something of its trial; ``searched`` are the plan hashes of the trials of searches.

    A candidate whose server failed before there could be a storm is not good enough, which a search counts as a miss.
    """
    return run.is_result or (run.server_failed and run.manifest["plan_hash"] in searched)
