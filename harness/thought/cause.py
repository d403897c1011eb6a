"""Why each connection ended as it did: a pure function of what was recorded, one word a connection.

The first rule that matches decides, in the order of docs/reference.md; what no rule decides on the evidence is
``unknown``. The result is kept beside the record, with the version of the rules, and can be made again at any time.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.events.kernel import RESOLUTION_TICKS, TICK_US
from harness.events.rowtimes import Bools, Connections, Floats
from harness.events.tables import Column, schema
from harness.plan import Load
from harness.thought.accepts import Accepts, accepts
from harness.thought.lost_syns import Places, Where, lost_syns
from harness.thought.phases import PHASES, Life, cut
from harness.thought.sent_again import SentAgain, sent_again

RULES_VERSION = 3
"""Goes up with every change of a rule or phase; what was made by older rules is made again."""
CAUSES = (
    "client_out_of_files",
    "client_out_of_ports",
    "client_late",
    "refused",
    "reset",
    "closed_early",
    "bad_answer",
    "syn_dropped",
    "input_queue_dropped",
    "path_loss",
    "ghost",
    "never_accepted",
    "slow_accept",
    "slow_answer",
    "clean",
    "unknown",
)
UNKNOWN = len(CAUSES) - 1
Codes = NDArray[np.int64]
Words = NDArray[np.object_]
MEANINGS = dict(
    zip(
        CAUSES,
        (
            "EMFILE or ENFILE at the client",
            "EADDRNOTAVAIL at the client",
            "answered or timed out, and the generator's lag is its longest phase, or made it miss its deadline",
            "ECONNREFUSED: nobody listened",
            "the connection was reset",
            "the stream ended before the answer was complete",
            "what came was no HTTP, or not 2xx",
            "waited longest for a SYN-ACK; most of its lost SYNs had reached TCP, and the listener dropped them",
            "waited longest for a SYN-ACK; most of its lost SYNs were lost on this host before TCP, in its input queue",
            "waited longest for a SYN-ACK; most of its lost SYNs were lost on the way",
            "established at the client, but its last ACK was ignored; answered late or never",
            "not answered in time: in the accept queue until the end, never accepted",
            "not answered in time: accepted, after most of its life in the queue",
            "not answered in time: accepted, and most of its life waiting for the answer",
            "answered without any retransmission of either side, however long it took",
            "the evidence does not decide",
        ),
        strict=True,
    )
)
"""What each says of a connection; of one that was answered, it names the longest phase that was avoidable."""
_CATEGORY = pa.dictionary(pa.int8(), pa.string())
PHASE_MEANINGS = {
    "waiting_us": "until its client's connection before this one had ended",
    "syn_wait_us": "issue to established in the client's kernel",
    "ghost_wait_us": "established at the client, its last ACK ignored: until its request got through",
    "queue_wait_us": "in the accept queue",
    "service_us": "accepted, and its request there, until the last byte had come; with what came before where "
    "accept_evidence is none",
    "generator_lag_us": "what the generator's lateness added: in issuing, asking, reading or giving up",
}
COLUMNS = (
    Column("connection", pa.int32(), "", "number of the connection within the run, from 0"),
    Column("cause", _CATEGORY, "", "the mechanism: " + " · ".join(CAUSES)),
    Column("detail", pa.dictionary(pa.int16(), pa.string()), "", "more of it; empty where there is no more to say"),
    *(Column(name, pa.int64(), "µs", PHASE_MEANINGS[name]) for name in PHASES),
    Column(
        "accept_evidence",
        _CATEGORY,
        "",
        "what its accept is known by: the server's stamp (accept, handed_over), the samples (bounded), or none",
    ),
)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What holds for all connections of a run."""

    load: Load
    counters: Mapping[str, int]
    """Deltas of the namespace's counters over the storm."""
    target: str
    """The address that was called."""
    accept_stamp: str
    """Where this server's stamps are taken: accept or handed_over."""
    listeners: int = 1
    """Sockets that listened on the port before the storm: with several there are several queues."""
    tick_us: float = TICK_US
    """The grain of what the kernel dates by its timer interrupt, where this was recorded."""


def causes(connections: pa.Table, samples: pa.Table | None, about: Circumstances) -> pa.Table:
    """Cause and phases of each connection; columns as in :data:`COLUMNS`, rows in the order of ``connections``."""
    rows = Connections(connections)
    life = Life(rows, about.load, about.tick_us)
    known = accepts(life, rows["accepted_us"], samples, about.listeners)
    lost = lost_syns(rows, life, about.counters)
    found = Evidence(rows, life, lost, sent_again(rows, life, about.counters))
    # Where an accept is known to lie between two moments, either has to give the same word.
    early, late = (_first_match(found, accepted) for accepted in (known.not_before_us, known.not_after_us))
    cause = np.where(early == late, early, UNKNOWN)
    words = _details(found, cause, _reset_when(rows, life, known, about.counters), about)
    words[early != late] = "its accept is known only to lie between two moments"
    phases = cut(life, known.accepted_us)
    bounded = ~np.isnan(known.accepted_us) & ~np.isnan(life.established)
    evidence = np.where(known.stamped, about.accept_stamp, np.where(bounded, "bounded", "none"))
    arrays = [
        connections["connection"].combine_chunks(),
        pa.DictionaryArray.from_arrays(pa.array(cause.astype(np.int8)), pa.array(CAUSES)),
        pa.array(words).cast(pa.string()).dictionary_encode(),
        *(pa.array(np.rint(us), mask=np.isnan(us)).cast(pa.int64()) for us in phases.values()),
        pa.array(evidence).cast(pa.string()).dictionary_encode(),
    ]
    made = schema(COLUMNS).with_metadata({"rules_version": str(RULES_VERSION)})
    return pa.Table.from_arrays(
        [array.cast(field.type) for array, field in zip(arrays, made, strict=True)], schema=made
    )


def counts(table: pa.Table) -> dict[str, int]:
    """Connections by cause; every word is there."""
    counted = {row["values"]: row["counts"] for row in table["cause"].value_counts().to_pylist()}
    return {cause: counted.get(cause, 0) for cause in CAUSES}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the rules look at."""

    rows: Connections
    life: Life
    lost: Places
    """Where its SYNs were lost."""
    again: SentAgain


def _first_match(found: Evidence, accepted: Floats) -> Codes:
    """The number of the first rule that matches, for each connection."""
    rules = _rules(found, cut(found.life, accepted), accepted)
    return np.select(rules, range(len(rules)), default=UNKNOWN)


def _rules(found: Evidence, phases: Mapping[str, Floats], accepted: Floats) -> list[Bools]:
    """One condition for each of :data:`CAUSES` but the last, in its order."""
    rows, life, lost, again = found.rows, found.life, found.lost, found.again
    waiting, syn, ghost, queue, service, lag = (np.nan_to_num(phases[name]) for name in PHASES)
    outcome, code = rows.outcome, rows["errno"]
    failed = ~life.answered
    # Of what was answered after all, the wait for the server itself is not called avoidable. Where copies of a request
    # were lost, that wait may be for another one.
    rest = np.where(failed | again.request_lost, np.maximum.reduce([queue, service]), 0)
    syn_longest = (lost != Where.nowhere) & (syn >= np.maximum.reduce([ghost, lag, rest]))
    ghost_longest = again.is_ghost & (ghost >= np.maximum.reduce([syn, lag, rest]))
    others = np.maximum.reduce([waiting, syn, ghost, queue, service])
    # What it took until its answer had come, without the lag until then: in time, or not?
    without_lag = life.arrived - life.reference - (lag - (life.end - life.stop))
    missed_by_lag = life.timed_out & (without_lag <= life.deadline - life.reference)
    waited = life.timed_out
    late = (lag > RESOLUTION_TICKS * life.tick_us) & ((lag >= others) | missed_by_lag) & (life.answered | waited)
    was_accepted = ~np.isnan(accepted) & ~np.isinf(accepted) & ~again.request_lost
    never_accepted = np.isinf(accepted) & np.isfinite(life.entered)
    conditions = {
        "client_out_of_files": np.isin(code, (errno.EMFILE, errno.ENFILE)),
        "client_out_of_ports": code == errno.EADDRNOTAVAIL,
        "client_late": late,
        **{word: outcome == word for word in ("refused", "reset", "closed_early", "bad_answer")},
        "syn_dropped": syn_longest & (lost == Where.listener),
        "input_queue_dropped": syn_longest & (lost == Where.input_queue),
        "path_loss": syn_longest & (lost == Where.path),
        "ghost": ghost_longest,
        "never_accepted": waited & never_accepted & (queue >= np.maximum(syn, ghost)),
        "slow_accept": waited & was_accepted & (queue >= np.maximum.reduce([syn, ghost, service])),
        "slow_answer": waited & was_accepted & (service >= np.maximum.reduce([syn, ghost, queue])) & ~again.by_server,
        "clean": life.answered & (rows["total_retransmits"] == 0) & ~again.by_server,
    }
    assert tuple(conditions) == CAUSES[:-1]
    return list(conditions.values())


def _reset_when(rows: Connections, life: Life, known: Accepts, counters: Mapping[str, int]) -> Words:
    """Whether a reset came before or after the accept.

    With tcp_abort_on_overflow the kernel resets, and counts as EmbryonicRsts, connections that never entered the queue;
    a listening socket that is closed resets those in it. Nothing else but the server itself sends one.
    """
    resets, by_kernel = int((rows.outcome == "reset").sum()), counters.get("EmbryonicRsts")
    overflow = by_kernel is not None and by_kernel >= resets
    before = np.isinf(known.accepted_us) | known.queued_when_last_seen | overflow | np.isnan(life.established)
    by_server = known.listened_afterwards & (by_kernel == 0)
    after = (rows["bytes_received"] > 0) | by_server
    words = np.where(after, "after accept", np.where(before, "before accept", "not known whether accepted"))
    return words.astype(object)


def _details(found: Evidence, cause: Codes, reset: Words, about: Circumstances) -> Words:
    """A few words more, for the causes that have several forms."""
    rows = found.rows
    words = np.full(len(rows), "", object)

    def say(name: str, text: Any) -> None:
        chosen = cause == CAUSES.index(name)
        words[chosen] = text[chosen] if isinstance(text, np.ndarray) else text

    status = rows["status"]
    spoken = np.where(np.isnan(status), "not HTTP", np.nan_to_num(status).astype(int).astype(str)).astype(object)
    say("refused", f"nobody listened on {about.target} ({'IPv6' if ':' in about.target else 'IPv4'})")
    say("reset", reset)
    # Only a connection that was accepted can be closed in good order, or be sent anything.
    say("closed_early", "after accept")
    say("bad_answer", "after accept, " + spoken)
    say("syn_dropped", _full_queue(about.counters))
    say("unknown", _undecided(found))
    return words


def _full_queue(counters: Mapping[str, int]) -> str:
    """Which queue of the listener was full; with syncookies off a full SYN queue drops SYNs too."""
    accept_queue, syn_queue = counters.get("ListenOverflows"), counters.get("TCPReqQFullDrop")
    if accept_queue == 0:
        return "SYN queue full, syncookies off"
    return "accept queue full" if syn_queue == 0 else "accept queue or SYN queue full"


def _undecided(found: Evidence) -> Words:
    """Why nothing could be decided."""
    code, again = found.rows["errno"], found.again
    names = np.array([errno.errorcode.get(int(value), "") for value in np.nan_to_num(code)], object)
    reasons = (
        (~np.isnan(code), names),
        (found.rows.outcome == "not_issued", "the run ended before it was issued"),
        (found.lost == Where.undecided, "where its SYNs were lost is not known"),
        (again.request_lost, "its request was lost before it reached TCP"),
        (again.doubtful, "its request was ignored, or lost on the way: requests were not counted one by one"),
        (again.by_server, "the server's side sent segments again, perhaps its answer"),
    )
    conditions, words = zip(*reasons, strict=True)
    columns = [np.broadcast_to(np.asarray(word, object), len(found.rows)) for word in words]
    return np.select(conditions, columns, default="no evidence of its accept")
