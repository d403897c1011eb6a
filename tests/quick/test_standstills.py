"""Nobody takes from a queue that never was full: from literal samples and rows."""

from __future__ import annotations

from harness.thought.episodes import Episode
from harness.thought.standstills import standstills
from tests.tables import answered, connections, queue, samples

MS = 1_000


def arrived(*at_ms: int) -> list[dict[str, object]]:
    """Connections that came and were taken at 3 s."""
    return [
        answered(
            issued_us=ms * MS,
            established_us=ms * MS + 50,
            accepted_us=None,
            first_byte_us=3_000 * MS,
            closed_us=3_000 * MS,
        )
        for ms in at_ms
    ]


ROWS = connections(*arrived(105, 205, 305))
QUEUE = queue((0, 100, 0), (110, 200, 1), (210, 300, 2), (310, 2_900, 3), (2_905, 3_000, 0))
STILL = samples(*QUEUE)


def test_a_queue_that_only_grows_is_a_standstill() -> None:
    (found,) = standstills(ROWS, STILL, [])
    assert (found.begin_us, found.end_us, found.waited) == (110 * MS, 2_900 * MS, 3)
    assert found.driver == "unknown", "the server was not sampled"


def test_a_queue_that_grows_while_it_is_taken_from_stands_still_from_the_last_that_was_taken() -> None:
    """Of four queues one is not served: six came, three of them are there, and then none came."""
    (found,) = standstills(connections(*arrived(105, 150, 205, 250, 305, 350)), STILL, [])
    assert (found.begin_us, found.end_us, found.waited) == (355 * MS, 2_900 * MS, 3)


def test_a_queue_that_is_taken_from_until_the_end_is_none() -> None:
    assert standstills(connections(*arrived(105, 205, 305, *range(400, 2_900, 100))), STILL, []) == []


def test_it_begins_when_the_last_accept_was_stamped() -> None:
    stamped = connections(*arrived(105, 205), {**arrived(305)[0], "accepted_us": 400 * MS})
    (found,) = standstills(stamped, STILL, [])
    assert found.begin_us == 405 * MS
    late = connections(*arrived(105, 205), {**arrived(305)[0], "accepted_us": 2_700 * MS})
    assert standstills(late, STILL, []) == []


def test_what_an_episode_of_a_full_queue_tells_is_not_told_again() -> None:
    episode = Episode(500 * MS, 900 * MS, "stalled", "", 3, None, None, None)
    assert standstills(ROWS, STILL, [episode]) == []


def test_who_ran_out_of_files_and_rests_is_not_asleep_of_its_own_accord() -> None:
    """Its log says so: between two samples it may have closed all that it had."""
    resting = {"server_cpu_us": 500, "server_wait_us": 100, "server_threads": 1, "server_threads_stopped": 0}
    seen = samples(*({**row, **resting} for row in QUEUE))
    (rests,) = standstills(ROWS, seen, [], out_of_files_lines=1)
    assert rests.driver == "out_of_files"
    assert "its log says 1 times" in rests.because
    (sleeps,) = standstills(ROWS, seen, [])
    assert sleeps.driver == "stalled"
    slept_before = Episode(3_000 * MS, 3_100 * MS, "out_of_files", "", 3, None, None, None, asleep=True)
    (sleeps,) = standstills(ROWS, seen, [slept_before], out_of_files_lines=1)
    assert sleeps.driver == "stalled", "the log tells of one of the two"


def test_without_samples_there_is_none() -> None:
    assert standstills(ROWS, None, []) == []
    assert standstills(ROWS, samples(), []) == []
