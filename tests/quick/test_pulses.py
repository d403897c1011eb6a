"""Pulses are found where they are planted, and not where waits only happen to be long."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.overflow import pulses

KERNEL = {"net.ipv4.tcp_syn_linear_timeouts": "4", "net.ipv4.tcp_syn_retries": "6"}
SCHEDULE = pulses.syn_schedule(KERNEL, 20)


def storm(waits_s: np.ndarray, again: np.ndarray) -> pd.DataFrame:
    us = waits_s * 1e6
    return pd.DataFrame({"established_us": us, "syn_wait_us": us, "syn_retransmits": again})


def in_step(rng: np.random.Generator, many: int = 1_000) -> pd.DataFrame:
    again = rng.integers(1, 4, many)
    return storm(again * 1.02 + rng.uniform(0, 0.03, many), again)


def when_it_pleases_the_server(rng: np.random.Generator, many: int = 1_000) -> pd.DataFrame:
    """All come within 0.1 s of a moment that has nothing to do with the schedule."""
    waits = rng.uniform(1.2, 2.8) + rng.uniform(0, 0.1, many)
    return storm(waits, np.floor(waits))


@pytest.mark.parametrize(
    ("linear", "due_s"), [("4", [1, 2, 3, 4, 5, 7, 11, 19]), ("0", [1, 3, 7, 15]), ("1", [1, 2, 4, 8, 16])]
)
def test_the_schedule_is_the_kernel_s(linear: str, due_s: list[float]) -> None:
    """As measured: 1.03, 2.05, 3.07, 4.10, 5.12, 7.14, 11.4 s with four linear timeouts; 1, 3, 7, 15 s before."""
    windows = pulses.syn_schedule(KERNEL | {"net.ipv4.tcp_syn_linear_timeouts": linear}, 20)
    assert [window.earliest_s + pulses.EARLY_S for window in windows] == pytest.approx(due_s)
    assert [window.number for window in windows] == list(range(1, len(due_s) + 1))


def test_a_kernel_that_does_not_know_linear_timeouts_has_none() -> None:
    assert pulses.syn_schedule({}, 10) == pulses.syn_schedule({"net.ipv4.tcp_syn_linear_timeouts": "0"}, 10)


@pytest.mark.parametrize("wait_s", [1.03, 2.05, 3.07, 4.10, 5.12, 7.14, 11.4])
def test_what_was_measured_of_the_timer_wheel_lies_in_a_window(wait_s: float) -> None:
    assert sum(window.earliest_s <= wait_s <= window.latest_s for window in SCHEDULE) == 1


def test_planted_pulses_are_found() -> None:
    rng = np.random.default_rng(1)
    found = pulses.find_pulses([in_step(rng) for _ in range(5)], SCHEDULE)
    assert found.share == 1
    assert found.p < 0.01


def test_without_retransmissions_there_are_no_pulses() -> None:
    rng = np.random.default_rng(2)
    calm = [storm(rng.uniform(0, 0.2, 1_000), np.zeros(1_000)) for _ in range(5)]
    found = pulses.find_pulses(calm, SCHEDULE)
    assert (found.share, found.p) == (0, 1)


def test_what_has_its_own_rhythm_is_taken_for_pulses_as_rarely_as_it_says() -> None:
    rng = np.random.default_rng(3)
    found = [pulses.find_pulses([when_it_pleases_the_server(rng) for _ in range(4)], SCHEDULE).p for _ in range(60)]
    assert np.mean(np.array(found) < 0.05) <= 0.15


def test_those_that_were_never_established_count_as_not_in_step() -> None:
    waits = storm(np.array([1.02, 1.03]), np.array([1, 1]))
    waits.loc[0, "established_us"] = np.nan
    assert pulses.in_step(waits, SCHEDULE) == 0.5


def test_the_table_has_a_row_for_each_number_of_retransmissions_that_there_was() -> None:
    table = pulses.schedule_and_measured(in_step(np.random.default_rng(4)), SCHEDULE)
    assert table["sent again"].to_list() == [1, 2, 3]
    assert set(table["within"]) == {"100.0%"}
