"""Where the SYNs of each connection were lost: at the listener, in this host's input queue, or on the way.

With the ledger each connection is decided by its own counts, unless the listener would have dropped more than the
kernel says that it did: then something else is between the two. Without it only the totals of the namespace are there,
and they decide only where they leave no choice.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from harness.events.rowtimes import Connections, Floats
from harness.events.samples import LO_RX_DROPPED
from harness.thought.phases import Life


class Where(IntEnum):
    """Where most of a connection's SYNs were lost, or their SYN-ACKs."""

    nowhere = 0
    listener = 1
    input_queue = 2
    path = 3
    undecided = 4


Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Losses:
    """What the ledger has been lost of each connection, in packets; shape (connections,), NaN where not counted."""

    before_leaving: Floats
    before_tcp: Floats
    """SYNs that left and did not arrive."""
    at_listener: Floats
    """SYNs that arrived and were answered by nothing."""
    answers: Floats
    """SYN-ACKs that did not arrive."""
    refused: int
    """How many are known to have been answered by a reset."""

    @property
    def known(self) -> bool:
        return not np.all(np.isnan(self.before_tcp))


def losses(rows: Connections, life: Life) -> Losses:
    left, arrived, answered = rows["syns_left"], rows["syns_arrived"], rows["synacks_sent"]
    established = ~np.isnan(life.established)
    # One SYN of an established connection was answered; more SYN-ACKs than that are lost ones, or, towards a client
    # whose last ACK was ignored, the server's own retransmissions. What was refused was answered by a reset.
    refused = ~established & ((rows.outcome == "refused") | (rows["errno"] == errno.ECONNREFUSED))
    met = established | refused
    unanswered = np.maximum(np.where(met, arrived - 1, arrived), 0)
    lost_answers = np.where(established, np.where(life.is_ghost, 0, answered - 1), answered)
    lost_answers = np.clip(np.nan_to_num(lost_answers), 0, np.nan_to_num(unanswered))
    return Losses(
        before_leaving=np.maximum(1 + _retransmits(rows, life) - left, 0),
        before_tcp=left - arrived,
        at_listener=np.maximum(unanswered - lost_answers, 0),
        answers=np.where(np.isnan(arrived), np.nan, lost_answers),
        refused=int(np.count_nonzero(refused)),
    )


def dropped_beyond_count(found: Losses, counters: Mapping[str, int]) -> int | None:
    """How many more SYNs the ledger has the listener drop than the kernel says; None where either is not known.

    ``ListenDrops`` counts ignored ACKs too, so the ledger may stay below it, and may never be above. Of what was given
    up, the last SYN may have been answered by a reset that came too late: as many as there were resets beyond refusals.
    """
    drops = counters.get("ListenDrops")
    if drops is None or not found.known:
        return None
    resets = max(0, counters.get("OutRsts", 0) - found.refused)
    return max(0, int(np.nansum(found.at_listener)) - drops - resets)


def lost_syns(rows: Connections, life: Life, counters: Mapping[str, int]) -> Places:
    """A member of :class:`Where` for each connection; shape (connections,)."""
    established = ~np.isnan(life.established)
    retransmits = _retransmits(rows, life)
    lost = np.where(established, retransmits, retransmits + 1)
    lost = np.where(np.isnan(lost) | np.isnan(life.issued), 0, lost)
    # What was refused or reset was answered, after however many retransmissions.
    lost = np.where(np.isin(rows.outcome, ("refused", "reset")) & ~established, retransmits, lost)
    found = np.full(len(rows), _by_totals(lost, life, counters), np.int64)
    found = np.where(np.isnan(rows["syns_arrived"]), found, _by_ledger(losses(rows, life), counters))
    return np.where(lost > 0, found, Where.nowhere)


def _retransmits(rows: Connections, life: Life) -> Floats:
    """SYNs sent again."""
    return np.where(np.isnan(life.established), rows["total_retransmits"], rows["syn_retransmits"])


def _by_ledger(found: Losses, counters: Mapping[str, int]) -> Places:
    amounts = np.stack([found.at_listener, found.before_tcp + found.answers, np.nan_to_num(found.before_leaving)])
    # Some of these SYNs were dropped by something between the ledger and TCP: whose, nobody counted.
    listener = Where.undecided if dropped_beyond_count(found, counters) else Where.listener
    codes = np.array([listener, _input_queue_or_path(found.before_tcp, counters), Where.path])
    chosen = codes[np.argmax(amounts, axis=0)]  # of equal shares the first: what the contract names first
    return np.where(amounts.max(axis=0) > 0, chosen, Where.undecided)


def _input_queue_or_path(before_tcp: Floats, counters: Mapping[str, int]) -> Where:
    """Who lost what had left and did not arrive. The input queue counts what it drops, for all together."""
    dropped = counters.get(LO_RX_DROPPED)
    if dropped is None:
        return Where.undecided
    if dropped == 0:
        return Where.path
    return Where.input_queue if np.nansum(before_tcp) <= dropped else Where.undecided


def _by_totals(lost: Floats, life: Life, counters: Mapping[str, int]) -> Where:
    """One answer for all connections, where what was counted leaves no other.

    Client and server share the namespace, so every segment that TCP sent and that is not lost is counted again as it
    comes in: the difference is what was lost between, in the input queue or on the way.
    """
    needed = ("ListenDrops", LO_RX_DROPPED, "InSegs", "OutSegs", "RetransSegs")
    if any(name not in counters for name in needed):
        return Where.undecided
    at_listener, in_input_queue, came, sent, sent_again = (counters[name] for name in needed)
    between = sent + sent_again - came
    if between == 0:
        return Where.listener
    if at_listener == 0:
        only = Where.path if in_input_queue == 0 else Where.input_queue
        return only if in_input_queue in (0, between) else Where.undecided
    # Ignored ACKs are counted as drops too, so with ghosts the sum would prove nothing.
    exact = in_input_queue == 0 and at_listener == lost.sum() and not np.any(life.is_ghost)
    return Where.listener if exact else Where.undecided
