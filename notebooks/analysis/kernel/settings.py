"""Kernel settings that are recommended for storms of connections: what each is said to do, and what runs say of it.

Each is a variant of ``plans/06-kernel-settings.toml``, compared in blocks with the storm as it is, or with another
variant where it changes something only together with that one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.plan import Plan
from harness.thought import runs as results
from harness.thought.comparing import cpu_us_per_answer, judged, ratio_in_blocks, with_blocks
from harness.thought.inference import geometric_mean
from harness.thought.stats import CONNECTS_PER_STEP

AS_IT_IS, AGAIN = "as it is", "as it is, again"
COUNTERS = ("ListenOverflows", "ListenDrops", "SyncookiesSent", "TCPReqQFullDrop", "TWRecycled", "InSegs")
COUNTS = ("ListenOverflows", "lo_rx_dropped", "half_open_drops")
"""Measures that may be zero: one is added to each before they are compared as ratios."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One change: its variant, how it is written down, and what is commonly said of it."""

    variant: str
    change: str
    said: str
    against: str = AS_IT_IS


_LIST = "somaxconn, tcp_max_syn_backlog, tcp_syncookies, tcp_synack_retries, tcp_tw_reuse, ip_local_port_range, "
_LIST += "tcp_fastopen and netdev_max_backlog, all at once"
SETTINGS = (
    Setting("somaxconn", "net.core.somaxconn=65535", "the accept queue gets longer"),
    Setting("backlog", "listen(65535)", "the accept queue gets longer"),
    Setting("backlog and somaxconn", "listen(65535) and net.core.somaxconn=65535", "the accept queue gets longer"),
    Setting("tcp_max_syn_backlog", "net.ipv4.tcp_max_syn_backlog=65535", "more connections may be half open"),
    Setting("no syncookies", "net.ipv4.tcp_syncookies=0", "cookies cost; without them connections are better"),
    Setting(
        "no syncookies, tcp_max_syn_backlog",
        "net.ipv4.tcp_max_syn_backlog=65535 with tcp_syncookies=0",
        "more connections may be half open",
        against="no syncookies",
    ),
    Setting("always syncookies", "net.ipv4.tcp_syncookies=2", "cookies protect against a full queue"),
    Setting("abort on overflow", "net.ipv4.tcp_abort_on_overflow=1", "clients hear of a full queue at once"),
    Setting(
        "no linear timeouts",
        "net.ipv4.tcp_syn_linear_timeouts=0",
        "(as before Linux 6.5: the pause between two SYNs doubles from the first)",
    ),
    Setting("one SYN-ACK retry", "net.ipv4.tcp_synack_retries=1", "half-open connections are given up sooner"),
    Setting(
        "searched ports, wider range",
        "net.ipv4.ip_local_port_range=1024 65535",
        "more connections at once",
        against="searched ports",
    ),
    Setting("TIME_WAIT reuse", "net.ipv4.tcp_tw_reuse=1", "ports do not run out"),
    Setting("input queue", "net.core.netdev_max_backlog=100000", "the host drops fewer packets in a burst"),
    Setting("tcp_fastopen alone", "net.ipv4.tcp_fastopen=3", "TCP Fast Open is on: connections cost less"),
    Setting(
        "Fast Open",
        "tcp_fastopen=3, TCP_FASTOPEN at the server and TCP_FASTOPEN_CONNECT at the clients",
        "data in the SYN: connections cost less",
    ),
    Setting("defer accept", "TCP_DEFER_ACCEPT=5 at the server", "the server is woken up only when there is a request"),
    Setting("the usual list", _LIST, "a server tuned for high load"),
)
"""In the order of the plan. What is said of them is what pages of tuning advice say; none of it is a result."""


def in_blocks(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The plan's runs with ``variant`` (:data:`AGAIN` for one of two equal storms of a block), ``block``, and measures.

    ``p50_or_more_ms`` and ``p99_or_more_ms`` are quantiles of all requests, the timeout where they lie among the
    unanswered; ``half_open_drops`` are SYNs that the listener dropped for another reason than a full accept queue.
    """
    names = dict(zip((trial.plan_hash for trial in plan.trials), plan.variants, strict=True))
    made = results.with_counters(with_blocks(runs, plan), *COUNTERS)
    made = results.with_causes(results.with_options(made, "timeout_s"))
    first, *others = dict.fromkeys(plan.variants)
    variants = [first, *([AGAIN] if plan.controls else []), *others]
    found = made["plan_hash"].map(names).mask(made["again"], AGAIN)
    timeout_ms = made["timeout_s"] * 1000
    return made.assign(
        variant=pd.Categorical(found, categories=variants, ordered=True),
        p50_or_more_ms=made["p50_ms"].fillna(timeout_ms),
        p99_or_more_ms=made["p99_ms"].fillna(timeout_ms),
        half_open_drops=made["ListenDrops"] - made["ListenOverflows"],
        segments_each=made["InSegs"] / made["planned"],
        cpu_us_per_answer=cpu_us_per_answer(made),
    ).sort_values("variant", kind="stable", ignore_index=True)


def contrasts(storms: pd.DataFrame, against: Mapping[str, str], measures: Sequence[str]) -> pd.DataFrame:
    """Each variant of ``against`` with the one it names, block by block: a row for each of them and measure.

    ``before`` and ``after`` are geometric means, of which ``ratio`` is the ratio, with ``low``, ``high``, ``kind`` and
    ``p`` as :func:`inference.paired_ratio` has them; ``smallest`` is the smallest ratio above one that so many blocks
    detect.
    """
    rows = []
    for measure in measures:
        shift = 1 if measure in COUNTS else 0
        values = storms.pivot(index="block", columns="variant", values=measure) + shift
        for variant, other in against.items():
            compared = ratio_in_blocks(values, variant, other)
            if compared is None:
                continue
            found, both = compared
            means = (geometric_mean(both[name].to_list()) - shift for name in (other, variant))
            ratio = (found.ratio.value, found.ratio.low, found.ratio.high, found.ratio.kind)
            tests = (found.p, found.apart, found.smallest_detectable)
            rows.append((variant, other, measure, *means, *ratio, *tests, len(both)))
    return pd.DataFrame(rows, columns=_COLUMNS)


def together(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """All contrasts of several experiments, named in ``experiment``, with ``seen`` of :func:`comparing.judged`.

    A core question is what the settings of an experiment do to one measure.
    """
    there = [table.assign(experiment=name) for name, table in tables.items() if len(table)]
    if not there:
        return pd.DataFrame(columns=[*_COLUMNS, "experiment", "core", "seen"])
    table = pd.concat(there, ignore_index=True)
    core = (table["experiment"] + ", " + table["measure"]).where(table["variant"] != AGAIN)
    return judged(table, withheld=table["variant"].isna(), core=core)


_COLUMNS = [
    "variant",
    "against",
    "measure",
    "before",
    "after",
    "ratio",
    "low",
    "high",
    "kind",
    "p",
    "apart",
    "smallest",
    "blocks",
]


def against(storms: pd.DataFrame) -> dict[str, str]:
    """With what each variant of the storms is compared: the settings, and the storm as it is with itself."""
    there = set(storms["variant"])
    pairs = {setting.variant: setting.against for setting in SETTINGS} | {AGAIN: AS_IT_IS}
    return {variant: other for variant, other in pairs.items() if {variant, other} <= there}


def range_size(settings: Sequence[Sequence[str]]) -> int:
    """How many ports a trial's ``net.ipv4.ip_local_port_range`` has."""
    (ports,) = (value for key, value in settings if key == "net.ipv4.ip_local_port_range")
    low, high = map(int, ports.split())
    return high - low + 1


def cost_by_half(costs: Sequence[float], ports: int) -> tuple[float, float]:
    """Median of what connect() takes, µs, until half of the ports are in use, and after; NaN where none came so far."""
    steps = np.asarray(costs, np.float64)
    used = np.arange(len(steps)) * CONNECTS_PER_STEP
    halves = (steps[used + CONNECTS_PER_STEP <= ports / 2], steps[used >= ports / 2])
    first, second = (float(np.median(half)) if len(half) else np.nan for half in halves)
    return first, second


def ports_given(runs: pd.DataFrame) -> pd.Series:
    """Connections of each run that got a source port, which is all that were not out of ports."""
    return ((1 - runs["client_out_of_ports"]) * runs["clients"]).round().astype(int)
