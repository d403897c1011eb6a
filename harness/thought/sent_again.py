"""Who sent something again, and why: requests that were ignored, requests that were lost, answers that were lost.

A request is sent again where the last ACK was ignored and there is no connection to take it (a ghost), and where it was
lost on its way. With the ledger each is told by how many of its copies reached TCP. Without it the namespace's totals
say whether more can have been lost than they leave room for. What the server sent again no row has: only the totals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.events.kernel import RESENT_FROM_US, RTO_MIN_US
from harness.events.rowtimes import Bools, Connections
from harness.thought.lost_syns import losses
from harness.thought.phases import Life

DOUBTFUL_SHARE = 0.01
"""Where ghosts are not told one by one, so many of them may be requests that were lost."""

RARE_SHARE = 0.001
"""A segment that the server sent again is one connection's, of all that were answered: for one among more than a
thousand none is doubted. A single tail loss probe is not rare where answers leave in a burst."""


@dataclass(frozen=True, slots=True)
class SentAgain:
    """Shape (connections,) each."""

    is_ghost: Bools
    request_lost: Bools
    """Of what it asked, not every copy reached TCP."""
    doubtful: Bools
    """One of the two."""
    by_server: Bools
    """It took long enough for its answer to have been lost and sent again, and some were."""


def sent_again(rows: Connections, life: Life, counters: Mapping[str, int]) -> SentAgain:
    ignored = counters.get("ListenOverflows") != 0
    doubtful = life.is_ghost & ~life.request_counted & _requests_were_lost(rows, life, counters)
    ended = life.answered | life.timed_out
    slow = ended & (rows["total_retransmits"] == 0) & (life.end - life.issued > RESENT_FROM_US)
    by_server = slow & (_unaccounted(rows, life, counters) > RARE_SHARE * np.count_nonzero(life.answered))
    return SentAgain(life.is_ghost & ~doubtful & ignored, life.request_lost, doubtful, by_server)


def _requests_were_lost(rows: Connections, life: Life, counters: Mapping[str, int]) -> bool:
    """Whether more segments were lost on their way than SYNs and SYN-ACKs account for, by the namespace's totals.

    Client and server share it: each segment that was sent comes in again. Some are on their way when it is read.
    """
    needed = ("InSegs", "InErrs", "OutSegs", "RetransSegs")
    found = losses(rows, life)
    if any(name not in counters for name in needed) or not found.known:
        return False
    came, in_error, sent, again = (counters[name] for name in needed)
    of_syns = sum(np.nansum(part) for part in (found.before_leaving, found.before_tcp, found.answers))
    return bool(sent + again - came - in_error - of_syns > DOUBTFUL_SHARE * np.count_nonzero(life.is_ghost))


def _unaccounted(rows: Connections, life: Life, counters: Mapping[str, int]) -> float:
    """Segments other than SYNs and SYN-ACKs that the namespace sent again, and no row did."""
    if "RetransSegs" not in counters or "TCPSynRetrans" not in counters:
        return 0
    of_rows = np.nansum(np.where(np.isnan(life.established), 0, rows["total_retransmits"] - rows["syn_retransmits"]))
    return float(counters["RetransSegs"] - counters["TCPSynRetrans"] - of_rows - _after_their_end(rows, life))


def _after_their_end(rows: Connections, life: Life) -> float:
    """As often as the kernel can have sent again, until the last end, what clients had given up: twice as late each
    time, and once more as a probe (tcp_send_loss_probe).
    """
    given_up = (rows["unacked"] > 0) & life.lived
    if not np.any(given_up):
        return 0
    left_us = np.max(life.end[life.lived]) - life.end[given_up]
    return float(np.sum(1 + np.floor(np.log2(1 + left_us / RTO_MIN_US))))
