"""Why a server did not accept while its queue was full, from literal samples: one driver for each episode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pyarrow as pa
import pytest

from harness.thought.episodes import DRIVERS, Episode, activity, episodes
from tests.tables import Row, queue, samples

MS = 1_000
SERVER_EVERY_US, COUNTERS_EVERY_US = 20 * MS, 50 * MS
Server = Callable[[int], Mapping[str, int]]
"""What a server's samples hold at a moment, µs."""


def stopped(now_us: int) -> dict[str, int]:
    """By a signal: every thread, and no time passes for it."""
    return {"server_cpu_us": 500, "server_wait_us": 100, "server_threads": 4, "server_threads_stopped": 4}


def asleep(now_us: int) -> dict[str, int]:
    return {**stopped(now_us), "server_threads_stopped": 0}


def starved(now_us: int) -> dict[str, int]:
    """Ready to run all the time, and running a tenth of it."""
    return {**asleep(now_us), "server_cpu_us": now_us // 10, "server_wait_us": now_us * 9 // 10}


def hardly(now_us: int) -> dict[str, int]:
    """It sleeps nine tenths of the time."""
    return {**asleep(now_us), "server_cpu_us": now_us // 10}


def half(now_us: int) -> dict[str, int]:
    return {**asleep(now_us), "server_cpu_us": now_us // 2}


def ended(now_us: int) -> dict[str, int]:
    """A worker has ended, and its time is in the sum no longer."""
    return {**asleep(now_us), "server_cpu_us": 10**6 - now_us}


def running(now_us: int) -> dict[str, int]:
    return {**asleep(now_us), "server_cpu_us": now_us, "server_wait_us": now_us // 50}


def watched(rows: Iterable[Row], server: Server | None, **files: int) -> pa.Table:
    """Samples of a queue with those of the server and the counters between, as seldom as the probe takes them."""
    seen: list[dict[str, Any]] = []
    for row in rows:
        now = row["time_us"]
        more: dict[str, Any] = dict(files)
        if server is not None and now % SERVER_EVERY_US == 0:
            more |= server(now)
        if now % COUNTERS_EVERY_US == 0:
            more |= {"ListenOverflows": now // MS}
        seen.append({**row, **more})
    return samples(*seen)


FULL = queue((0, 95, 0), (100, 900, 129), (905, 1_200, 0))
"""Backlog 128: full from 100 to 900 ms."""


def only(found: list[Episode]) -> Episode:
    (episode,) = found
    return episode


def test_the_drivers_are_the_contracts() -> None:
    assert set(DRIVERS) == {"stalled", "cpu_starved", "out_of_files", "accept_bound", "unknown"}


@pytest.mark.parametrize(
    ("server", "driver"),
    [
        (stopped, "stalled"),
        (asleep, "stalled"),
        (starved, "cpu_starved"),
        (running, "accept_bound"),
        (hardly, "stalled"),
        (half, "unknown"),
        (ended, "unknown"),
        (None, "unknown"),
    ],
    ids=["stopped", "asleep", "starved", "running", "hardly", "half", "a worker ended", "not sampled"],
)
def test_the_driver_is_what_the_server_did_meanwhile(server: Server | None, driver: str) -> None:
    episode = only(episodes(watched(FULL, server)))
    assert episode.driver == driver
    assert episode.because
    assert (episode.begin_us, episode.end_us, episode.duration_ms) == (100 * MS, 900 * MS, 800)
    assert episode.deepest == 129
    assert episode.overflows == 800


@pytest.mark.parametrize("server", [stopped, asleep, starved, running, None])
def test_at_its_limit_of_open_files_it_cannot_accept_whatever_else(server: Server | None) -> None:
    at_limit = watched(FULL, server, server_files=64, server_files_limit=64)
    assert only(episodes(at_limit)).driver == "out_of_files"
    below = watched(FULL, server, server_files=63, server_files_limit=64)
    assert only(episodes(below)).driver != "out_of_files"


def test_a_limit_that_was_not_read_is_not_reached() -> None:
    assert only(episodes(watched(FULL, running, server_files=64))).driver == "accept_bound"


def at_limit_at(at_ms: int, rows: Iterable[Row]) -> list[dict[str, Any]]:
    return [
        {**row, "server_files": 64 if row["time_us"] == at_ms * MS else 20, "server_files_limit": 64} for row in rows
    ]


@pytest.mark.parametrize(("at_ms", "driver"), [(460, "out_of_files"), (60, "accept_bound"), (950, "accept_bound")])
def test_files_that_ran_out_just_before_the_queue_filled(at_ms: int, driver: str) -> None:
    """Long before, or when it was over, plays no part."""
    rows = queue((0, 495, 0), (500, 900, 129), (905, 1_200, 0))
    assert only(episodes(watched(at_limit_at(at_ms, rows), running))).driver == driver


def test_of_several_queues_the_full_one_is_that_of_the_process_that_is_stopped() -> None:
    def one_of_four(now_us: int) -> dict[str, int]:
        return {**running(now_us), "server_threads": 4, "server_threads_stopped": 1}

    several = [{**row, "listeners": 4} for row in FULL]
    assert only(episodes(watched(several, one_of_four))).driver == "stalled"
    assert only(episodes(watched(FULL, one_of_four))).driver == "accept_bound", "the others take from the same queue"


def test_recorded_in_ticks_of_10_ms_a_short_episode_has_no_driver() -> None:
    """In 60 ms a tick more or less is a sixth of a CPU."""
    rows = queue((0, 395, 0), (400, 440, 129), (445, 800, 0))
    third = {**dict.fromkeys(("server_wait_us", "server_threads_stopped"), 0), "server_threads": 4}
    seen = watched(rows, lambda now_us: {**third, "server_cpu_us": now_us // 4})
    before = seen.drop_columns(["listeners", "listener_inodes"])
    assert only(episodes(seen)).driver == "stalled"
    assert only(episodes(before)).driver == "unknown"


# ---- what an episode is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", [None, samples(), watched(queue((0, 500, 0)), running)], ids=["none", "empty", "calm"])
def test_without_a_full_queue_there_are_no_episodes(seen: pa.Table | None) -> None:
    assert episodes(seen) == []


def test_a_queue_with_backlog_connections_takes_one_more() -> None:
    """The kernel tests with >: full is backlog + 1."""
    assert episodes(watched(queue((0, 500, 128)), running)) == []
    assert len(episodes(watched(queue((0, 500, 129)), running))) == 1
    assert len(episodes(watched(queue((0, 500, 1), backlog=0), running))) == 1


def test_a_queue_that_nobody_listens_on_is_not_full() -> None:
    assert episodes(watched(queue((0, 500, None)), running)) == []


@pytest.mark.parametrize(("gap_ms", "number"), [(10, 1), (45, 1), (55, 2), (300, 2)])
def test_stretches_nearer_than_50_ms_are_one_episode(gap_ms: int, number: int) -> None:
    rows = queue((100, 300, 129), (305, 300 + gap_ms - 5, 3), (300 + gap_ms, 900, 129))
    found = episodes(watched(rows, running))
    assert len(found) == number
    assert (found[0].begin_us, found[-1].end_us) == (100 * MS, 900 * MS)
    assert found[0].end_us == (900 if number == 1 else 300) * MS


def test_each_episode_has_a_driver_of_its_own() -> None:
    def first_stopped_then_running(now_us: int) -> dict[str, int]:
        ran = max(0, now_us - 600 * MS)
        return {**asleep(now_us), "server_threads_stopped": 0 if ran else 4, "server_cpu_us": ran}

    rows = queue((0, 500, 129), (505, 995, 0), (1_000, 1_500, 200))
    found = episodes(watched(rows, first_stopped_then_running))
    assert [episode.driver for episode in found] == ["stalled", "accept_bound"]
    assert [episode.deepest for episode in found] == [129, 200]


@pytest.mark.parametrize("length_ms", [0, 5])
def test_an_episode_too_short_for_the_samples_of_the_server_has_no_driver(length_ms: int) -> None:
    """Between two samples of the server that are 20 ms apart it may have done this or that."""
    rows = queue((0, 205, 0), (210, 210 + length_ms, 129), (215 + length_ms, 500, 0))
    for server in (stopped, starved, running):
        episode = only(episodes(watched(rows, server)))
        assert episode.driver == "unknown"
        assert episode.because


def test_a_queue_that_was_full_throughout_is_one_episode() -> None:
    episode = only(episodes(watched(queue((0, 1_000, 512), backlog=511), stopped)))
    assert (episode.driver, episode.begin_us, episode.end_us) == ("stalled", 0, 1_000 * MS)


def test_counters_that_were_not_read_count_nothing() -> None:
    episode = only(episodes(samples(*queue((0, 500, 129)))))
    assert (episode.driver, episode.overflows, episode.running, episode.waiting_for_cpu) == (
        "unknown",
        None,
        None,
        None,
    )


def test_cpus_used_and_threads_waiting_are_per_time() -> None:
    episode = only(episodes(watched(FULL, starved)))
    assert episode.running == pytest.approx(0.1, rel=0.01)
    assert episode.waiting_for_cpu == pytest.approx(0.9, rel=0.01)


def test_who_took_all_there_was_slept_for_want_of_work() -> None:
    """Waves fill the queue of a server that empties it between two samples, and sleeps until the next."""
    waves = [(at, at, 17) for at in range(100, 300, 30)]
    rests = [(at + 5, at + 25, 0) for at in range(100, 300, 30)]
    rows = queue((0, 95, 0), *(stretch for pair in zip(waves, rests, strict=True) for stretch in pair), backlog=16)
    found = episodes(watched(rows, asleep))
    assert {episode.driver for episode in found} == {"unknown"}
    assert {episode.driver for episode in episodes(watched(rows, starved))} == {"cpu_starved"}, "it never slept"


def test_one_that_was_taken_ends_nothing() -> None:
    rows = queue((0, 95, 0), (100, 300, 17), (305, 310, 16), (315, 600, 17), (605, 900, 0), backlog=16)
    episode = only(episodes(watched(rows, asleep)))
    assert (episode.begin_us, episode.end_us, episode.driver) == (100 * MS, 600 * MS, "stalled")


# ---- the server's log --------------------------------------------------------------------------------------------

TWICE = queue((0, 300, 129), (305, 595, 0), (600, 900, 129))


def test_asleep_with_a_log_that_says_why_is_out_of_files() -> None:
    """It closes those it had within milliseconds, and sleeps for a second: no sample sees it at its limit."""
    found = episodes(watched(TWICE, asleep), 2)
    assert [episode.driver for episode in found] == ["out_of_files"] * 2
    assert all("log" in episode.because for episode in found)


@pytest.mark.parametrize("lines", [0, 1])
def test_a_log_that_says_it_less_often_than_the_server_slept_proves_nothing(lines: int) -> None:
    assert [episode.driver for episode in episodes(watched(TWICE, asleep), lines)] == ["stalled"] * 2


@pytest.mark.parametrize(
    ("server", "driver"), [(stopped, "stalled"), (starved, "cpu_starved"), (running, "accept_bound"), (None, "unknown")]
)
def test_the_log_changes_nothing_of_what_was_not_asleep(server: Server | None, driver: str) -> None:
    assert {episode.driver for episode in episodes(watched(TWICE, server), 1_000)} == {driver}


# ---- in any stretch of time --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "driver"), [(stopped, "stalled"), (starved, "cpu_starved"), (running, "accept_bound"), (None, "unknown")]
)
def test_what_a_server_did_in_any_stretch_of_time(server: Server | None, driver: str) -> None:
    seen = watched(queue((0, 1_000, 3)), server)
    said = activity(seen, 200 * MS, 800 * MS)
    assert said is not None
    assert said.driver == driver


def test_nothing_is_said_of_a_stretch_that_was_not_sampled() -> None:
    seen = watched(queue((0, 1_000, 3)), running)
    assert activity(None, 0, 1) is None
    assert activity(seen, None, None) is None
    assert activity(seen, 2_000 * MS, 3_000 * MS) is None
