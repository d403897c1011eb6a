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
STILL = samples(*queue((0, 100, 0), (110, 200, 1), (210, 300, 2), (310, 2_900, 3), (2_905, 3_000, 0)))


def test_a_queue_that_only_grows_is_a_standstill() -> None:
    (found,) = standstills(ROWS, STILL, [])
    assert (found.begin_us, found.end_us, found.waited) == (110 * MS, 2_900 * MS, 3)
    assert found.driver == "unknown", "the server was not sampled"


def test_a_queue_that_grows_while_it_is_taken_from_is_none() -> None:
    """Six came meanwhile, and three are there."""
    assert standstills(connections(*arrived(105, 150, 205, 250, 305, 350)), STILL, []) == []


def test_an_accept_that_was_stamped_ends_it() -> None:
    stamped = connections(*arrived(105, 205), {**arrived(305)[0], "accepted_us": 400 * MS})
    assert standstills(stamped, STILL, []) == []


def test_what_an_episode_of_a_full_queue_tells_is_not_told_again() -> None:
    episode = Episode(500 * MS, 900 * MS, "stalled", "", 3, None, None, None)
    assert standstills(ROWS, STILL, [episode]) == []


def test_without_samples_there_is_none() -> None:
    assert standstills(ROWS, None, []) == []
    assert standstills(ROWS, samples(), []) == []
