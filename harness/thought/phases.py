"""A connection's life, cut into durations that sum to it, each with evidence of its own.

Lag counts where it delayed something: a client that saw its connection established late delayed nothing while the
server had not accepted it either.
"""

from __future__ import annotations

import numpy as np

from harness.events.kernel import TICK_US
from harness.events.rowtimes import Bools, Connections, Floats
from harness.plan import Load

PHASES = ("waiting_us", "syn_wait_us", "ghost_wait_us", "queue_wait_us", "service_us", "generator_lag_us")
TIMEOUTS = ("connect_timeout", "answer_timeout")


class Life:
    """The moments of each connection, µs from the run's start; shape (connections,) each, NaN where there is none."""

    def __init__(self, rows: Connections, load: Load, tick_us: float = TICK_US) -> None:
        self.tick_us = tick_us
        """The grain of what the kernel dates by its timer interrupt."""
        self.issued = rows["issued_us"]
        self.end = rows["closed_us"]
        self.reference = np.where(np.isnan(rows["scheduled_us"]), self.issued, rows["scheduled_us"])
        # With several requests each has a deadline of its own, which is not in this table.
        timeout_us = np.inf if load.connection_timeout_s is None else load.connection_timeout_s * 1e6
        self.deadline = self.reference + timeout_us
        self.timed_out: Bools = np.isin(rows.outcome, TIMEOUTS)
        self.answered: Bools = rows.outcome == "answered"
        self.surely_accepted: Bools = np.isin(rows.outcome, ("answered", "bad_answer", "closed_early"))
        """Only what was accepted can be sent anything, or be closed in good order."""
        self.seen = rows["established_us"]
        """When the client saw it established and sent its request."""
        # Dates in jiffies may lie a little before what they depend on.
        self.arrived = np.fmax(np.fmax(rows["arrived_us"], rows["accepted_us"]), self.issued)
        self.arrived[np.isnan(rows["arrived_us"])] = np.nan
        give_up = np.where(self.timed_out, np.minimum(self.end, self.deadline), self.end)
        self.stop = np.maximum(np.fmin(self.arrived, give_up), self.issued)
        """When the last thing happened that the client was waiting for, or it should have given up."""
        self.established = np.clip(np.fmin(rows["synack_us"], self.seen), self.issued, self.stop)
        """In the client's kernel."""
        self.by_jiffies: Bools = ~np.isnan(rows["synack_us"])
        """Whether that is known by the kernel's coarse clock only."""
        # The server may have it before a clock of jiffies says that the client could have sent its last ACK.
        self.established = np.maximum(self.issued, np.fmin(self.established, rows["accepted_us"]))
        sent_again = rows["total_retransmits"] > rows["syn_retransmits"]
        resent = rows["resent_us"]
        unacked = (rows["unacked"] > 0) & ~self.answered
        unheard = ~np.isnan(self.established) & ((sent_again & ~np.isnan(resent)) | unacked)
        arrived = rows["requests_arrived"]
        self.request_counted: Bools = ~np.isnan(arrived)
        sent = 1 + rows["total_retransmits"] - rows["syn_retransmits"]
        # A request that had come and was not acknowledged was ignored. One that never came was lost before TCP.
        self.request_lost: Bools = unheard & np.where(unacked, arrived == 0, arrived < sent)
        self.is_ghost: Bools = unheard & ~self.request_lost
        """Its last ACK was ignored: it had to send its request again, or was never heard."""
        through = np.where(unacked, np.inf, resent)
        self.entered = np.where(self.is_ghost, np.fmax(through, self.established), self.established)
        """In the server's accept queue; infinite where it never came to be."""
        # A SYN-ACK sent again may let the client's ACK in long before its request is sent again.
        self.entered = np.where(self.is_ghost, np.fmin(self.entered, rows["accepted_us"]), self.entered)
        self.free_at = _previous_end(rows)

    @property
    def lived(self) -> Bools:
        """Issued, and its end is known."""
        return ~np.isnan(self.end) & ~np.isnan(self.issued)


def cut(life: Life, accepted: Floats) -> dict[str, Floats]:
    """The durations of :data:`PHASES`, µs; for those that never lived all NaN, for the rest their sum is the life.

    ``accepted`` is infinite where the server never accepted it, and NaN where that is not known: then whatever it
    waited in the queue, or for the generator to ask, is within its service.
    """
    stop = life.stop
    due = np.clip(np.fmax(life.reference, life.free_at), life.reference, life.issued)
    established = np.where(np.isnan(life.established), stop, np.minimum(life.established, stop))
    entered = np.clip(np.fmax(life.entered, established), established, stop)
    left_queue = np.where(np.isnan(accepted), entered, np.clip(accepted, entered, stop))
    asked = np.clip(np.where(np.isnan(accepted), entered, np.fmax(life.seen, left_queue)), left_queue, stop)
    lag = (life.issued - due) + (asked - left_queue) + (life.end - stop)
    durations = (
        due - life.reference,
        established - life.issued,
        entered - established,
        left_queue - entered,
        stop - asked,
        lag,
    )
    return {name: np.where(life.lived, us, np.nan) for name, us in zip(PHASES, durations, strict=True)}


def _previous_end(rows: Connections) -> Floats:
    """When the client's connection before this one ended; NaN for its first."""
    client, attempt = rows["client"], rows["attempt"]
    previous = np.full(len(rows), np.nan)
    if not np.any(attempt > 1):
        return previous
    order = np.lexsort((attempt, client))
    same = client[order][1:] == client[order][:-1]
    previous[order[1:][same]] = rows["closed_us"][order[:-1][same]]
    return previous
