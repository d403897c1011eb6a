"""Pulses are found where they are planted, not where answers come at random, and told by who ended the silence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.overflow import pulses

KERNEL = {"net.ipv4.tcp_syn_linear_timeouts": "4", "net.ipv4.tcp_syn_retries": "6"}
BEFORE = KERNEL | {"net.ipv4.tcp_syn_linear_timeouts": "0"}
SCHEDULE = pulses.syn_schedule(KERNEL, 20)
MS = 0.001


@pytest.mark.parametrize(
    ("linear", "due_s"), [("4", [1, 2, 3, 4, 5, 7, 11, 19]), ("0", [1, 3, 7, 15]), ("1", [1, 2, 4, 8, 16])]
)
def test_the_schedule_is_the_kernel_s(linear: str, due_s: list[float]) -> None:
    """As measured: 1.03, 2.05, 3.07, 4.10, 5.12, 7.14, 11.4 s with four linear timeouts; 1, 3, 7, 15 s before."""
    windows = pulses.syn_schedule(KERNEL | {"net.ipv4.tcp_syn_linear_timeouts": linear}, 20)
    assert [window.due_s for window in windows] == pytest.approx(due_s)
    assert [window.number for window in windows] == list(range(1, len(due_s) + 1))


def test_a_kernel_that_does_not_know_linear_timeouts_has_none() -> None:
    assert pulses.syn_schedule({}, 10) == pulses.syn_schedule({"net.ipv4.tcp_syn_linear_timeouts": "0"}, 10)


@pytest.mark.parametrize("wait_s", [1.03, 2.05, 3.07, 4.10, 5.12, 7.14, 11.4])
def test_what_was_measured_of_the_timer_wheel_lies_in_a_window(wait_s: float) -> None:
    assert sum(window.earliest_s <= wait_s <= window.latest_s for window in SCHEDULE) == 1


@pytest.mark.parametrize("many", [30, 300, 3_000])
def test_answers_at_random_show_a_silence_as_rarely_as_is_said(many: int) -> None:
    rng = np.random.default_rng(many)
    shown = [len(pulses.bunches(rng.exponential(size=many).cumsum())) > 1 for _ in range(2_000)]
    assert 0.6 * pulses.BY_CHANCE < np.mean(shown) < 1.2 * pulses.BY_CHANCE


@pytest.mark.parametrize("silence_s", [0.1, 0.5, 3.0])
def test_planted_bunches_are_found_wherever_they_lie(silence_s: float) -> None:
    """Of random size and at no rhythm; that a silence shows itself is then often enough, and none too many."""
    rng = np.random.default_rng(5)
    right = 0
    for _ in range(100):
        sizes = rng.integers(50, 300, 5)
        pauses = [rng.exponential(MS, size) for size in sizes]
        for one in pauses[1:]:
            one[0] = silence_s * rng.uniform(1, 2)
        firsts = [0, *sizes.cumsum()[:-1]]
        right += [first for first, _ in pulses.bunches(np.concatenate(pauses).cumsum())] == firsts
    assert right >= 90


@pytest.mark.parametrize("answers", [[], [1.0], [1.0, 1.0, 1.0]])
def test_too_few_answers_have_no_silence_between_them(answers: list[float]) -> None:
    assert pulses.bunches(np.array(answers)) == [(0, len(answers) - 1)] * bool(answers)


def bunch(at_s: float, many: int = 60, sent_s: float | None = None, syns: int = 0, requests: int = 0) -> pd.DataFrame:
    """Answers a millisecond apart from ``at_s`` on, of connections that got through at ``sent_s``, or just before."""
    answered = at_s + MS * np.arange(many)
    through = np.full(many, sent_s) if sent_s is not None else answered - MS
    connected = through - pulses.request_schedule(requests)[-1].due_s if requests else through
    return pd.DataFrame(
        {
            "outcome": "answered",
            "issued_us": 0.0,
            "synack_us": np.where(syns, 1e6 * connected, np.nan),
            "established_us": 1e6 * connected,
            "resent_us": np.where(requests, 1e6 * through, np.nan),
            "closed_us": 1e6 * answered,
            "syn_retransmits": syns,
            "total_retransmits": syns + requests,
        }
    )


def found_in(*bunches: pd.DataFrame, kernel: dict[str, str] = KERNEL) -> pd.DataFrame:
    return pulses.explained(pd.concat(bunches, ignore_index=True).sample(frac=1, random_state=1), kernel)


def test_a_bunch_that_a_wave_of_syns_began_is_told_with_its_date() -> None:
    found = found_in(bunch(0.002), bunch(1.03, syns=1), bunch(2.05, syns=2), bunch(3.07, syns=3))
    assert found["begun_by"].to_list() == [pulses.FIRST, *[pulses.SYN] * 3]
    assert found["number"].to_list() == [0, 1, 2, 3]
    assert found["due_s"].to_list()[1:] == pytest.approx([1, 2, 3])
    assert found["on_time"].to_list() == [None, True, True, True]
    assert found["silence_s"].to_list()[1:] == pytest.approx([0.969, 0.961, 0.961], abs=1e-3)


def test_the_schedule_is_that_of_the_storm_s_own_kernel() -> None:
    storm = bunch(0.002), bunch(1.03, syns=1), bunch(3.07, syns=2)
    assert found_in(*storm, kernel=BEFORE)["on_time"].to_list() == [None, True, True]
    assert found_in(*storm, kernel=KERNEL)["on_time"].to_list() == [None, True, False]


def test_a_ghost_s_request_sent_again_begins_a_bunch_between_two_waves_of_syns() -> None:
    found = found_in(bunch(0.002), bunch(1.03, syns=1), bunch(1.86, syns=1, requests=3), bunch(2.05, syns=2))
    assert found["begun_by"].to_list() == [pulses.FIRST, pulses.SYN, pulses.REQUEST, pulses.SYN]
    assert found["number"].to_list() == [0, 1, 3, 2]
    assert found["on_time"].to_list()[1:] == [True] * 3


def test_a_server_with_a_rhythm_of_its_own_is_not_taken_for_its_clients_kernels() -> None:
    """All got through at once; it rests half a second after each batch, as actix does without files."""
    found = found_in(*(bunch(0.5 * number + 0.001, sent_s=0.0) for number in range(8)))
    assert found["begun_by"].to_list() == [pulses.FIRST, *[pulses.SERVER] * 7]
    measured = pulses.measures(found)
    assert measured["period_s"] == pytest.approx(0.5)
    assert (measured["own_starts"], measured["syn_waves"], measured["silent_for_clients"]) == (7, 0, 0)
    assert measured["silent_server"] == measured["silent"] > 0.8


def test_who_sent_its_syn_again_and_then_lay_in_the_queue_was_kept_waiting_by_the_server() -> None:
    found = found_in(bunch(0.002), bunch(2.5, sent_s=1.03, syns=1))
    assert found["begun_by"].to_list() == [pulses.FIRST, pulses.SERVER]
    assert np.isnan(found["due_s"].iloc[1])


def test_a_pause_until_new_clients_come_is_nobody_s_retransmission() -> None:
    late = bunch(3.0).assign(issued_us=2.9e6)
    assert found_in(bunch(0.002), late)["begun_by"].to_list() == [pulses.FIRST, pulses.FIRST]


def test_the_first_answers_of_a_bunch_tell_what_began_it_and_not_the_crowd_behind_them() -> None:
    found = found_in(bunch(0.002), bunch(1.03, syns=1), bunch(1.09, 600, sent_s=1.04, syns=1, requests=2))
    assert found["begun_by"].to_list() == [pulses.FIRST, pulses.SYN]


def test_what_was_not_answered_is_no_part_of_a_bunch() -> None:
    lost = bunch(5.0).assign(outcome="answer_timeout", total_retransmits=9)
    assert found_in(bunch(0.002), lost)["answers"].to_list() == [60]
    nobody = found_in(lost)
    assert nobody.empty
    assert pulses.measures(nobody)["silent"] == 0


def test_one_bunch_is_no_pulse() -> None:
    measured = pulses.measures(found_in(bunch(0.002, 2_000)))
    assert (measured["bunches"], measured["silent"], measured["own_starts"]) == (1, 0, 0)


def test_silence_is_shared_out_among_those_who_ended_it() -> None:
    measured = pulses.measures(found_in(bunch(0.0, 101), bunch(1.1, 101, syns=1), bunch(2.2, 101, sent_s=1.2, syns=1)))
    assert measured["silent"] == pytest.approx(2.0 / 2.3)
    assert measured["silent_for_syns"] == measured["silent_for_clients"] == pytest.approx(1.0 / 2.3)
    assert measured["silent_server"] == pytest.approx(1.0 / 2.3)
    assert measured["syn_waves"] == 1
    assert measured["on_time"] == 1
