"""What to run: frozen values that describe one storm, each with a hash of its content.

A :class:`Trial` is composed of a :class:`Server`, a :class:`Load`, a :class:`Placement` and :class:`Faults`.
Nothing here touches the machine; a value that cannot mean anything is refused when it is made.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from harness.errors import PlanError

Ready = Literal["answered", "listening", "none"]
SourcePorts = Literal["assigned", "kernel"]
Regime = Literal["shared", "disjoint"]
Allocator = Literal["system", "jemalloc", "mimalloc"]

PLANS = Path(__file__).parent.parent / "plans"
"""The experiments of the collection, one file for each notebook."""
MAX_REQUESTS = 2_000_000
"""Upper bound of planned requests in one trial: a storm is bounded in count."""
MAX_CLIENTS = 1_000_000
MAX_SECONDS = 600.0
"""Upper bound of a timeout, a stall, and the time an open loop takes to issue: a storm is bounded in time."""
MAX_SETTLE_S = 60.0
"""Upper bound of how long a server is watched when its storm is over."""
MAX_BACKLOG = 2**31 - 1
"""listen(2) takes a C int."""


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise PlanError(message)


def _choice(name: str, value: str, choices: Any) -> None:
    allowed = get_args(choices)
    _require(value in allowed, f"{name} must be one of {', '.join(allowed)}, not {value!r}")


@dataclass(frozen=True, slots=True)
class Server:
    """The server under test: a name of the catalogue, or a command of the user's own."""

    name: str = "python"
    command: str | None = None
    """Shell-like command line with ``{port}``, and optionally ``{host}``, ``{backlog}`` and the other options."""
    backlog: int | None = None
    """What it is told to ask of listen(2); None: what its stack asks for by itself."""
    body_bytes: int = 12
    work_us: int = 0
    """Busy work for each request, microseconds."""
    workers: int | None = None
    nofile: int | None = None
    """Its limit of open files; None: the caller's."""
    nofile_hard: int | None = None
    """Up to where it may raise that limit by itself; None: not at all."""
    ready: Ready = "answered"
    stamps: bool = True
    """Whether the lab's servers say when they accepted each connection."""
    allocator: Allocator = "system"
    """What its malloc is; ``system``: whatever it comes with."""
    fast_open_queue: int | None = None
    """TCP_FASTOPEN of its listening sockets: how many connections may wait that began with data; None: unasked."""
    defer_accept_s: int | None = None
    """TCP_DEFER_ACCEPT of its listening sockets, seconds; None: unasked."""

    def __post_init__(self) -> None:
        if self.command is not None:
            _require(
                "{port}" in self.command or "{options}" in self.command,
                f"--command must contain {{port}}, found {self.command!r}; write e.g. 'myserver --port {{port}}'",
            )
        if self.backlog is not None:
            _require(
                0 <= self.backlog <= MAX_BACKLOG,
                f"backlog must be 0 to {MAX_BACKLOG} or 'default', not {self.backlog}",
            )
        _require(0 <= self.body_bytes <= 2**26, f"body bytes must be 0 to {2**26}, not {self.body_bytes}")
        _require(0 <= self.work_us <= 10_000_000, f"work must be 0 to 10000000 µs, not {self.work_us}")
        _require(self.workers is None or 1 <= self.workers <= 1024, f"workers must be 1 to 1024, not {self.workers}")
        _require(self.nofile is None or self.nofile >= 16, f"nofile must be at least 16, not {self.nofile}")
        for name, number in (("fast open queue", self.fast_open_queue), ("defer accept", self.defer_accept_s)):
            _require(number is None or 1 <= number <= MAX_BACKLOG, f"{name} must be 1 to {MAX_BACKLOG}, not {number}")
        if self.nofile_hard is not None:
            fits = self.nofile is not None and self.nofile <= self.nofile_hard
            _require(fits, f"nofile hard, {self.nofile_hard}, goes with a nofile that is not above it")
        _choice("ready", self.ready, Ready)
        _choice("allocator", self.allocator, Allocator)


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients want: ``clients`` × ``requests_per_client``, as a burst, a closed or an open loop.

    A burst issues everything at once; ``concurrency`` keeps that many clients under way (closed loop);
    ``rate`` issues that many requests a second whatever happens to them (open loop).
    """

    clients: int = 50_000
    requests_per_client: int = 1
    concurrency: int | None = None
    rate: float | None = None
    timeout_s: float = 10.0
    processes: int | None = None
    """Number of agents; None: as many as open files and cores ask for."""
    target_host: str = "127.0.0.1"
    path: str = "/"
    source_ports: SourcePorts = "assigned"
    fast_open: bool = False
    """Whether clients send their request in the SYN (TCP_FASTOPEN_CONNECT), once they have a cookie."""

    def __post_init__(self) -> None:
        _require(1 <= self.clients <= MAX_CLIENTS, f"clients must be 1 to {MAX_CLIENTS}, not {self.clients}")
        _require(
            self.requests_per_client >= 1, f"requests per client must be at least 1, not {self.requests_per_client}"
        )
        _require(
            self.planned <= MAX_REQUESTS,
            f"clients × requests per client is {self.planned}; one trial has at most {MAX_REQUESTS} requests",
        )
        _require(
            0 < self.timeout_s <= MAX_SECONDS,
            f"timeout must be above 0 and at most {MAX_SECONDS:g} s, not {self.timeout_s:g}",
        )
        _require(
            self.concurrency is None or self.rate is None,
            "--concurrency (closed loop) and --rate (open loop) exclude each other; choose one",
        )
        if self.concurrency is not None:
            _require(
                1 <= self.concurrency <= self.clients,
                f"concurrency must be 1 to clients ({self.clients}), not {self.concurrency}",
            )
        if self.rate is not None:
            _require(0 < self.rate <= 1e6, f"rate must be above 0 and at most 1000000, not {self.rate:g}")
            seconds = self.planned / self.rate
            _require(
                seconds <= MAX_SECONDS,
                f"{self.planned} requests at {self.rate:g}/s take {seconds:.0f} s; {MAX_SECONDS:g} s are the most",
            )
        if self.processes is not None:
            most = min(self.concurrency or self.clients, 256)
            _require(1 <= self.processes <= most, f"processes must be 1 to {most} for this load, not {self.processes}")
        _choice("target host", self.target_host, Literal["127.0.0.1", "::1", "localhost"])
        _require(
            bool(re.fullmatch(r"/[!-~]*", self.path)),
            f"path must start with / and hold visible ASCII only, not {self.path!r}",
        )
        _choice("source ports", self.source_ports, SourcePorts)
        _require(isinstance(self.fast_open, bool), f"fast open must be true or false, not {self.fast_open!r}")

    @property
    def planned(self) -> int:
        return self.clients * self.requests_per_client

    @property
    def is_burst(self) -> bool:
        return self.concurrency is None and self.rate is None

    @property
    def peak_in_flight(self) -> int:
        """The most clients that can be under way at once."""
        if self.rate is not None:
            return min(self.clients, math.ceil(self.rate * self.timeout_s * 1.1))
        return self.clients if self.concurrency is None else self.concurrency


@dataclass(frozen=True, slots=True)
class Placement:
    """Who runs on which CPUs. ``disjoint`` gives the server the first half of them and the clients the rest."""

    cpu: Regime = "shared"
    server_cpus: tuple[int, ...] | None = None
    client_cpus: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        _choice("cpu", self.cpu, Regime)


@dataclass(frozen=True, slots=True)
class Faults:
    """What is done to the server or the clients on purpose."""

    stall_ms: float | None = None
    """The server is stopped from before the first connect until this long after it."""
    client_pause_ms: float | None = None
    """The agents are stopped for this long, as soon as half of the clients have tried to connect."""
    client_nofile: int | None = None
    """The agents' limit of open files, each; None: as many as this machine allows."""
    syn_loss: float | None = None
    """Share of SYNs that are lost on the way."""

    def __post_init__(self) -> None:
        for name, value in (("stall", self.stall_ms), ("client pause", self.client_pause_ms)):
            if value is not None:
                most = MAX_SECONDS * 1000
                _require(0 < value <= most, f"{name} must be above 0 and at most {most:g} ms, not {value:g}")
        if self.client_nofile is not None:
            _require(self.client_nofile >= 16, f"client nofile must be at least 16, not {self.client_nofile}")
        if self.syn_loss is not None:
            _require(0 < self.syn_loss < 1, f"SYN loss is a share between 0 and 1, not {self.syn_loss:g}")


@dataclass(frozen=True, slots=True)
class Trial:
    """One storm: what is run, under what load, where, with which faults and kernel settings."""

    server: Server = field(default_factory=Server)
    load: Load = field(default_factory=Load)
    placement: Placement = field(default_factory=Placement)
    faults: Faults = field(default_factory=Faults)
    probe: bool = True
    """Whether queue, counters and server are sampled meanwhile."""
    ledger: bool = True
    """Whether the SYNs and SYN-ACKs of each connection are counted, where nftables is there."""
    trace: bool = False
    """Whether the kernel's tracepoints are followed, where root may."""
    settle_s: float = 0.0
    """How long server and probe go on after the storm, to see what memory is given back."""
    sysctls: tuple[tuple[str, str], ...] = ()
    """Kernel settings of the trial's private namespace, sorted by name."""
    host_sysctls: tuple[tuple[str, str], ...] = ()
    """Settings of the host that no namespace has, changed for the length of the run, sorted by name."""

    def __post_init__(self) -> None:
        _require(0 <= self.settle_s <= MAX_SETTLE_S, f"settle must be 0 to {MAX_SETTLE_S:g} s, not {self.settle_s:g}")
        for option, name in (("--sysctl", "sysctls"), ("--host-sysctl", "host_sysctls")):
            settings = tuple(sorted(getattr(self, name)))
            for key, _ in settings:
                known = bool(re.fullmatch(r"net(\.[A-Za-z0-9_-]+)+", key))
                _require(known, f"{option} sets net.*, not {key!r}")
            object.__setattr__(self, name, settings)

    @property
    def plan_hash(self) -> str:
        return content_hash(self)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Trial:
        """The inverse of :meth:`to_json`, from a parsed JSON document."""

        def cpus(value: Iterable[int] | None) -> tuple[int, ...] | None:
            return None if value is None else tuple(value)

        placement = document["placement"]
        return cls(
            server=Server(**document["server"]),
            load=Load(**document["load"]),
            placement=Placement(placement["cpu"], cpus(placement["server_cpus"]), cpus(placement["client_cpus"])),
            faults=Faults(**document["faults"]),
            probe=document.get("probe", True),
            ledger=document.get("ledger", True),
            trace=document.get("trace", False),
            settle_s=document.get("settle_s", 0.0),
            sysctls=tuple((key, value) for key, value in document["sysctls"]),
            host_sysctls=tuple((key, value) for key, value in document.get("host_sysctls", ())),
        )


def _without_defaults(value: Any) -> Any:
    """A nested value as JSON, fields at their default left out: a new field then changes no old hash."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    kept: dict[str, Any] = {}
    for item in dataclasses.fields(value):
        current = getattr(value, item.name)
        default = item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default
        if current != default:
            kept[item.name] = _without_defaults(current)
    return kept


def content_hash(value: Any) -> str:
    """Hash of a plan value, hex; equal for equal content, today and after fields with defaults were added."""
    text = json.dumps(_without_defaults(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# ---- options: the flat names that the command line and the plan files share -------------------------------------

_PARTS: dict[str, type] = {"server": Server, "load": Load, "placement": Placement, "faults": Faults}
OPTIONS: dict[str, str] = {
    item.name: part
    for part, cls in _PARTS.items()
    for item in dataclasses.fields(cls)
    if (part, item.name) != ("server", "name")
} | {
    "server": "server",
    "sysctl": "trial",
    "host_sysctl": "trial",
    "probe": "trial",
    "ledger": "trial",
    "trace": "trial",
    "settle_s": "trial",
}
"""Option name → the part of a trial it belongs to. ``server`` is :attr:`Server.name`."""


DEFAULT = "default"
"""As the value of an option: as if it were not given. A plan's scenario can so take back what its base says."""


def trial_from_options(options: Mapping[str, Any]) -> Trial:
    """Make a trial from flat options such as ``{"server": "hyper", "clients": 4000, "backlog": 128}``.

    Raises:
        PlanError: an option is unknown, or a value means nothing.
    """
    parts: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
    settings: dict[str, Mapping[str, Any]] = {"sysctl": {}, "host_sysctl": {}}
    for name in options:
        if name not in OPTIONS:
            raise PlanError(f"unknown option {name!r}; known are {', '.join(sorted(OPTIONS))}")
    options = {name: value for name, value in options.items() if value != DEFAULT}
    for name, value in options.items():
        if name in settings:
            settings[name] = value
        elif name in ("probe", "ledger", "trace", "settle_s"):
            continue
        elif name == "server":
            parts["server"]["name"] = value
        else:
            parts[OPTIONS[name]][name] = tuple(value) if isinstance(value, list) else value
    try:
        return Trial(
            server=Server(**parts["server"]),
            load=Load(**parts["load"]),
            placement=Placement(**parts["placement"]),
            faults=Faults(**parts["faults"]),
            probe=bool(options.get("probe", True)),
            ledger=bool(options.get("ledger", True)),
            trace=bool(options.get("trace", False)),
            settle_s=float(options.get("settle_s", 0.0)),
            sysctls=_settings(settings["sysctl"]),
            host_sysctls=_settings(settings["host_sysctl"]),
        )
    except (TypeError, ValueError) as error:  # a string where a number belongs, from a plan file
        raise PlanError(f"an option has a value of the wrong type: {error}") from error


def _settings(table: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    _require(isinstance(table, Mapping), f"kernel settings must be a table of names and values, not {table!r}")
    return tuple((str(key), str(value)) for key, value in table.items())


# ---- plans: experiments as data ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """An experiment: trials that are compared with each other, each repeated."""

    name: str
    question: str
    trials: tuple[Trial, ...]
    repeats: int = 1
    keep_rows: int = 0
    """Of each trial, how many runs keep their rows in the reference data, because a figure draws them."""
    names: tuple[str, ...] = ()
    """The scenario of each trial; empty where the plan has none."""
    controls: tuple[Trial, ...] = ()
    """Of the trials, those that each repeat holds twice: what differs between the two is noise."""
    kept: tuple[Trial, ...] | None = None
    """Of the trials, those to which ``keep_rows`` applies; None: to all."""

    def __post_init__(self) -> None:
        _require(1 <= self.repeats <= 1000, f"repeats must be 1 to 1000, not {self.repeats}")

    @property
    def block(self) -> tuple[Trial, ...]:
        """What one repeat holds."""
        return self.trials + self.controls

    def rows_kept(self, trial: Trial) -> int:
        """Of one of its trials, how many runs keep their rows in the reference data."""
        return self.keep_rows if self.kept is None or trial in self.kept else 0

    def of_servers(self, names: Sequence[str]) -> Plan:
        """What is left of it for these servers; all of it where none is named."""
        kept = [not names or trial.server.name in names for trial in self.trials]
        trials = tuple(itertools.compress(self.trials, kept))
        controls = tuple(trial for trial in self.controls if trial in trials)
        return dataclasses.replace(
            self, trials=trials, names=tuple(itertools.compress(self.names, kept)), controls=controls
        )


def load_plan(path: Path, changes: Mapping[str, Any] | None = None) -> Plan:
    """Read a plan file, with ``changes`` merged into it table by table.

    TOML with ``question``, ``repeats``, ``keep_rows``, ``[base]`` (options of every trial), ``[vary]`` (option → list
    of values; the trials are their product), ``[scenario.NAME]`` (sets of options, each crossed with the product), and
    options, or the ``scenario``, of trials that are run twice in each repeat (``[control]``) or alone keep their rows
    (``[keep]``).

    Raises:
        PlanError: the file cannot be read, is not TOML, or describes something impossible.
    """
    document, combined = read_scenarios(path, changes, keys=("control", "keep"))
    trials = [trial_from_options(options) for _, options in combined]
    control, keep = (_table(path, document, key) for key in ("control", "keep"))

    def chosen(key: str, options: Mapping[str, Any]) -> tuple[Trial, ...]:
        held = (options.items() <= {**every, "scenario": name}.items() for name, every in combined)
        found = tuple(itertools.compress(trials, held))
        _require(bool(found), f"[{key}] in {path} is true of no trial; it is an option of some of them")
        return found

    names = tuple(name for name, _ in combined)
    twice, kept = chosen("control", control) if control else (), chosen("keep", keep) if keep else None
    question, repeats, keep_rows = document["question"], document["repeats"], document["keep_rows"]
    return Plan(path.stem, question, tuple(trials), repeats, keep_rows, names, twice, kept)


def read_scenarios(
    path: Path, changes: Mapping[str, Any] | None = None, keys: Sequence[str] = ()
) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    """(the document of a plan file, with its ``question``, ``repeats`` and ``keep_rows``; (scenario, options) of each
    of its trials). ``keys`` are what it may have beside the usual.

    Raises:
        PlanError: the file cannot be read, is not TOML, or is not a plan.
    """
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"cannot read the plan {path}: {error.strerror}", "give the path of a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"the plan {path} is not valid TOML: {error}", "see plans/ for examples") from error
    document = {"question": "", "repeats": 1, "keep_rows": 0, **_merge(read, changes or {})}
    unknown = set(document) - {"question", "repeats", "keep_rows", "base", "vary", "scenario", *keys}
    _require(not unknown, f"the plan {path} has unknown keys: {', '.join(sorted(unknown))}")
    for name in ("repeats", "keep_rows"):
        _require(isinstance(document[name], int), f"{name} in {path} must be a number, not {document[name]!r}")
    base, vary, scenarios = (_table(path, document, key) for key in ("base", "vary", "scenario"))
    for option, values in vary.items():
        lists = isinstance(values, list) and bool(values)
        _require(lists, f"[vary] {option} in {path} must be a list with values in it, not {values!r}")
    combined = [
        (name, {**base, **scenario, **dict(zip(vary, values, strict=True))})
        for name, scenario in (scenarios or {"": {}}).items()
        for values in itertools.product(*vary.values())
    ]
    return document, combined


def _table(path: Path, document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = document.get(key, {})
    _require(isinstance(table, dict), f"{key} in {path} must be a table")
    return table  # type: ignore[no-any-return]


def _merge(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(document)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged
