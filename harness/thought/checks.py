"""Checks of a run against what must hold whatever the server did; three-valued, as a doubt is not a failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.events.check import Check
from harness.events.kernel import RESENT_FROM_US, TICK_US
from harness.events.rowtimes import Connections
from harness.events.samples import LO_RX_DROPPED
from harness.plan import Load
from harness.thought.generator import Generator
from harness.thought.lost_syns import dropped_beyond_count, losses
from harness.thought.phases import Life

LONGEST_GAP_US = 100_000
"""Between two samples; longer, and an episode of a full queue may have passed unseen."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a run's checks have to know besides its tables."""

    load: Load
    counters: Mapping[str, int] | None
    """Deltas of the namespace's counters over the storm."""
    client_cpus: int
    host_cpus: int
    hops: int = 1
    """With a load balancer there are two."""
    opened: int | None = None
    """Connections that were opened in the storm, by the kernel; None where others open some too."""
    tick_us: float = TICK_US


def check_run(
    connections: pa.Table, requests: pa.Table, samples: pa.Table | None, about: Conditions, generator: Generator
) -> list[Check]:
    """All checks of one run, in the order in which they are shown."""
    counters = about.counters
    return [
        conservation(requests, about.load, connections, about.opened),
        time_order(
            (connections, ("scheduled_us", "issued_us", "established_us", "first_byte_us", "closed_us")),
            # The server may have accepted a connection before the client looked whether it is established.
            (connections, ("issued_us", "accepted_us", "first_byte_us")),
            (requests, ("scheduled_us", "issued_us", "first_byte_us", "last_byte_us")),
        ),
        kernel_counters(connections, counters, about.hops),
        syns_accounted(connections, about),
        listeners(samples, connections),
        queue_bound(samples, about.client_cpus, about.host_cpus, pc.min(connections["issued_us"]).as_py()),
        probe_coverage(samples, connections),
        input_queue(counters),
        Check("generator", "pass" if generator.verdict == "ok" else "unknown", _generator_detail(generator)),
    ]


def conservation(
    requests: pa.Table, load: Load, connections: pa.Table | None = None, opened: int | None = None
) -> Check:
    """Each planned request has one row and ends in one outcome; where it was tried again, in its last attempt's.

    Rows are laid out before the storm, so the kernel is asked too: it has ``opened`` as many as rows say were issued.
    """
    rows, without_outcome = len(requests), requests["outcome"].null_count
    per_client = pc.value_counts(requests["client"]).field("counts")
    uneven = len(per_client) != load.clients or pc.any(pc.not_equal(per_client, load.requests_per_client)).as_py()
    holds = rows == load.planned and not without_outcome and not uneven
    detail = f"{load.planned} planned, {rows} rows with an outcome"
    if connections is not None and load.carries_one and load.retries.attempts > 1:
        tried = requests.filter(pc.is_valid(requests["connection"]))
        ended = pc.take(connections["outcome"].cast(pa.string()), tried["connection"])
        otherwise = pc.sum(pc.not_equal(tried["outcome"].cast(pa.string()), ended)).as_py() or 0
        holds = holds and not otherwise
        detail += f", {otherwise} of them another than their last attempt's"
    if connections is not None and opened is not None:
        issued = len(connections) - connections["issued_us"].null_count
        holds = holds and issued == opened
        detail += f"; {issued} connections issued, {opened} opened by the kernel's count"
    return Check("conservation", "pass" if holds else "fail", detail)


def time_order(*tables: tuple[pa.Table, Sequence[str]]) -> Check:
    """Nothing happens before what it depends on, in any row; for tables with their columns in order of time."""
    backwards = 0
    for table, columns in tables:
        latest = np.full(len(table), -np.inf)
        for name in columns:
            time_us = table[name].to_numpy().astype(float)
            backwards += int(np.count_nonzero(time_us < latest))  # comparisons with null, a NaN here, are false
            latest = np.fmax(latest, time_us)
    return Check("time_order", "fail" if backwards else "pass", f"{backwards} times lie before what they depend on")


def kernel_counters(connections: pa.Table, counters: Mapping[str, int] | None, hops: int = 1) -> Check:
    """SYN retransmissions of all rows against TCPSynRetrans of the namespace.

    The kernel counts SYN-ACKs sent again there too (tcp_rtx_synack), so it may be ahead of the rows by as many as the
    ledger saw, never behind.
    """
    if not counters or "TCPSynRetrans" not in counters:
        return Check("kernel_counters", "unknown", "the kernel's counters were not read")
    established = pc.is_valid(connections["established_us"])
    of_rows = pc.if_else(established, connections["syn_retransmits"], connections["total_retransmits"])
    unread = pc.sum(pc.and_(pc.is_valid(connections["issued_us"]), pc.is_null(of_rows))).as_py() or 0
    rows, kernel = pc.sum(of_rows).as_py() or 0, counters["TCPSynRetrans"]
    beyond_first = pc.subtract(connections["synacks_sent"].cast(pa.int32()), 1)
    repeated = pc.sum(pc.max_element_wise(beyond_first, 0)).as_py() or 0
    detail = f"{rows} SYN retransmissions in the rows, {kernel} counted by the kernel"
    if rows == kernel:
        return Check("kernel_counters", "pass", detail)
    if unread:
        return Check("kernel_counters", "unknown", f"{detail}; {unread} rows could not be read")
    if rows > kernel:
        return Check("kernel_counters", "fail", detail)
    if hops > 1:
        return Check("kernel_counters", "unknown", f"{detail}, which counts the load balancer's own connections too")
    explained = kernel - rows <= repeated
    reason = f"{repeated} SYN-ACKs were sent again, which it counts too" if repeated else "SYN-ACKs were not counted"
    return Check("kernel_counters", "pass" if explained else "unknown", f"{detail}; {reason}")


def syns_accounted(connections: pa.Table, about: Conditions) -> Check:
    """The ledger has the listener drop no more SYNs than the kernel says that it dropped."""
    rows = Connections(connections)
    found = losses(rows, Life(rows, about.load, about.tick_us))
    beyond = dropped_beyond_count(found, about.counters or {})
    if beyond is None:
        return Check("syns_accounted", "unknown", "SYNs were not counted one by one, or the kernel's counters not read")
    detail = f"{np.nansum(found.at_listener):.0f} SYNs dropped by the listener in the rows, "
    detail += f"{(about.counters or {})['ListenDrops']} drops counted by the kernel, ignored ACKs among them"
    return Check("syns_accounted", "fail" if beyond else "pass", detail)


def listeners(samples: pa.Table | None, connections: pa.Table) -> Check:
    """The sockets that the storm could meet were the same from the first connect to the last end."""
    first, last = pc.min(connections["issued_us"]).as_py(), pc.max(connections["closed_us"]).as_py()
    if samples is None or "listeners" not in samples.column_names or first is None or last is None:
        return Check("listeners", "unknown", "the listening sockets were not watched")
    times = samples["time_us"].to_numpy()
    # The one before the first connect belongs to the storm: what it shows is what the first SYN met.
    begin = max(0, int(np.searchsorted(times, first, side="right")) - 1)
    within = samples.slice(begin, int(np.searchsorted(times, last, side="right")) - begin)
    met = pc.value_counts(within["listener_inodes"])
    if len(met) == 0:
        return Check("listeners", "unknown", "there are no samples of a storm")
    sockets = pc.unique(within["listeners"]).to_pylist()
    if len(met) == 1 and sockets[0]:
        return Check("listeners", "pass", f"the same {sockets[0]} throughout")
    counts = ", ".join(map(str, sorted(sockets)))
    return Check("listeners", "unknown", f"{len(met)} sets of sockets one after the other, of {counts} sockets")


def queue_bound(samples: pa.Table | None, issuing_cpus: int, host_cpus: int, first_issued_us: int | None) -> Check:
    """The accept queue never held more than backlog + one for each CPU that issues.

    It holds backlog + 1, as the kernel tests with ``>``; SYNs that arrive from several CPUs at once may each pass. What
    is sent again leaves from any CPU, as an idle one hands its timers on (``kernel.timer_migration``): the wider bound
    holds from the first retransmission that there can be.
    """
    if samples is None or samples["accept_queue"].null_count == len(samples) or first_issued_us is None:
        return Check("queue_bound", "unknown", "the queue was not sampled")
    deepest, backlog = pc.max(samples["accept_queue"]).as_py(), pc.max(samples["backlog"]).as_py()
    times, depths, backlogs = (
        samples[name].to_numpy(zero_copy_only=False).astype(float) for name in ("time_us", "accept_queue", "backlog")
    )
    sent_again = times > first_issued_us + RESENT_FROM_US
    above = depths - backlogs > np.where(sent_again, max(issuing_cpus, host_cpus), issuing_cpus)
    # A server may listen anew with a smaller backlog (listen(2) again): what is above it then may only become less.
    over = np.any(above & ~(depths <= np.append(np.nan, depths[:-1])))
    detail = f"at most {deepest} in a queue with backlog {backlog}, issued from {issuing_cpus} CPUs"
    if issuing_cpus < host_cpus:
        detail += f", sent again from any of {host_cpus}"
    return Check("queue_bound", "fail" if over else "pass", detail)


def probe_coverage(samples: pa.Table | None, connections: pa.Table) -> Check:
    """The probe looked from before the first connect until after the last end, without a long gap."""
    first, last = pc.min(connections["issued_us"]).as_py(), pc.max(connections["closed_us"]).as_py()
    if samples is None or len(samples) < 2 or first is None or last is None:
        return Check("probe_coverage", "unknown", "there are no samples of a storm")
    times = samples["time_us"].to_numpy()
    within = times[(times >= first) & (times <= last)]
    gap_us = int(np.diff(np.concatenate([[first], within, [last]])).max())
    covered = times[0] <= first and times[-1] >= last and gap_us <= LONGEST_GAP_US
    detail = f"{len(within)} samples in the storm, {gap_us / 1000:.1f} ms apart at the most"
    return Check("probe_coverage", "pass" if covered else "unknown", detail)


def input_queue(counters: Mapping[str, int] | None) -> Check:
    """Whether this host lost packets before TCP saw them: then nothing can be said of the server's backlog."""
    if counters is None or LO_RX_DROPPED not in counters:
        return Check("input_queue", "unknown", "loopback's drops were not read")
    dropped = counters[LO_RX_DROPPED]
    if dropped:
        return Check(
            "input_queue",
            "unknown",
            f"this host's input queue dropped {dropped} packets before TCP: no verdict on a backlog from this run",
        )
    return Check("input_queue", "pass", "this host's input queue dropped nothing")


def _generator_detail(generator: Generator) -> str:
    withheld = "; no verdict on the server's speed from this run" if generator.verdict == "limiting" else ""
    return f"{generator.verdict}: {generator.because}{withheld}"
