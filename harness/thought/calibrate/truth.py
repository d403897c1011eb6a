"""What is known of each connection from outside the columns that its cause is computed from.

A truth is an array of words, shape (connections,): the causes that are right, joined by ``|``; empty where this source
says nothing of a connection, which is not scored then.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.events.kernel import RTO_MIN_US
from harness.events.rowtimes import Floats
from harness.events.store import SERVER_LOG, SYNS_LOST
from harness.plan.slices import Pair
from harness.thought.summary import Summary
from harness.thought.traced import TraceEvents

BEFORE_ACCEPT, AFTER_ACCEPT = "reset/before accept", "reset/after accept"
"""Causes may be asked for with their details."""
Words = NDArray[np.object_]
UNSCORED = ""
LATENESS_US = 4_000
"""A generator that is late by more than this, of itself, may be what is found of a connection that was well."""
MARGIN_US = 30_000
"""Times from two sources that lie nearer than this are not told apart."""


@dataclass(frozen=True)
class Witness:
    """A run, and what others than its own evidence say of it."""

    summary: Summary

    @functools.cached_property
    def pairs(self) -> list[Pair]:
        table = self.summary.connections
        return list(zip(table["local_address"].to_pylist(), table["local_port"].to_pylist(), strict=True))

    @functools.cached_property
    def log(self) -> list[list[str]]:
        """The lines of the faulty server, as words."""
        text = (self.summary.run.path / SERVER_LOG).read_text(errors="replace")
        lines = [line.split() for line in text.splitlines()]
        return [line for line in lines if len(line) in (2, 4) and line[1].isdigit()]  # not what its runtime said

    @functools.cached_property
    def events(self) -> TraceEvents:
        """What the kernel's tracepoints saw; only of a storm that was traced."""
        trace = self.summary.run.trace()
        assert trace is not None
        return TraceEvents(self.summary.connections, trace)

    def moments(self, word: str) -> Floats:
        """When the server's log has this of each connection, µs from the run's start; NaN where it has not."""
        start_ns = self.summary.run.manifest["start_ns"]
        said = {(line[2], int(line[3])): (int(line[1]) - start_ns) / 1000 for line in self.log if line[0] == word}
        return np.array([said.get(pair, np.nan) for pair in self.pairs])

    def column(self, name: str) -> Floats:
        return np.asarray(self.summary.connections[name].to_numpy(), np.float64)

    @property
    def outcomes(self) -> Words:
        return np.asarray(self.summary.connections["outcome"].to_pylist(), object)

    @property
    def syns_lost(self) -> NDArray[np.int64]:
        """How many SYNs of each connection nftables threw away on purpose."""
        thrown = json.loads((self.summary.run.path / SYNS_LOST).read_text())
        by_pair = {(address, port): number for address, port, number in thrown}
        return np.array([by_pair.get(pair, 0) for pair in self.pairs], np.int64)

    @property
    def counters(self) -> dict[str, int]:
        counters: dict[str, int] = self.summary.run.manifest["kernel"]["counters"]
        return counters

    def all(self, words: str) -> Words:
        return np.full(len(self.pairs), words, object)


Truth = Callable[[Witness], Words]


def by_log(cause: str) -> Truth:
    """All that the server's log has accepted came to this."""

    def truth(witness: Witness) -> Words:
        accepted = ~np.isnan(witness.moments("accepted"))
        return np.where(accepted & ~_generator_late(witness), cause, UNSCORED).astype(object)

    return truth


def answered_at_once(witness: Witness) -> Words:
    """What the log has answered was clean."""
    answered = ~np.isnan(witness.moments("did"))
    return np.where(answered & ~_generator_late(witness), "clean", UNSCORED).astype(object)


def _generator_late(witness: Witness) -> NDArray[np.bool_]:
    """Whether by two clocks the generator was late of itself: in its slot, in asking, or in reading."""
    late = witness.column("issued_us") - witness.column("scheduled_us") > LATENESS_US
    late |= witness.column("established_us") - witness.moments("accepted") > LATENESS_US
    late |= witness.column("closed_us") - witness.moments("did") > LATENESS_US
    return np.asarray(late)


def all_are(cause: str) -> Truth:
    """Nothing else can happen to any of them."""
    return lambda witness: witness.all(cause)


def accepted_or(cause: str) -> Truth:
    """What the server's log has accepted was answered at once; nothing ever came of the others."""

    def truth(witness: Witness) -> Words:
        accepted = ~np.isnan(witness.moments("accepted"))
        return np.where(accepted, "clean", cause).astype(object)

    return truth


def answered_after(timeout_s: float) -> Truth:
    """The log says when each was answered: in time, or not."""

    def truth(witness: Witness) -> Words:
        answered_us = witness.moments("did") - witness.column("issued_us")
        late = np.isnan(answered_us) | (answered_us > timeout_s * 1e6)
        near = np.abs(answered_us - timeout_s * 1e6) < MARGIN_US
        return np.where(near, UNSCORED, np.where(late, "slow_answer", "clean")).astype(object)

    return truth


def slowly_accepted(witness: Witness) -> Words:
    """The log dates accept(); nothing is answered, so a life is the wait in the queue, then that for an answer."""
    issued, accepted = witness.column("issued_us"), witness.moments("accepted")
    given_up = issued + witness.summary.load.timeout_s * 1e6
    queue, service = np.minimum(accepted, given_up) - issued, given_up - accepted
    words = np.where(queue > service, "slow_accept", "slow_answer")
    near = (np.abs(queue - service) < MARGIN_US) | (np.abs(service) < MARGIN_US)
    never = np.isnan(accepted) | (accepted > given_up)
    return np.where(near, UNSCORED, np.where(never, "never_accepted", words)).astype(object)


def never_resumed(witness: Witness) -> Words:
    """A server that is stopped for longer than its clients wait: the first backlog + 1 are let in, none is accepted.

    All are issued from one CPU, in order; nothing is lost before TCP by a burst that fits into the input queue.
    """
    if witness.counters["lo_rx_dropped"]:
        return witness.all(UNSCORED)
    return _first_in(witness, "never_accepted", "syn_dropped")


def first_in_are_clean(witness: Witness) -> Words:
    """A server that goes on: the first backlog + 1 are answered without a retransmission.

    Of the others every first SYN was dropped. Whether they waited longer for a SYN-ACK or as ghosts is not decided by
    construction.
    """
    if witness.counters["lo_rx_dropped"]:
        return witness.all(UNSCORED)
    return _first_in(witness, "clean", "syn_dropped|ghost")


def _first_in(witness: Witness, first: str, others: str) -> Words:
    backlog = witness.summary.run.manifest["server"]["backlog_effective"]
    rank = np.argsort(np.argsort(witness.column("issued_us"), kind="stable"), kind="stable")
    return np.where(rank <= backlog, first, others).astype(object)


def lost_on_the_way(witness: Witness) -> Words:
    """nftables counted which SYNs it threw away; the listener had room for all others."""
    if witness.counters["ListenDrops"] or witness.counters["lo_rx_dropped"]:
        return witness.all(UNSCORED)
    return np.where(witness.syns_lost > 0, "path_loss", answered_at_once(witness)).astype(object)


def lost_on_the_way_or_dropped(witness: Witness) -> Words:
    """Some SYNs thrown away on the way, the rest dropped by a stopped server's listener: the majority decides.

    The server is stopped throughout, so a connection beyond the first in has lost every SYN that it sent.
    """
    if witness.counters["lo_rx_dropped"]:
        return witness.all(UNSCORED)
    sent = 1 + witness.column("total_retransmits")
    on_the_way = witness.syns_lost
    dropped = sent - on_the_way
    words = np.where(on_the_way > dropped, "path_loss", np.where(on_the_way < dropped, "syn_dropped", UNSCORED))
    established = ~np.isnan(witness.column("established_us"))
    return np.where(established, UNSCORED, words).astype(object)


def paused_in_open_loop(witness: Witness) -> Words:
    """Slots that fell into the pause were late; those that were over before it began, or began after it, were not.

    The log says when each was answered: where that was sooner after the pause than its slot was before the pause's end,
    lateness was the longest part of its life. The rest may be called clean for the time that the burst took after it.
    """
    began, ended = witness.summary.run.manifest["clients_paused_us"]
    slot, closed = witness.column("scheduled_us"), witness.column("closed_us")
    late = (slot > began) & (slot < ended - MARGIN_US)
    longest = ended - slot > witness.moments("did") - ended
    lateness = np.where(longest, "client_late", "client_late|clean")
    before = closed < began - MARGIN_US
    return np.where(late, lateness, np.where(before, answered_at_once(witness), UNSCORED)).astype(object)


def paused_with_answers_waiting(witness: Witness) -> Words:
    """Answers that the server's log has in the pause lay there until its end; that is longer than they took, or not."""
    began, ended = witness.summary.run.manifest["clients_paused_us"]
    answered, issued = witness.moments("did"), witness.column("issued_us")
    waited = (answered > began) & (issued < began)
    lag, service = ended - answered, answered - issued
    longer = np.where(lag > service + MARGIN_US, "client_late", np.where(lag < service - MARGIN_US, "clean", UNSCORED))
    return np.where(waited & (lag > MARGIN_US), longer, UNSCORED).astype(object)


def left_the_queue(witness: Witness) -> Words:
    """The listening socket was closed: what the log has accepted was answered, what was in the queue reset, the rest
    refused.
    """
    left = [int(line[1]) for line in witness.log if line[0] == "left"]
    if not left:
        return witness.all(UNSCORED)
    left_us = (left[0] - witness.summary.run.manifest["start_ns"]) / 1000
    issued, accepted = witness.column("issued_us"), ~np.isnan(witness.moments("accepted"))
    words = np.where(
        issued < left_us - MARGIN_US, BEFORE_ACCEPT, np.where(issued > left_us + MARGIN_US, "refused", UNSCORED)
    )
    return np.where(accepted, answered_at_once(witness), words).astype(object)


def reset_by_kernel(witness: Witness) -> Words:
    """The trace: the client's half went from established to closed at once, which is a reset, and the server's half was
    never made, so it came before accept.
    """
    events = witness.events
    cut_off = ~np.isnan(events.first("inet_sock_set_state", "client", "ESTABLISHED>CLOSE"))
    never_entered = np.isnan(events.first("inet_sock_set_state", "server", "LISTEN>SYN_RECV"))
    return np.where(cut_off & never_entered, BEFORE_ACCEPT, by_trace(witness)).astype(object)


def by_trace(witness: Witness) -> Words:
    """The kernel's tracepoints say when each was issued, established, in the queue and over, and what was sent again.

    Of a connection that was answered after a retransmission the longer of its two waits is the truth; of its lost SYNs
    the trace knows those that the input queue dropped, and the listener dropped the others: nothing is lost on the way.
    Of what a client gave up its plan says when.
    """
    events = witness.events
    issued = events.first("inet_sock_set_state", "client", "CLOSE>SYN_SENT")
    established = events.first("inet_sock_set_state", "client", "SYN_SENT>ESTABLISHED")
    entered = events.first("inet_sock_set_state", "server", "LISTEN>SYN_RECV")
    over = issued + witness.summary.load.timeout_s * 1e6
    for last in ("SYN_SENT>CLOSE", "ESTABLISHED>CLOSE", "FIN_WAIT2>CLOSE", "LAST_ACK>CLOSE"):
        over = np.fmin(over, events.first("inet_sock_set_state", "client", last))
    again = events.count("tcp_retransmit_skb", "client", "", over)
    syns_again = events.count("tcp_retransmit_skb", "client", "SYN_SENT", over)
    in_input_queue = events.count("kfree_skb", "client", "CPU_BACKLOG SYN_SENT", over)

    never = np.isnan(established) | (established > over)
    syn_wait = np.where(never, over, established) - issued
    ghost_wait = np.where(never, 0, np.fmin(entered, over) - established)
    at_listener = syns_again + never - in_input_queue
    syn = np.where(at_listener > in_input_queue, "syn_dropped", "input_queue_dropped")
    syn = np.where(at_listener == in_input_queue, "syn_dropped|input_queue_dropped", syn)
    words = np.where(syn_wait > ghost_wait, syn, "ghost")
    words = np.where(np.abs(syn_wait - ghost_wait) < MARGIN_US, UNSCORED, words)
    # Whether an answer lay there for a while before it was read, the trace does not tell: only that it had no time to.
    late = over - np.fmax(entered, established) > LATENESS_US
    answered = witness.outcomes == "answered"
    clean = np.where(late, "clean|client_late", "clean")
    words = np.where(answered, np.where(again == 0, clean, words), words)
    # What entered the queue and was not answered in time: not told by the network.
    return np.where(np.isnan(issued) | (~answered & (entered <= over)), UNSCORED, words).astype(object)


def accepted_or_queued(witness: Witness) -> Words:
    """What the server's log has accepted was answered at once; all others lie in a queue that nobody takes from."""
    accepted = ~np.isnan(witness.moments("accepted"))
    return np.where(accepted, answered_at_once(witness), "never_accepted").astype(object)


def cut_off_in_the_queue(witness: Witness) -> Words:
    """The listening socket was closed and opened again: what the log has not accepted, and was there before, was reset
    in the queue, or refused in the instant between.
    """
    changed = [int(line[1]) for line in witness.log if line[0] == "changed"]
    if not changed:
        return witness.all(UNSCORED)
    changed_us = (changed[0] - witness.summary.run.manifest["start_ns"]) / 1000
    accepted = ~np.isnan(witness.moments("accepted"))
    before = witness.column("issued_us") < changed_us - MARGIN_US
    return np.where(accepted, answered_at_once(witness), np.where(before, BEFORE_ACCEPT, UNSCORED)).astype(object)


def lost_by_firewall(witness: Witness) -> Words:
    """The server's firewall says whose packets it lost; there was room in every queue for all others.

    What was answered sooner than a retransmission timeout lost nothing by it: tail loss probes take milliseconds.
    """
    if witness.counters["ListenDrops"] or witness.counters["lo_rx_dropped"]:
        return witness.all(UNSCORED)
    lost = {(line[2], int(line[3])) for line in witness.log if line[0] == "lost"}
    of_them = np.array([pair in lost for pair in witness.pairs], np.bool_)
    soon = witness.column("closed_us") - witness.column("issued_us") < RTO_MIN_US
    word = np.where(soon, "path_loss|clean", "path_loss")
    return np.where(of_them, word, answered_at_once(witness)).astype(object)


def lost_by_firewall_or_traced(witness: Witness) -> Words:
    """The same where queues were full too: the trace tells what became of those that the firewall let pass."""
    lost = {(line[2], int(line[3])) for line in witness.log if line[0] == "lost"}
    of_them = np.array([pair in lost for pair in witness.pairs], np.bool_)
    # What lost a SYN or an ACK to a full queue as well, and its request to the firewall: not told which was longer.
    dropped = witness.events.count("tcp_retransmit_skb", "client", "SYN_SENT", np.full(len(of_them), np.inf)) > 0
    entered = witness.events.first("inet_sock_set_state", "server", "LISTEN>SYN_RECV")
    established = witness.events.first("inet_sock_set_state", "client", "SYN_SENT>ESTABLISHED")
    dropped |= ~(entered - established < MARGIN_US)
    return np.where(of_them, np.where(dropped, UNSCORED, "path_loss"), by_trace(witness)).astype(object)


def expected(words: str) -> frozenset[str]:
    """The causes that a truth allows."""
    return frozenset(words.split("|"))
