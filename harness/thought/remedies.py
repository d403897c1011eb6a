"""What would mend a run: for each cause that took many connections, what to change, and on what evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from harness.thought.episodes import Episode
from harness.thought.room import AT_THE_LISTENER
from harness.thought.standstills import Standstill

CUT_OFF = ("refused", "reset", "closed_early")
"""The causes that a server brings about by ending."""


WORTH_ROOM = 0.05
"""Of those whom the queue dropped: a server that could do less of them in its idle time needs something else first."""
LATE_SHARE = 0.01
"""Fewer late connections are no reason to give the generator more."""


Advice = tuple[str, str]
"""What to change, and why."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """Something to change, why, and how many connections it concerns."""

    change: str
    because: str
    connections: int


def remedies(causes: Mapping[str, int], episodes: Sequence[Episode], facts: Facts) -> list[Remedy]:
    """The largest first; nothing is proposed for what the evidence does not show.

    More room comes after what empties the queue: it would only hold more of what nobody takes.
    """
    cut_off = CUT_OFF if facts.ended else ()
    of_drivers = [*_of_drivers(causes, episodes, facts)]
    found = [*of_drivers, *_of_standstills(facts), *_of_retries(facts)]
    if concerned := sum(causes[cause] for cause in cut_off):
        found.append(Remedy(*_of_its_end(facts), concerned))
    for cause, of_cause in _OF_CAUSES.items():
        if (concerned := _worth_a_word(cause, causes, facts)) and cause not in cut_off:
            found.append(Remedy(*of_cause(facts), concerned))
    found.sort(key=lambda remedy: -remedy.connections)
    first_driver = next((place for place, remedy in enumerate(found) if remedy in of_drivers), -1)
    return [*found[: first_driver + 1], *_of_room(causes, facts), *found[first_driver + 1 :]]


def _worth_a_word(cause: str, causes: Mapping[str, int], facts: Facts) -> int:
    """How many connections a cause took, where that is more than what happens to a storm that is well."""
    if cause == "unknown":
        return causes[cause] - facts.not_issued
    if cause == "client_late" and (facts.generator_ok or causes[cause] < LATE_SHARE * sum(causes.values())):
        return 0
    return causes[cause]


@dataclass(frozen=True, slots=True)
class Facts:
    """What remedies refer to."""

    backlog: int | None
    """As it was last: a server may listen anew with another."""
    somaxconn: int | None
    most_waiting: int
    """Connections that at one moment were issued and not accepted: what a queue would have had to hold."""
    target: str
    log: str
    idle: str
    """What it did while connections waited in its queue and were never accepted."""
    has_ledger: bool
    ended: bool = False
    """Whether it ended during the storm."""
    out_of_files_first: bool = False
    """Whether its log said before that it was out of files."""
    last_words: str = ""
    """The last line of its log."""
    capacity_per_s: float = 0.0
    """Answers a second while it answered; none where it never did."""
    idle_s: float = 0.0
    """How long its queue was empty while connections that it had dropped waited to be sent again."""
    input_queue_dropped: bool = False
    """Whether this host lost packets before TCP: then nothing is said of a backlog."""
    generator_ok: bool = False
    """Whether it was not the limit: of what is answered within a millisecond its lag is soon the longest part."""
    agent_stood_still: str = ""
    """What was seen of that; empty where none did."""
    not_issued: int = 0
    """Connections that never left a client."""
    has_cpus_of_its_own: bool = False
    cpus_apart: int = 1
    """What it would have of its own with ``--cpu disjoint``."""
    stopped_listening: bool = False
    """Whether nobody listened any more after others had been established."""
    deepest_queues: Sequence[int] = ()
    """The most that each of its accept queues held, where there were several."""
    standstills: Sequence[Standstill] = ()
    tried_again: int = 0
    """Attempts beyond the first of each request."""
    queued: int = 0
    """Connections in the queue when it was full, at the end of the episode with most drops."""
    given_up: int = 0
    """Of these, given up by their clients: the server has still to take them out."""
    met: str = "the server"
    """Whose listener the storm met: backlog, log and episodes are of this one."""

    @property
    def limit_of_files(self) -> str:
        """Whose it is, and where it is set: ``--nofile`` is of the server alone."""
        return f"{self.met}'s limit of open files ({'--nofile' if self.met == 'the server' else 'yours: ulimit -n'})"

    @property
    def log_and_its_end(self) -> str:
        return f"{self.log}, which ends: {self.last_words}" if self.last_words else self.log

    @property
    def where_they_lay(self) -> str:
        """Which of several queues; empty where there was one."""
        if len(self.deepest_queues) < 2:
            return ""
        return f"of its {len(self.deepest_queues)} queues the deepest held {max(self.deepest_queues):,}"

    @property
    def works_for_the_gone(self) -> bool:
        """Whether clients had given up most of what a full queue held, and tried again behind it.

        A queue is first in, first out. Whoever stands behind what was given up waits longer still: more room would only
        hold more that nobody waits for any longer.
        """
        return self.tried_again > 0 and 2 * self.given_up > self.queued


def held_for_the_gone(connections: pa.Table, episodes: Sequence[Episode]) -> tuple[int, int]:
    """How many connections a full queue held, and how many of them their clients had given up; of the end of the
    episode with most drops, (0, 0) without one.

    The kernel keeps in the queue what its client has closed, until it is accepted. What the queue holds is sampled;
    whose clients still wait, say the rows: established, neither accepted nor closed.
    """
    worst = max(episodes, key=lambda episode: episode.overflows or 0, default=None)
    if worst is None:
        return 0, 0
    established, accepted, closed = (
        connections[name].to_numpy().astype(float) for name in ("established_us", "accepted_us", "closed_us")
    )  # comparisons with null, a NaN here, are false
    end = worst.end_us
    waiting = int(np.count_nonzero((established <= end) & ~(closed <= end) & ~(accepted <= end)))
    return worst.deepest, max(0, worst.deepest - waiting)


def _of_retries(facts: Facts) -> Iterator[Remedy]:
    """Clients gave up what lay in the queue and tried again behind it: the server works for those that have gone."""
    if facts.works_for_the_gone:
        yield Remedy(
            "have clients wait longer before they try again, and not all at once (--backoff-ms, --jitter full), or let "
            "them try less often (--retry-budget); a larger backlog would only hold more of that work",
            f"they tried {facts.tried_again:,} times again, and had given up {facts.given_up:,} of {facts.queued:,} "
            "connections in the full queue: what the server takes out first is work for clients that have gone",
            facts.tried_again,
        )


def _of_its_end(facts: Facts) -> Advice:
    """It ended: what it left behind was cut off."""
    if facts.out_of_files_first:
        change = f"raise {facts.limit_of_files}, and have it go on when accept() fails"
        return change, f"it ended during the storm, out of files: {facts.log_and_its_end}"
    return f"find why {facts.met} ended", f"it ended during the storm: {facts.log_and_its_end}"


def _of_drivers(causes: Mapping[str, int], episodes: Sequence[Episode], facts: Facts) -> Iterator[Remedy]:
    """The listener's queue was full: why it was not emptied."""
    concerned = sum(causes[cause] for cause in AT_THE_LISTENER)
    if not concerned:
        return
    shares = drivers(episodes)
    total = sum(row["overflows"] for row in shares.values()) or 1
    for driver, row in shares.items():
        if driver in _OF_DRIVERS and row["overflows"]:
            change, because = _OF_DRIVERS[driver](facts, episodes)
            seen = f"{row['episodes']} episodes of a full queue, {row['ms']:,.0f} ms in all, {row['overflows']:,} drops"
            part = round(concerned * row["overflows"] / total)
            yield Remedy(change, f"{because}: {seen}; {row['because']}", part)


def _of_standstills(facts: Facts) -> Iterator[Remedy]:
    """The queue was never full, and nobody took from it for a while: all in it waited that long."""
    for one in sorted(facts.standstills, key=lambda one: -one.duration_ms)[:1]:
        if one.driver in _OF_DRIVERS:
            change, because = _OF_DRIVERS[one.driver](facts, ())
            seen = f"nobody took from its queue for {one.duration_ms:,.0f} ms, {one.waited:,} connections waited"
            yield Remedy(change, f"{because}: {seen}; {one.because}", one.waited)


def _of_room(causes: Mapping[str, int], facts: Facts) -> Iterator[Remedy]:
    """A larger queue, where the server had nothing to take while those waited that the queue had dropped.

    A server that never ran out of work does no more for having a longer queue of it: they would wait there instead.
    """
    concerned = sum(causes[cause] for cause in AT_THE_LISTENER)
    if not concerned or facts.backlog is None or facts.input_queue_dropped or facts.works_for_the_gone:
        return
    could_do = min(concerned, int(facts.capacity_per_s * facts.idle_s))
    if could_do < WORTH_ROOM * concerned:
        return
    room = facts.most_waiting - 1  # a queue holds one more than its backlog
    enough = room if could_do == concerned else min(room, facts.backlog + could_do)
    if enough <= facts.backlog:
        return
    limit = f", with net.core.somaxconn (now {facts.somaxconn}) at least as large" if facts.somaxconn else ""
    capped = limit if facts.somaxconn is not None and enough > facts.somaxconn else ""
    has = "has room for all" if enough == room else "holds what it had the time for"
    yield Remedy(
        f"a larger backlog than {facts.backlog:,}: {enough:,} {has}{capped}, less may do",
        f"{facts.most_waiting:,} connections were waiting at once, and for {facts.idle_s:.2g} s of that its queue was "
        f"empty: at {facts.capacity_per_s:,.0f} answers/s it can do {could_do:,} of the {concerned:,} in that time",
        concerned,
    )


def drivers(episodes: Sequence[Episode]) -> dict[str, dict[str, Any]]:
    """Episodes by driver: how many, how long, how many overflows, and the numbers of the longest."""
    found: dict[str, dict[str, Any]] = {}
    for episode in sorted(episodes, key=lambda one: -one.duration_ms):
        row = found.setdefault(episode.driver, {"episodes": 0, "ms": 0.0, "overflows": 0, "because": episode.because})
        row["episodes"] += 1
        row["ms"] += episode.duration_ms
        row["overflows"] += episode.overflows or 0
    return found


def _starved(facts: Facts, episodes: Sequence[Episode]) -> Advice:
    """CPUs of its own, where those are more than it ran on while its queue was full.

    What that gives is a bound: the clients have fewer then, and how much less they ask for is not known beforehand.
    """
    because = "it was ready to run and had no CPU"
    ran, ready = _ran_and_was_ready([one for one in episodes if one.driver == "cpu_starved"])
    at_best = min(ready, facts.cpus_apart) / ran if ran else None
    if facts.has_cpus_of_its_own or (at_best is not None and at_best <= 1):
        return f"give {facts.met} more CPUs, or less to do for an answer", because
    gives = "" if at_best is None else f", with which it is at best {at_best:.2g} times as fast then"
    change = f"try {facts.met} on CPUs of its own (--cpu disjoint): whether that is more than it has now"
    return f"{change} is to be measured", because + gives


def _ran_and_was_ready(episodes: Sequence[Episode]) -> tuple[float, float]:
    """Mean CPUs used over all of these episodes, and mean threads that used one or were ready to."""
    known = [(one.duration_ms, one.running or 0.0, one.waiting_for_cpu or 0.0) for one in episodes]
    whole = sum(ms for ms, _, _ in known) or 1.0
    return sum(ms * ran for ms, ran, _ in known) / whole, sum(ms * (ran + waits) for ms, ran, waits in known) / whole


def _late(facts: Facts) -> Advice:
    """More of a generator that was stopped would have been stopped too."""
    if facts.agent_stood_still:
        return "find what stopped the generator, and run it again", facts.agent_stood_still
    apart = "" if facts.has_cpus_of_its_own else ", or CPUs of its own (--cpu disjoint)"
    return f"give the generator more: --processes{apart}", "its lag was the longest part of their lives"


def _refused(facts: Facts) -> Advice:
    """A worker that ended and its parent goes on, or a socket that was closed: no other address is to blame."""
    nobody = f"nobody listened on {facts.target}"
    if facts.stopped_listening:
        change = f"find why {facts.met} stopped listening"
        return change, f"{nobody} any more after others had been established: {facts.log_and_its_end}"
    return "start a listener there, or call the address that it listens on", nobody


def _unknown(facts: Facts) -> Advice:
    if facts.where_they_lay:
        return f"look at what serves each queue of {facts.met}: one of them may not be served", facts.where_they_lay
    if not facts.has_ledger:
        return "record more evidence", "the ledger counts each connection's SYNs: install nftables"
    return "record more evidence", "see the detail of each in causes.parquet"


def _into_the_log(what: str) -> Callable[[Facts], Advice]:
    return lambda facts: (f"look into {facts.met}'s log", f"it {what}; {facts.log_and_its_end}")


_OF_DRIVERS: dict[str, Callable[[Facts, Sequence[Episode]], Advice]] = {
    "stalled": lambda facts, _: (f"find what stops {facts.met}", "it neither ran nor wanted to"),
    "cpu_starved": _starved,
    "out_of_files": lambda facts, _: (f"raise {facts.limit_of_files}", "it had none left to accept with"),
    "accept_bound": lambda facts, _: (
        "accept faster: more accepting threads, less work between accepts",
        "it ran, and could not keep up",
    ),
}
_OF_CAUSES: dict[str, Callable[[Facts], Advice]] = {
    "input_queue_dropped": lambda facts: (
        "raise this host's input queue (--host-sysctl net.core.netdev_max_backlog=100000, as root), or spread the load "
        f"(--rate): {facts.met} has no part in it",
        "most of their SYNs were lost on this host before TCP saw them",
    ),
    "path_loss": lambda facts: (
        "look between client and server: a firewall, a link",
        "their SYNs were sent, and came neither to this host's input queue nor to the listener",
    ),
    "client_late": _late,
    "client_out_of_files": lambda facts: (
        "more agents (--processes), or a higher hard limit of open files",
        "a client could open no socket",
    ),
    "client_out_of_ports": lambda facts: (
        "assigned source ports (--source-ports assigned), or a wider net.ipv4.ip_local_port_range",
        "a client had no port left",
    ),
    "refused": _refused,
    "reset": _into_the_log("reset connections"),
    "closed_early": _into_the_log("closed before its answer was complete"),
    "bad_answer": _into_the_log("answered with an error, or no HTTP"),
    "never_accepted": lambda facts: (
        f"let {facts.met} accept: a larger backlog would only have held more of them",
        f"they lay complete in its queue until the clients gave up; {facts.idle}"
        + (f"; {facts.where_they_lay}" if facts.where_they_lay else ""),
    ),
    "slow_accept": lambda facts: (
        "accept faster, or let clients wait longer",
        "accepted, after most of their time in the queue",
    ),
    "slow_answer": lambda facts: ("look into the server's handler", "accepted in time, and not answered in time"),
    "unknown": _unknown,
}
