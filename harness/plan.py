"""What to run: frozen values that describe one storm, each with a hash of its content.

A :class:`Trial` is composed of a :class:`Server`, a :class:`Load`, a :class:`Placement` and :class:`Faults`.
Nothing here touches the machine; a value that cannot mean anything is refused when it is made.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.bounds import MAX_SECONDS
from harness.bounds import choice as _choice
from harness.bounds import require as _require
from harness.content import content_hash
from harness.errors import PlanError
from harness.faults import Faults
from harness.front import Front
from harness.placement import Placement
from harness.retries import Retries
from harness.subject import Server

SourcePorts = Literal["assigned", "kernel"]

PLANS = Path(__file__).parent.parent / "plans"
"""The experiments of the collection, one file for each notebook."""
MAX_REQUESTS = 2_000_000
"""Upper bound of planned requests in one trial: a storm is bounded in count."""
MAX_CLIENTS = 1_000_000
MAX_SETTLE_S = 60.0
"""Upper bound of how long a server is watched when its storm is over."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients want: ``clients`` × ``requests_per_client``, as a burst, a closed or an open loop.

    A burst issues everything at once; ``concurrency`` keeps that many clients under way (closed loop);
    ``rate`` issues that many requests a second whatever happens to them (open loop). With ``connections`` all requests
    go over a pool of so many kept ones, and wait in one queue while there is none free.
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
    connections: int | None = None
    """Size of the pool that all clients share; None: a connection for each client."""
    spread_ms: float = 0.0
    """The pool's first connections are opened over this long, each at a random moment."""
    http2: bool = False
    """HTTP/2 with prior knowledge: requests share a connection at the same time."""
    retries: Retries = field(default_factory=Retries)

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
            most = min(self.concurrency or self.places, self.clients, 256)
            _require(1 <= self.processes <= most, f"processes must be 1 to {most} for this load, not {self.processes}")
        self._check_pool()
        _choice("target host", self.target_host, Literal["127.0.0.1", "::1", "localhost"])
        _require(
            bool(re.fullmatch(r"/[!-~]*", self.path)),
            f"path must start with / and hold visible ASCII only, not {self.path!r}",
        )
        _choice("source ports", self.source_ports, SourcePorts)
        _require(isinstance(self.fast_open, bool), f"fast open must be true or false, not {self.fast_open!r}")

    def _check_pool(self) -> None:
        if self.connections is not None:
            _require(
                1 <= self.connections <= self.planned,
                f"connections must be 1 to the number of requests ({self.planned}), not {self.connections}",
            )
        _require(
            not (self.pooled and self.concurrency is not None),
            "--concurrency cannot be joined with --connections or --http2: the pool says how many are under way",
        )
        _require(0 <= self.spread_ms <= MAX_SECONDS * 1000, f"spread must be 0 to 600000 ms, not {self.spread_ms:g}")
        _require(self.pooled or not self.spread_ms, "--spread-ms is of the connections of a pool; use --connections")
        attempts = self.retries.attempts
        _require(
            not (self.fast_open and (self.pooled or attempts > 1)),
            "--fast-open is built for plain storms only; leave --connections, --http2 and --attempts out",
        )
        _require(
            not (self.http2 and attempts > 1),
            "--attempts with --http2 is not built: a failed attempt ends its connection, which others share",
        )
        _require(
            self.most_connections <= MAX_REQUESTS,
            f"{self.planned} requests × {attempts} attempts; one trial has at most {MAX_REQUESTS} of them",
        )

    @property
    def planned(self) -> int:
        return self.clients * self.requests_per_client

    @property
    def is_burst(self) -> bool:
        return self.concurrency is None and self.rate is None

    @property
    def pooled(self) -> bool:
        """Whether requests wait for a connection in one queue, instead of each client having its own."""
        return self.connections is not None or self.http2

    @property
    def places(self) -> int:
        """How many connections there can be at a time: the pool's, or one for each client."""
        return self.clients if self.connections is None else self.connections

    @property
    def carries_one(self) -> bool:
        """Whether a connection carries one request and is closed."""
        return self.requests_per_client == 1 and not self.pooled

    @property
    def most_connections(self) -> int:
        """How many it can come to: at worst each attempt of each request needs a new one."""
        return self.planned * self.retries.attempts

    @property
    def connection_timeout_s(self) -> float | None:
        """How long after its reference time a connection is given up; None where it has several requests."""
        if not self.carries_one:
            return None
        return min(self.timeout_s, self.retries.attempt_timeout_s or self.timeout_s)

    @property
    def peak_in_flight(self) -> int:
        """The most connections that can be under way at once."""
        if self.pooled:
            return self.places
        if self.rate is not None:
            return min(self.clients, math.ceil(self.rate * self.timeout_s * 1.1))
        return self.clients if self.concurrency is None else self.concurrency


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
    front: Front = field(default_factory=Front)
    """The load balancer that the storm meets before the server, if any."""

    def __post_init__(self) -> None:
        _require(0 <= self.settle_s <= MAX_SETTLE_S, f"settle must be 0 to {MAX_SETTLE_S:g} s, not {self.settle_s:g}")
        for option, name in (("--sysctl", "sysctls"), ("--host-sysctl", "host_sysctls")):
            settings = tuple(sorted(getattr(self, name)))
            for key, _ in settings:
                known = bool(re.fullmatch(r"net(\.[A-Za-z0-9_-]+)+", key))
                _require(known, f"{option} sets net.*, not {key!r}")
            object.__setattr__(self, name, settings)
        _require(
            self.faults.stall_loop_ms is None or self.server.accept_loops is not None,
            "--stall-loop-ms blocks the first of several accept loops; say how many with --accept-loops",
        )
        _require(
            not (self.front.asked and self.load.http2),
            "--front with --http2 is not built: load balancers are configured for HTTP/1.1 here",
        )

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

        placement, load = document["placement"], document["load"]
        return cls(
            server=Server(**document["server"]),
            load=Load(**{**load, "retries": Retries(**load.get("retries", {}))}),
            placement=Placement(placement["cpu"], cpus(placement["server_cpus"]), cpus(placement["client_cpus"])),
            faults=Faults(**document["faults"]),
            probe=document.get("probe", True),
            ledger=document.get("ledger", True),
            trace=document.get("trace", False),
            settle_s=document.get("settle_s", 0.0),
            sysctls=tuple((key, value) for key, value in document["sysctls"]),
            host_sysctls=tuple((key, value) for key, value in document.get("host_sysctls", ())),
            front=Front(**document.get("front", {})),
        )


# ---- options: the flat names that the command line and the plan files share -------------------------------------

_PARTS = {"server": Server, "load": Load, "placement": Placement, "faults": Faults, "retries": Retries}
OPTIONS: dict[str, str] = {
    item.name: part
    for part, cls in _PARTS.items()
    for item in dataclasses.fields(cls)
    if (part, item.name) not in (("server", "name"), ("load", "retries"))
} | {
    "server": "server",
    "sysctl": "trial",
    "host_sysctl": "trial",
    "probe": "trial",
    "ledger": "trial",
    "trace": "trial",
    "settle_s": "trial",
    "front": "front",
    **{f"front_{item.name}": "front" for item in dataclasses.fields(Front) if item.name != "name"},
}
"""Option name → the part of a trial it belongs to. ``server`` is :attr:`Server.name`."""


DEFAULT = "default"
"""As the value of an option: as if it were not given. A plan's scenario can so take back what its base says."""


def trial_from_options(options: Mapping[str, Any]) -> Trial:
    """Make a trial from flat options such as ``{"server": "hyper", "clients": 4000, "backlog": 128}``.

    Raises:
        PlanError: an option is unknown, or a value means nothing.
    """
    parts: dict[str, dict[str, Any]] = {part: {} for part in (*_PARTS, "front")}
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
        elif name in ("server", "front"):
            parts[name]["name"] = value
        elif OPTIONS[name] == "front":
            parts["front"][name.removeprefix("front_")] = value
        else:
            parts[OPTIONS[name]][name] = tuple(value) if isinstance(value, list) else value
    try:
        return Trial(
            server=Server(**parts["server"]),
            load=Load(**parts["load"], retries=Retries(**parts["retries"])),
            placement=Placement(**parts["placement"]),
            faults=Faults(**parts["faults"]),
            probe=bool(options.get("probe", True)),
            ledger=bool(options.get("ledger", True)),
            trace=bool(options.get("trace", False)),
            settle_s=float(options.get("settle_s", 0.0)),
            sysctls=_settings(settings["sysctl"]),
            host_sysctls=_settings(settings["host_sysctl"]),
            front=Front(**parts["front"]),
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


_TABLES = ("base", "vary", "scenario", "control", "keep")


def load_plan(path: Path, changes: Mapping[str, Any] | None = None) -> Plan:
    """Read a plan file, with ``changes`` merged into it table by table.

    TOML with ``question``, ``repeats``, ``keep_rows``, ``[base]`` (options of every trial), ``[vary]`` (option → list
    of values; the trials are their product), ``[scenario.NAME]`` (sets of options, each crossed with the product), and
    options, or the ``scenario``, of trials that are run twice in each repeat (``[control]``) or alone keep their rows
    (``[keep]``).

    Raises:
        PlanError: the file cannot be read, is not TOML, or describes something impossible.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"cannot read the plan {path}: {error.strerror}", "give the path of a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"the plan {path} is not valid TOML: {error}", "see plans/ for examples") from error
    document = _merge(document, changes or {})
    unknown = set(document) - {"question", "repeats", "keep_rows", *_TABLES}
    _require(not unknown, f"the plan {path} has unknown keys: {', '.join(sorted(unknown))}")
    base, vary, scenarios, control, keep = (_table(path, document, key) for key in _TABLES)
    for option, values in vary.items():
        lists = isinstance(values, list) and bool(values)
        _require(lists, f"[vary] {option} in {path} must be a list with values in it, not {values!r}")
    combined = [
        (name, {**base, **scenario, **dict(zip(vary, values, strict=True))})
        for name, scenario in (scenarios or {"": {}}).items()
        for values in itertools.product(*vary.values())
    ]
    named = [(name, trial_from_options(options)) for name, options in combined]
    repeats, keep_rows = document.get("repeats", 1), document.get("keep_rows", 0)
    for name, value in (("repeats", repeats), ("keep_rows", keep_rows)):
        _require(isinstance(value, int), f"{name} in {path} must be a number, not {value!r}")
    names, trials = zip(*named, strict=True)

    def chosen(key: str, options: Mapping[str, Any]) -> tuple[Trial, ...]:
        found = tuple(
            itertools.compress(
                trials, (options.items() <= {**every, "scenario": name}.items() for name, every in combined)
            )
        )
        _require(bool(found), f"[{key}] in {path} is true of no trial; it is an option of some of them")
        return found

    twice, kept = chosen("control", control) if control else (), chosen("keep", keep) if keep else None
    return Plan(path.stem, str(document.get("question", "")), trials, repeats, keep_rows, names, twice, kept)


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
