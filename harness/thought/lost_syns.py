"""Where the SYNs of each connection were lost: at the listener, in this host's input queue, or on the way.

With the ledger each connection is decided by its own counts. Without it only the totals of the namespace are there, and
they decide only where they leave no choice.
"""

from __future__ import annotations

from collections.abc import Mapping
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


def lost_syns(rows: Connections, life: Life, counters: Mapping[str, int]) -> npt.NDArray[np.int64]:
    """A member of :class:`Where` for each connection; shape (connections,)."""
    established = ~np.isnan(life.established)
    retransmits = np.where(established, rows["syn_retransmits"], rows["total_retransmits"])
    lost = np.where(established, retransmits, retransmits + 1)
    lost = np.where(np.isnan(lost) | np.isnan(life.issued), 0, lost)
    # What was refused or reset was answered, after however many retransmissions.
    lost = np.where(np.isin(rows.outcome, ("refused", "reset")) & ~established, retransmits, lost)
    arrived = rows["syns_arrived"]
    counted = ~np.isnan(arrived)
    found = np.full(len(rows), _by_totals(lost, life, counters), np.int64)
    found = np.where(counted, _by_ledger(rows, life, retransmits, counters), found)
    return np.where(lost > 0, found, Where.nowhere)


def _by_ledger(
    rows: Connections, life: Life, retransmits: Floats, counters: Mapping[str, int]
) -> npt.NDArray[np.int64]:
    left, arrived, answered = rows["syns_left"], rows["syns_arrived"], rows["synacks_sent"]
    established = ~np.isnan(life.established)
    before_leaving = np.maximum(np.nan_to_num(1 + retransmits - left), 0)
    before_tcp = left - arrived
    # One SYN of an established connection was answered; more SYN-ACKs than that are lost ones, or, towards a client
    # whose last ACK was ignored, the server's own retransmissions.
    unanswered = np.where(established, arrived - 1, arrived)
    lost_answers = np.where(established, np.where(life.is_ghost, 0, answered - 1), answered)
    lost_answers = np.clip(np.nan_to_num(lost_answers), 0, np.maximum(unanswered, 0))
    at_listener = np.maximum(unanswered - lost_answers, 0)
    on_this_host = before_tcp + lost_answers
    whose = _input_queue_or_path(before_tcp, counters)
    amounts = np.stack([at_listener, on_this_host, before_leaving])
    codes = np.array([Where.listener, whose, Where.path])
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
