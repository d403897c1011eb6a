"""One word for each connection, from CONTRACT's text: literal rows go in, cause, detail and phases come out."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from harness.events.rows import LEDGER_COLUMNS
from harness.events.tables import CONNECTIONS, OUTCOMES, schema
from harness.plan import Load
from harness.thought.cause import CAUSES, COLUMNS, RULES_VERSION, Circumstances, causes, counts
from harness.thought.phases import PHASES
from tests.tables import (
    DISTURBED,
    Row,
    answered,
    connections,
    never_established,
    not_issued,
    queue,
    samples,
    unanswered,
    without_ledger,
)

S = 1_000_000
FULL_QUEUE = {"ListenOverflows": 9, "ListenDrops": 9, "TCPReqQFullDrop": 0, "lo_rx_dropped": 0}
"""What the kernel counts while an accept queue is full."""
ABOUT = Circumstances(
    load=Load(clients=1, timeout_s=10), counters=FULL_QUEUE, target="127.0.0.1", accept_stamp="accept"
)


def counting(**counters: int) -> Circumstances:
    return replace(ABOUT, counters={**FULL_QUEUE, **counters})


def explained(
    *rows: Mapping[str, Any], about: Circumstances = ABOUT, seen: pa.Table | None = None
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = causes(connections(*rows), seen, about).to_pylist()
    return found


def cause_of(row: Mapping[str, Any], about: Circumstances = ABOUT, seen: pa.Table | None = None) -> str:
    (found,) = explained(row, about=about, seen=seen)
    return str(found["cause"])


def phases_of(row: Mapping[str, Any], about: Circumstances = ABOUT, seen: pa.Table | None = None) -> dict[str, int]:
    """The phases that are not zero, in µs."""
    (found,) = explained(row, about=about, seen=seen)
    return {name.removesuffix("_us"): found[name] for name in PHASES if found[name] != 0}


LOST_AT_THE_LISTENER = answered(
    established_us=1 * S + 1_100,
    accepted_us=1 * S + 2_000,
    first_byte_us=1 * S + 4_900,
    closed_us=1 * S + 5_000,
    syn_retransmits=1,
    total_retransmits=1,
    syns_left=2,
    syns_arrived=2,
)
"""Its first SYN was dropped, the second a second later got through; answered."""
LOST_BEFORE_TCP = {**LOST_AT_THE_LISTENER, "syns_arrived": 1}
LATE_GHOST = answered(
    resent_us=200_000, accepted_us=205_000, first_byte_us=209_000, closed_us=210_000, total_retransmits=1
)
"""Its last ACK was ignored; its request, sent again after 199 ms, brought it into the queue."""
NEVER_HEARD = unanswered(unacked=1, total_retransmits=5, resent_us=6 * S)
CUT_SHORT = unanswered(outcome="other_error", closed_us=None, total_retransmits=None, unacked=None)
"""Its agent was killed: the columns that are written at the end are null."""
IN_THE_QUEUE = samples(*queue((0, 12_000, 1)))
"""One connection in the queue, all the time."""
EMPTY_QUEUE = samples(*queue((0, 12_000, 0)))


# ---- the words ---------------------------------------------------------------------------------------------------


def test_the_words_are_the_contracts_in_its_order() -> None:
    assert (
        *("client_out_of_files", "client_out_of_ports", "client_late", "refused", "reset", "closed_early"),
        *("bad_answer", "syn_dropped", "input_queue_dropped", "path_loss", "ghost", "never_accepted"),
        *("slow_accept", "slow_answer", "clean", "unknown"),
    ) == CAUSES


def test_the_table_has_the_columns_of_the_contract_and_its_rules_version() -> None:
    table = causes(connections(answered()), None, ABOUT)
    assert {"connection", "cause", "detail", *PHASES} <= set(table.column_names)
    assert table.schema.equals(schema(COLUMNS))
    assert table.schema.metadata[b"rules_version"] == str(RULES_VERSION).encode()


def test_every_word_is_counted_also_where_it_is_nobodys() -> None:
    table = causes(connections(answered(), answered(), NEVER_HEARD), None, ABOUT)
    assert counts(table) == {**dict.fromkeys(CAUSES, 0), "clean": 2, "ghost": 1}


def test_no_connections_have_no_causes() -> None:
    table = causes(connections(), None, ABOUT)
    assert len(table) == 0
    assert sum(counts(table).values()) == 0


# ---- clean -------------------------------------------------------------------------------------------------------


def test_answered_at_the_first_try_is_clean_and_its_phases_are_its_stamps() -> None:
    assert cause_of(answered()) == "clean"
    assert phases_of(answered()) == {"syn_wait": 100, "queue_wait": 900, "service": 3_000}


@pytest.mark.parametrize(
    ("accepted_us", "longest"), [(8 * S, "queue_wait"), (2_000, "service")], ids=["queued", "served"]
)
def test_clean_however_long_it_took(accepted_us: int, longest: str) -> None:
    row = answered(accepted_us=accepted_us, first_byte_us=9 * S, closed_us=9 * S)
    assert cause_of(row) == "clean"
    phases = phases_of(row)
    assert max(phases, key=lambda name: phases[name]) == longest


def test_clean_needs_no_evidence_of_its_accept() -> None:
    row = without_ledger(answered(accepted_us=None))
    (found,) = explained(row)
    assert found["cause"] == "clean"
    assert found["accept_evidence"] == "none"
    assert found["queue_wait_us"] == 0, "what it waited in the queue is not known"


# ---- the client --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (errno.EMFILE, "client_out_of_files"),
        (errno.ENFILE, "client_out_of_files"),
        (errno.EADDRNOTAVAIL, "client_out_of_ports"),
    ],
)
def test_what_never_left_the_client_for_lack_of_files_or_ports(code: int, word: str) -> None:
    row = not_issued(attempt=1, errno=code)
    assert cause_of(row) == word
    assert set(phases_of(row).values()) == {None}, "it had no life to cut"


def test_late_behind_its_slot() -> None:
    row = answered(
        scheduled_us=0, issued_us=6 * S, established_us=6 * S + 100, accepted_us=None, first_byte_us=None
    ) | {"closed_us": 6 * S + 50_000}
    assert cause_of(row) == "client_late"
    assert phases_of(row) == {"generator_lag": 6 * S, "syn_wait": 100, "service": 49_900}


def test_a_burst_has_no_slot_to_be_late_behind() -> None:
    later = {name: 6 * S + us for name, us in answered().items() if name.endswith("_us")}
    assert cause_of(answered(**later)) == "clean"
    assert "generator_lag" not in phases_of(answered(**later))


def test_late_behind_readiness() -> None:
    """The answer lay in the client's kernel for six seconds."""
    row = answered(arrived_us=2 * S, first_byte_us=8 * S, closed_us=8 * S)
    assert cause_of(row) == "client_late"
    assert phases_of(row)["generator_lag"] == 6 * S


@pytest.mark.parametrize("slot_us", [None, 1_000])
def test_an_answer_that_was_there_in_time_and_read_too_late(slot_us: int | None) -> None:
    row = unanswered(
        scheduled_us=slot_us, accepted_us=2_000, arrived_us=9_900_000, first_byte_us=10_200_000, closed_us=10_200_000
    )
    phases = phases_of(row)
    assert phases["generator_lag"] < phases["service"], "lag is not its longest phase"
    assert cause_of(row) == "client_late"


def test_lag_behind_its_slot_that_alone_made_the_answer_late() -> None:
    """Issued half a second late, its answer came 0.2 s after the deadline."""
    row = unanswered(
        scheduled_us=0,
        issued_us=500_000,
        established_us=500_100,
        accepted_us=501_000,
        arrived_us=10_200_000,
        first_byte_us=10_300_000,
        closed_us=10_300_000,
    )
    assert cause_of(row) == "client_late"


def test_an_answer_after_the_deadline_is_not_the_clients_fault() -> None:
    """That the client came to see it even later made no difference."""
    row = unanswered(
        issued_us=0,
        accepted_us=2_000,
        arrived_us=10_200_000,
        first_byte_us=10_300_000,
        closed_us=10_300_000,
    )
    assert cause_of(row) == "slow_answer"


def test_lag_delays_nothing_while_the_server_has_not_accepted() -> None:
    """Established in the kernel at once, seen by the client three seconds later, accepted after that."""
    row = answered(
        synack_us=1_100, established_us=3 * S, accepted_us=4 * S, first_byte_us=4 * S + 10, closed_us=4 * S + 10
    )
    assert cause_of(row) == "clean"
    assert "generator_lag" not in phases_of(row)


def test_lag_counts_from_the_accept_where_the_server_waited_for_the_request() -> None:
    row = answered(synack_us=1_100, established_us=3 * S, accepted_us=2_000, first_byte_us=3 * S + 10) | {
        "closed_us": 3 * S + 10
    }
    assert cause_of(row) == "client_late"
    assert phases_of(row) == {"syn_wait": 100, "queue_wait": 900, "generator_lag": 3 * S - 2_000, "service": 10}


def test_issued_after_its_deadline_no_phase_is_negative() -> None:
    """A generator that is late by more than a whole timeout."""
    row = never_established(
        scheduled_us=0, issued_us=12 * S, closed_us=12 * S + 50, total_retransmits=0, syns_left=1, syns_arrived=1
    )
    phases = phases_of(row)
    assert min(phases.values()) >= 0
    assert sum(phases.values()) == 12 * S + 50
    assert cause_of(row) == "client_late"


# ---- how it ended ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "family"), [("127.0.0.1", "IPv4"), ("::1", "IPv6")])
def test_refused_says_the_address_and_family_nobody_listened_on(target: str, family: str) -> None:
    row = never_established(closed_us=1_050, errno=errno.ECONNREFUSED, outcome="refused", total_retransmits=0)
    (found,) = explained(row, about=replace(ABOUT, target=target))
    assert found["cause"] == "refused"
    assert target in found["detail"]
    assert family in found["detail"]


@pytest.mark.parametrize("outcome", ["reset", "closed_early", "bad_answer"])
def test_outcomes_that_are_their_own_cause(outcome: str) -> None:
    """With bytes of an answer it had been accepted."""
    row = answered(outcome=outcome, accepted_us=None, status=503, bytes_received=12)
    (found,) = explained(row)
    assert found["cause"] == outcome
    assert "after accept" in found["detail"]
    assert ("503" in found["detail"]) == (outcome == "bad_answer")


def test_what_is_not_http_has_no_status() -> None:
    (found,) = explained(answered(outcome="bad_answer", status=None))
    assert "not HTTP" in found["detail"]


def test_reset_in_the_queue_is_before_accept() -> None:
    (found,) = explained(unanswered(outcome="reset", closed_us=1 * S), seen=IN_THE_QUEUE)
    assert found["cause"] == "reset"
    assert "before accept" in found["detail"]


def test_reset_with_an_empty_queue_and_by_nobody_but_the_server_is_after_accept() -> None:
    row = unanswered(outcome="reset", closed_us=1 * S)
    (found,) = explained(row, about=counting(EmbryonicRsts=0), seen=EMPTY_QUEUE)
    assert "after accept" in found["detail"]


def test_reset_without_evidence_of_its_accept_neither_is_said() -> None:
    (found,) = explained(unanswered(outcome="reset", closed_us=1 * S))
    assert found["cause"] == "reset"
    assert "before accept" not in found["detail"]
    assert "after accept" not in found["detail"]


# ---- lost SYNs, each counted -------------------------------------------------------------------------------------


def test_dropped_by_the_listener_and_answered_after_all() -> None:
    assert cause_of(LOST_AT_THE_LISTENER) == "syn_dropped"
    assert phases_of(LOST_AT_THE_LISTENER) == {"syn_wait": 1 * S + 100, "queue_wait": 900, "service": 3_000}


def test_dropped_by_the_listener_until_the_client_gave_up() -> None:
    assert cause_of(never_established()) == "syn_dropped"
    assert phases_of(never_established()) == {"syn_wait": 10 * S}


def test_which_queue_of_the_listener_was_full_is_in_the_detail() -> None:
    (accept_queue,) = explained(never_established())
    assert "accept queue full" in accept_queue["detail"]
    (syn_queue,) = explained(never_established(), about=counting(ListenOverflows=0, TCPReqQFullDrop=7))
    assert "SYN queue full" in syn_queue["detail"]
    assert "accept queue" not in syn_queue["detail"]


def test_lost_in_the_input_queue_which_counts_what_it_drops() -> None:
    assert cause_of(LOST_BEFORE_TCP, counting(lo_rx_dropped=1)) == "input_queue_dropped"
    assert cause_of(LOST_BEFORE_TCP, counting(lo_rx_dropped=400)) == "input_queue_dropped", "not only SYNs are lost"
    gone = never_established(syns_arrived=0)
    assert cause_of(gone, counting(lo_rx_dropped=3)) == "input_queue_dropped"


def test_lost_on_the_way_where_the_input_queue_dropped_nothing() -> None:
    assert cause_of(LOST_BEFORE_TCP, counting(lo_rx_dropped=0)) == "path_loss"
    never_left = {**LOST_AT_THE_LISTENER, "syns_left": 1, "syns_arrived": 1}
    assert cause_of(never_left) == "path_loss"


def test_more_were_lost_than_the_input_queue_dropped_it_is_not_known_whose() -> None:
    rows = [LOST_BEFORE_TCP] * 3
    assert {row["cause"] for row in explained(*rows, about=counting(lo_rx_dropped=2))} == {"unknown"}
    assert {row["cause"] for row in explained(*rows, about=counting(lo_rx_dropped=3))} == {"input_queue_dropped"}


@pytest.mark.parametrize(
    ("arrived", "word"), [(4, "syn_dropped"), (3, "syn_dropped"), (1, "input_queue_dropped")], ids=str
)
def test_lost_in_several_places_where_most_were_lost(arrived: int, word: str) -> None:
    row = LOST_AT_THE_LISTENER | {
        "established_us": 7 * S,
        "accepted_us": 7 * S + 100,
        "first_byte_us": 7 * S + 200,
        "closed_us": 7 * S + 200,
        "syn_retransmits": 3,
        "total_retransmits": 3,
        "syns_left": 4,
        "syns_arrived": arrived,
    }
    assert cause_of(row, counting(lo_rx_dropped=5)) == word


def test_answered_syns_whose_answer_was_lost_are_not_the_listeners() -> None:
    """Two SYNs arrived, both were answered, one SYN-ACK was lost on this host."""
    row = {**LOST_AT_THE_LISTENER, "synacks_sent": 2}
    assert cause_of(row, counting(lo_rx_dropped=1)) != "syn_dropped"


# ---- lost SYNs, totals only --------------------------------------------------------------------------------------

NOTHING_LOST_BETWEEN = {"InSegs": 1_000, "OutSegs": 990, "RetransSegs": 10}
TEN_LOST_BETWEEN = {"InSegs": 990, "OutSegs": 990, "RetransSegs": 10}


@pytest.mark.parametrize(
    ("counters", "word"),
    [
        ({"ListenDrops": 1, "lo_rx_dropped": 0, **NOTHING_LOST_BETWEEN}, "syn_dropped"),
        ({"ListenDrops": 0, "lo_rx_dropped": 10, **TEN_LOST_BETWEEN}, "input_queue_dropped"),
        ({"ListenDrops": 0, "lo_rx_dropped": 0, **TEN_LOST_BETWEEN}, "path_loss"),
        ({"ListenDrops": 9, "lo_rx_dropped": 10, **TEN_LOST_BETWEEN}, "unknown"),
        ({"ListenDrops": 0, "lo_rx_dropped": 4, **TEN_LOST_BETWEEN}, "unknown"),
        ({"ListenDrops": 9, "lo_rx_dropped": 10}, "unknown"),
    ],
    ids=["listener alone", "input queue alone", "path alone", "two of them", "part of it", "too few counters"],
)
@pytest.mark.parametrize("row", [LOST_AT_THE_LISTENER, never_established()], ids=["answered", "given up"])
def test_totals_decide_only_where_they_leave_no_choice(
    row: dict[str, Any], counters: dict[str, int], word: str
) -> None:
    about = replace(ABOUT, counters={"ListenOverflows": counters["ListenDrops"], "TCPReqQFullDrop": 0, **counters})
    assert cause_of(without_ledger(row), about) == word


def test_without_ledger_and_counters_a_lost_syn_is_unknown() -> None:
    for row in (LOST_AT_THE_LISTENER, never_established()):
        (found,) = explained(without_ledger(row), about=replace(ABOUT, counters={}))
        assert found["cause"] == "unknown"
        assert found["detail"], "it says why"
        assert found["syn_wait_us"] >= 1 * S, "its phases are known all the same"


def test_the_ledger_decides_what_totals_leave_open() -> None:
    about = replace(ABOUT, counters={"ListenDrops": 9, "lo_rx_dropped": 10, "ListenOverflows": 9, **TEN_LOST_BETWEEN})
    assert cause_of(without_ledger(LOST_AT_THE_LISTENER), about) == "unknown"
    assert cause_of(LOST_AT_THE_LISTENER, about) == "syn_dropped"
    assert cause_of(LOST_BEFORE_TCP, about) == "input_queue_dropped"


# ---- ghosts ------------------------------------------------------------------------------------------------------


def test_a_ghost_that_was_answered_late() -> None:
    assert cause_of(LATE_GHOST) == "ghost"
    phases = phases_of(LATE_GHOST)
    assert phases == {"syn_wait": 100, "ghost_wait": 198_900, "queue_wait": 5_000, "service": 5_000}


def test_a_ghost_that_was_never_answered() -> None:
    assert cause_of(NEVER_HEARD) == "ghost"
    assert phases_of(NEVER_HEARD) == {"syn_wait": 100, "ghost_wait": 10 * S - 100}
    assert cause_of(NEVER_HEARD, seen=IN_THE_QUEUE) == "ghost", "whoever is in the queue, it is not"


def test_a_ghost_that_was_heard_at_last_and_not_answered_in_time() -> None:
    heard = unanswered(total_retransmits=5, resent_us=6 * S)
    assert cause_of(heard, seen=samples(*queue((0, 5_990, 0), (6_005, 12_000, 0)))) == "ghost"


def test_heard_after_a_short_ghost_wait_and_then_never_accepted() -> None:
    """It lay complete in the queue for most of its life: that it was a ghost before is not why it failed."""
    row = unanswered(total_retransmits=1, resent_us=200_000)
    seen = samples(*queue((0, 190, 0), (205, 12_000, 1)))
    assert phases_of(row, seen=seen) == {"syn_wait": 100, "ghost_wait": 198_900, "queue_wait": 10 * S - 199_000}
    assert cause_of(row, seen=seen) == "never_accepted"


@pytest.mark.parametrize(
    ("established_us", "word"), [(1 * S + 1_100, "syn_dropped"), (50_000, "ghost")], ids=["SYN wait", "ghost wait"]
)
def test_several_mechanisms_the_longest_names_it(established_us: int, word: str) -> None:
    """A dropped SYN, and then its last ACK ignored for 200 ms."""
    row = LOST_AT_THE_LISTENER | {
        "established_us": established_us,
        "resent_us": established_us + 200_000,
        "total_retransmits": 2,
        "accepted_us": established_us + 201_000,
        "first_byte_us": established_us + 202_000,
        "closed_us": established_us + 202_000,
    }
    assert cause_of(row) == word
    phases = phases_of(row)
    assert phases["ghost_wait"] == 200_000
    assert phases["syn_wait"] == established_us - 1_000


# ---- not answered in time ----------------------------------------------------------------------------------------


def test_complete_in_the_queue_and_never_accepted() -> None:
    assert cause_of(unanswered(), seen=IN_THE_QUEUE) == "never_accepted"
    assert phases_of(unanswered(), seen=IN_THE_QUEUE) == {"syn_wait": 100, "queue_wait": 10 * S - 100}


def test_accepted_after_a_long_wait_in_the_queue() -> None:
    """By stamp, and by the samples alone."""
    stamped = unanswered(accepted_us=8 * S, first_byte_us=10_001_000)
    assert cause_of(stamped) == "slow_accept"
    assert phases_of(stamped)["queue_wait"] == 8 * S - 1_100
    seen = samples(*queue((0, 7_995, 1), (8_000, 12_000, 0)))
    assert cause_of(unanswered(), seen=seen) == "slow_accept"


def test_accepted_in_time_and_not_answered() -> None:
    stamped = unanswered(accepted_us=2_000, first_byte_us=10_001_000)
    assert cause_of(stamped) == "slow_answer"
    assert cause_of(unanswered(), seen=EMPTY_QUEUE) == "slow_answer"
    assert phases_of(stamped)["service"] == 10 * S - 1_000


def test_the_longest_phase_of_a_failure_counts_not_that_a_syn_was_lost() -> None:
    early, late = (
        unanswered(
            established_us=us, syn_retransmits=2, total_retransmits=2, syns_left=3, syns_arrived=3, accepted_us=us + 500
        )
        for us in (3 * S, 7 * S)
    )
    assert cause_of(early) == "slow_answer"
    assert cause_of(late) == "syn_dropped"


def test_without_evidence_of_its_accept_a_failure_is_unknown() -> None:
    (found,) = explained(unanswered())
    assert found["cause"] == "unknown"
    assert found["detail"]
    assert found["accept_evidence"] == "none"


def before_sockets_were_told_apart(seen: pa.Table) -> pa.Table:
    return seen.drop_columns(["listeners", "listener_inodes"])


def test_of_several_queues_one_was_sampled_so_nothing_is_said() -> None:
    several = replace(ABOUT, listeners=2)
    for seen in map(before_sockets_were_told_apart, (IN_THE_QUEUE, EMPTY_QUEUE)):
        (found,) = explained(unanswered(), about=several, seen=seen)
        assert (found["cause"], found["accept_evidence"]) == ("unknown", "none")
    assert cause_of(unanswered(accepted_us=8 * S, first_byte_us=9 * S), several, IN_THE_QUEUE) == "slow_accept"


def test_what_lies_in_several_queues_is_known_where_they_hold_all_that_can_wait() -> None:
    """Nobody knows in which of them a connection is, but each of two is in one."""
    deepest_and_all = [{**one, "listeners": 2, "accept_queues": 2} for one in queue((0, 12_000, 1))]
    later = unanswered(issued_us=2_500, established_us=2_600)
    found = explained(unanswered(), later, answered(accepted_us=None), seen=samples(*deepest_and_all))
    assert [row["cause"] for row in found] == ["never_accepted", "never_accepted", "clean"]
    one_less = [{**one, "accept_queues": 1} for one in deepest_and_all]
    found = explained(unanswered(), later, seen=samples(*one_less))
    assert [row["cause"] for row in found] == ["unknown", "unknown"]


@pytest.mark.parametrize("change", [{"listeners": 2}, {"listener_inodes": 9}], ids=["another comes", "it is replaced"])
def test_samples_date_no_accept_after_the_sockets_have_changed(change: Row) -> None:
    """A listener that appears late has a queue of its own; one that was opened again has an empty one."""
    same, changed = queue((0, 500, 1)), [{**one, **change} for one in queue((505, 12_000, 0))]
    assert cause_of(unanswered(), seen=samples(*queue((0, 500, 1), (505, 12_000, 0)))) == "slow_answer"
    assert cause_of(unanswered(), seen=samples(*same, *changed)) == "unknown"


def test_what_was_reset_as_its_listener_was_replaced_is_not_called_accepted() -> None:
    """Whoever listens afterwards is another socket than the one in whose queue it was."""
    afterwards = [{**one, "listener_inodes": 9} for one in queue((505, 12_000, 0))]
    row = unanswered(outcome="reset", closed_us=502_000)
    resets_by_server = counting(EmbryonicRsts=0)
    (found,) = explained(row, about=resets_by_server, seen=samples(*queue((0, 500, 1)), *afterwards))
    assert (found["cause"], found["detail"]) == ("reset", "before accept")


def test_where_an_accept_lies_between_two_moments_that_give_two_words_it_is_unknown() -> None:
    """The last sample that shows it queued is from 1 s, the first that shows it gone from 9 s."""
    assert cause_of(unanswered(), seen=samples(*queue((0, 1_000, 1), (9_000, 12_000, 0)))) == "unknown"
    assert cause_of(unanswered(), seen=samples(*queue((0, 1_000, 1), (3_000, 12_000, 0)))) == "slow_answer"


# ---- what was sent again ---------------------------------------------------------------------------------------------


def test_a_request_that_was_lost_before_tcp_is_no_ghost() -> None:
    """A firewall threw its first copy away; the listener has ignored ACKs of others."""
    assert cause_of(LATE_GHOST) == "ghost"
    assert cause_of({**LATE_GHOST, "requests_arrived": 1, "accepted_us": None}) == "unknown"
    assert phases_of({**LATE_GHOST, "requests_arrived": 1}).get("ghost_wait", 0) == 0
    assert cause_of(NEVER_HEARD) == "ghost"
    assert cause_of({**NEVER_HEARD, "requests_arrived": 0}, seen=EMPTY_QUEUE) == "unknown"
    assert cause_of({**NEVER_HEARD, "requests_arrived": 0}, seen=IN_THE_QUEUE) == "never_accepted"


def test_a_dropped_syn_is_no_cause_where_a_request_that_was_ignored_and_lost_took_longer() -> None:
    """Which of its copies were ignored and which lost is not known; the wait for both is not the server's service."""
    row = {
        **LATE_GHOST,
        "syns_left": 2,
        "syns_arrived": 2,
        "synacks_sent": 1,
        "syn_retransmits": 1,
        "synack_us": 1_010_000,
        "established_us": 1_010_000,
        "total_retransmits": 7,
        "resent_us": 7_700_000,
        "accepted_us": 7_701_000,
        "first_byte_us": 7_702_000,
        "closed_us": 7_702_000,
        "requests_arrived": 6,
    }
    assert cause_of(row) == "unknown"
    assert cause_of({**row, "requests_arrived": 7}) == "ghost"
    soon = dict.fromkeys(("resent_us", "accepted_us", "first_byte_us", "closed_us"), 1_600_000)
    assert cause_of({**row, **soon}) == "syn_dropped"


def test_recorded_before_requests_were_counted_totals_withhold_what_may_be_lost_requests() -> None:
    """Ten segments more were sent than came, and no SYN accounts for them."""
    row = {**LATE_GHOST, "requests_arrived": None}
    totals = {"OutSegs": 50, "RetransSegs": 1, "InSegs": 51, "InErrs": 0, "TCPSynRetrans": 0}
    assert cause_of(row, counting(**totals)) == "ghost"
    assert cause_of(row, counting(**{**totals, "InSegs": 41})) == "unknown"


SLOW = answered(accepted_us=2_000, first_byte_us=300_000, closed_us=300_000)


def test_answered_slowly_where_segments_were_sent_again_that_no_row_has() -> None:
    """Its answer may have been lost; one that came sooner than anything is sent again was not."""
    quiet = {"RetransSegs": 0, "TCPSynRetrans": 0}
    assert cause_of(SLOW, counting(**quiet)) == "clean"
    assert cause_of(SLOW, counting(**{**quiet, "RetransSegs": 1})) == "unknown"


def test_never_answered_where_segments_were_sent_again_that_no_row_has() -> None:
    """Its answer may have been lost until it was given up."""
    row = unanswered(accepted_us=2_000)
    quiet = {"RetransSegs": 0, "TCPSynRetrans": 0}
    assert cause_of(row, counting(**quiet)) == "slow_answer"
    assert cause_of(row, counting(**{**quiet, "RetransSegs": 6})) == "unknown"
    assert cause_of(answered(), counting(**{**quiet, "RetransSegs": 1})) == "clean"
    assert cause_of(SLOW, counting(RetransSegs=3, TCPSynRetrans=3)) == "clean", "SYNs and SYN-ACKs sent again"


def test_what_clients_had_given_up_their_kernel_goes_on_sending() -> None:
    """Six retransmissions more than its row has, in the ten seconds until the last end."""
    gone = {**NEVER_HEARD, "closed_us": 2 * S, "total_retransmits": 2}
    counters = counting(RetransSegs=2 + 5, TCPSynRetrans=0)
    assert (
        explained(
            gone,
            {
                **SLOW,
                "closed_us": 12 * S,
                "issued_us": 11 * S,
                "established_us": 11 * S + 100,
                "accepted_us": 11 * S + 200,
                "first_byte_us": 12 * S,
            },
            about=counters,
        )[1]["cause"]
        == "clean"
    )


def test_the_ledger_is_not_believed_beyond_what_the_listener_counts() -> None:
    """A firewall between the two dropped some of these SYNs."""
    rows = [LOST_AT_THE_LISTENER] * 3
    assert [row["cause"] for row in explained(*rows, about=counting(ListenDrops=3))] == ["syn_dropped"] * 3
    assert [row["cause"] for row in explained(*rows, about=counting(ListenDrops=2))] == ["unknown"] * 3


@pytest.mark.parametrize("stamp", ["accept", "handed_over"])
def test_evidence_is_said_for_each_connection(stamp: str) -> None:
    later = unanswered(issued_us=2_500, established_us=2_600)
    rows = explained(answered(), later, about=replace(ABOUT, accept_stamp=stamp), seen=IN_THE_QUEUE)
    assert [row["accept_evidence"] for row in rows] == [stamp, "bounded"]


# ---- unknown -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        not_issued(),
        unanswered(outcome="other_error", errno=errno.ECANCELED),
        CUT_SHORT,
        unanswered(outcome="other_error", errno=errno.EHOSTUNREACH),
        answered(total_retransmits=1),
    ],
    ids=["never issued", "interrupted", "cut short", "another error", "sent again, nobody knows what"],
)
def test_what_no_rule_decides_is_unknown(row: dict[str, Any]) -> None:
    (found,) = explained(row, seen=EMPTY_QUEUE)
    assert found["cause"] == "unknown"
    assert found["detail"]


def test_another_error_is_named() -> None:
    (found,) = explained(unanswered(outcome="other_error", errno=errno.EHOSTUNREACH))
    assert "EHOSTUNREACH" in found["detail"]


@pytest.mark.parametrize("row", [not_issued(), CUT_SHORT], ids=["not issued", "no end"])
def test_what_did_not_live_or_has_no_end_has_no_phases(row: dict[str, Any]) -> None:
    assert set(phases_of(row, seen=IN_THE_QUEUE).values()) == {None}
    others = explained(answered(), row, answered())
    assert [other["queue_wait_us"] for other in others] == [900, None, 900], "and does not disturb the others"


# ---- first match -------------------------------------------------------------------------------------------------

LAG = {"scheduled_us": 0, "issued_us": 6 * S, "established_us": 6 * S + 100, "closed_us": 6 * S + 500}


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ({**unanswered(**LAG), "errno": errno.EMFILE, "outcome": "other_error"}, "client_out_of_files"),
        ({**never_established(**LAG), "established_us": None, "outcome": "refused"}, "refused"),
        ({**unanswered(**LAG), "outcome": "reset"}, "reset"),
        ({**answered(**LAG), "accepted_us": None, "first_byte_us": None}, "client_late"),
        ({**LOST_AT_THE_LISTENER, "outcome": "reset"}, "reset"),
        ({**LOST_AT_THE_LISTENER, "outcome": "bad_answer", "status": 503}, "bad_answer"),
        ({**NEVER_HEARD, "outcome": "closed_early"}, "closed_early"),
        ({**never_established(), "outcome": "refused"}, "refused"),
    ],
    ids=[
        "no files before lateness",
        "refused, however late it was asked",
        "reset, however late it was asked",
        "lateness before clean",
        "reset before a lost SYN",
        "bad answer before a lost SYN",
        "closed early before ghost",
        "refused before a lost SYN",
    ],
)
def test_the_first_match_wins(row: dict[str, Any], word: str) -> None:
    assert cause_of(row) == word


# ---- older tables ------------------------------------------------------------------------------------------------


def older(table: pa.Table) -> pa.Table:
    return table.drop_columns(list(DISTURBED))


def test_older_tables_lack_the_kernels_dates_and_are_explained_all_the_same() -> None:
    rows = (answered(), LOST_AT_THE_LISTENER, never_established(), unanswered(), not_issued(errno=errno.EMFILE))
    table = connections(*rows)
    assert causes(older(table), IN_THE_QUEUE, ABOUT).equals(causes(table, IN_THE_QUEUE, ABOUT))


def test_a_ghost_of_an_older_table_is_not_dated() -> None:
    table = causes(older(connections(LATE_GHOST, NEVER_HEARD)), None, ABOUT)
    assert table["cause"].to_pylist() == ["unknown", "ghost"]
    assert table["ghost_wait_us"].to_pylist() == [0, 10 * S - 100]


def test_tables_from_before_the_ledger_are_those_without_one() -> None:
    table = connections(*map(without_ledger, (answered(), LOST_AT_THE_LISTENER, unanswered(), NEVER_HEARD)))
    before = table.drop_columns([*LEDGER_COLUMNS])
    assert causes(before, IN_THE_QUEUE, ABOUT).equals(causes(table, IN_THE_QUEUE, ABOUT))


# ---- keep-alive --------------------------------------------------------------------------------------------

KEPT = replace(ABOUT, load=Load(clients=1, requests_per_client=100, timeout_s=1))


def test_a_kept_connection_outlives_any_one_deadline() -> None:
    """Each request has a deadline of its own: a connection of a minute is no late one."""
    row = answered(first_byte_us=3_000, closed_us=60 * S, bytes_received=6_000)
    assert cause_of(row, KEPT) == "clean"
    assert phases_of(row, KEPT) == {"syn_wait": 100, "queue_wait": 900, "service": 60 * S - 2_000}


def test_a_kept_connection_that_failed_in_the_end() -> None:
    assert cause_of(answered(closed_us=60 * S, outcome="answer_timeout"), KEPT) == "slow_answer"
    assert cause_of(answered(closed_us=60 * S, outcome="closed_early"), KEPT) == "closed_early"


def test_a_clients_next_connection_waits_for_the_end_of_the_one_before() -> None:
    """Its slot came while the one before held the client; what came after that end is the generator's."""
    rows = [
        answered(client=0, attempt=1, scheduled_us=0, closed_us=3 * S),
        answered(client=1, attempt=1, scheduled_us=0, closed_us=4 * S),
        answered(
            client=0,
            attempt=2,
            scheduled_us=1 * S,
            issued_us=3 * S + 500,
            established_us=3 * S + 600,
            accepted_us=3 * S + 700,
            first_byte_us=3 * S + 800,
            closed_us=3 * S + 800,
        ),
    ]
    found = explained(*rows, about=KEPT)[2]
    assert (found["waiting_us"], found["generator_lag_us"]) == (2 * S, 500)
    assert found["cause"] == "clean"
    again = explained(*reversed(rows), about=KEPT)[0]
    assert again == found | {"connection": 0}, "wherever it stands in the table"


# ---- any table ---------------------------------------------------------------------------------------------------

COLUMN_TYPES = {column.name: column.type for column in CONNECTIONS}


def any_connections(random: np.random.Generator, number: int, *, open_loop: bool, ledger: bool) -> pa.Table:
    """Rows as they could have been recorded, and some that could not: nothing lies before what it depends on, but
    the kernel's coarse dates lie anywhere."""

    def maybe(values: Any, share: float) -> Any:
        return np.where(random.random(number) < share, values, np.nan)

    step = random.choice([1, 100, 10_000, 1_000_000], (6, number)) * random.integers(0, 10, (6, number))
    scheduled = np.cumsum(random.integers(0, 1_000, number)).astype(float) if open_loop else np.full(number, np.nan)
    begun = scheduled if open_loop else np.cumsum(random.integers(0, 1_000, number)).astype(float)
    issued = begun + step[0]
    established = maybe(issued + step[1], 0.8)
    first_byte = np.where(np.isnan(established), np.nan, maybe(np.fmax(issued, established) + step[3], 0.7))
    accepted = np.where(np.isnan(first_byte), np.nan, maybe(np.minimum(issued + step[2], first_byte), 0.7))
    closed = maybe(np.fmax(np.fmax(issued, established), first_byte) + step[4], 0.95)
    around = issued[None] + random.integers(-8_000, 12_000_000, (3, number))
    outcome = np.where(np.isnan(first_byte), random.choice(OUTCOMES[2:], number), random.choice(OUTCOMES[1:], number))
    never = random.random(number) < 0.1
    syn_retransmits = random.choice([0, 0, 0, 1, 3], number)
    values = {
        "connection": np.arange(number),
        "client": np.arange(number),
        "attempt": np.where(never, 0, 1),
        "agent": np.zeros(number),
        "scheduled_us": scheduled,
        "issued_us": issued,
        "synack_us": np.where(np.isnan(established), np.nan, maybe(around[0], 0.3)),
        "established_us": established,
        "resent_us": np.where(np.isnan(established), np.nan, maybe(around[1], 0.3)),
        "accepted_us": accepted,
        "first_byte_us": first_byte,
        "arrived_us": np.where(np.isnan(first_byte), np.nan, maybe(around[2], 0.3)),
        "closed_us": closed,
        "syn_retransmits": np.where(np.isnan(established), np.nan, syn_retransmits),
        "total_retransmits": syn_retransmits + random.choice([0, 0, 1, 4], number),
        "unacked": random.choice([0, 0, 0, 1], number),
        "syns_left": random.integers(0, 5, number) if ledger else np.full(number, np.nan),
        "syns_arrived": random.integers(0, 5, number) if ledger else np.full(number, np.nan),
        "synacks_sent": random.integers(0, 3, number) if ledger else np.full(number, np.nan),
        "requests_arrived": random.integers(0, 4, number) if ledger else np.full(number, np.nan),
        "connect_us": random.integers(5, 900, number),
        "bytes_received": np.where(np.isnan(first_byte), 0, 100),
        "status": maybe(np.full(number, 200), 0.5),
        "errno": maybe(random.choice([errno.ECONNREFUSED, errno.EMFILE, errno.EADDRNOTAVAIL, 113], number), 0.1),
    }
    unread = {name: never for name in values if name.endswith(("_us", "retransmits", "unacked")) or "syn" in name}
    arrays = {
        name: pa.array(array, mask=np.isnan(array) | unread.get(name, False)).cast(COLUMN_TYPES[name])
        for name, array in values.items()
    }
    arrays["outcome"] = pa.array(np.where(never, "not_issued", outcome)).cast(COLUMN_TYPES["outcome"])
    for name in ("local_address", "local_port"):
        arrays[name] = pa.nulls(number, COLUMN_TYPES[name])
    return pa.Table.from_arrays([arrays[name] for name in COLUMN_TYPES], schema=schema(CONNECTIONS))


def any_samples(random: np.random.Generator) -> pa.Table | None:
    if random.random() < 0.3:
        return None
    depths = random.integers(0, 130, 400)
    return samples(
        *(
            {"time_us": 5_000 * index, "accept_queue": None if random.random() < 0.05 else int(depth), "backlog": 128}
            for index, depth in enumerate(depths)
        )
    )


SEEDS = range(12)


def any_run(seed: int) -> tuple[pa.Table, pa.Table | None, Circumstances]:
    random = np.random.default_rng(seed)
    table = any_connections(random, 400, open_loop=bool(seed % 2), ledger=bool(seed % 3))
    counters = {"ListenDrops": 5, "ListenOverflows": 5, "lo_rx_dropped": int(random.integers(0, 900))}
    load = Load(clients=400, timeout_s=float(random.choice([0.2, 2.0, 20.0])))
    return table, any_samples(random), replace(ABOUT, load=load, counters=counters)


@pytest.mark.parametrize("seed", SEEDS)
def test_phases_are_never_negative_and_sum_to_the_life(seed: int) -> None:
    table, seen, about = any_run(seed)
    found = causes(table, seen, about)
    phases = np.array([found[name].to_numpy().astype(float) for name in PHASES])
    closed, issued, scheduled = (table[name].to_numpy() for name in ("closed_us", "issued_us", "scheduled_us"))
    life = closed - np.where(np.isnan(scheduled), issued, scheduled)
    lived = ~np.isnan(closed) & ~np.isnan(issued)
    assert lived.sum() > 200
    assert np.isnan(phases[:, ~lived]).all()
    assert (phases[:, lived] >= 0).all(), PHASES[int(np.argmin(phases[:, lived].min(axis=1)))]
    assert np.array_equal(phases[:, lived].sum(axis=0), life[lived])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cause_never_contradicts_what_the_client_saw(seed: int) -> None:
    table, seen, about = any_run(seed)
    found = causes(table, seen, about)
    assert found["connection"].equals(table["connection"])
    assert found["cause"].null_count == found["detail"].null_count == 0
    for row, why in zip(table.to_pylist(), found.to_pylist(), strict=True):
        cause, outcome = why["cause"], row["outcome"]
        if outcome == "answered":
            assert cause not in ("refused", "reset", "closed_early", "bad_answer")
            assert cause not in ("never_accepted", "slow_accept", "slow_answer")
        if cause in ("refused", "reset", "closed_early", "bad_answer"):
            assert cause == outcome
        if cause == "clean":
            assert (outcome, row["total_retransmits"]) == ("answered", 0)
        if row["issued_us"] is None:
            assert cause in ("client_out_of_files", "client_out_of_ports", "unknown")
        if row["accepted_us"] is not None:
            assert cause != "never_accepted"
        if cause in ("ghost", "never_accepted", "slow_accept", "slow_answer") and row["syn_retransmits"] is not None:
            assert row["established_us"] is not None or row["synack_us"] is not None


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_rows_and_the_moment_of_the_start_play_no_part(seed: int) -> None:
    table, seen, about = any_run(seed)
    found = causes(table, seen, about)
    shuffled = np.random.default_rng(seed).permutation(len(table))
    assert causes(table.take(shuffled), seen, about).sort_by("connection").to_pylist() == found.to_pylist()

    def later(some: pa.Table) -> pa.Table:
        for index, name in enumerate(some.column_names):
            if name.endswith("_us") and name not in ("server_cpu_us", "connect_us"):  # which are durations
                moved = [None if us is None else us + 777_000 for us in some[name].to_pylist()]
                some = some.set_column(index, some.schema.field(name), pa.array(moved, pa.int64()))
        return some

    moved = causes(later(table), None if seen is None else later(seen), about)
    assert moved.to_pylist() == found.to_pylist()


def test_fifty_thousand_connections_are_no_trouble() -> None:
    random = np.random.default_rng(5)
    table = any_connections(random, 50_000, open_loop=False, ledger=True)
    found = causes(table, any_samples(random), replace(ABOUT, load=Load(clients=50_000, timeout_s=2)))
    assert sum(counts(found).values()) == len(found) == 50_000
