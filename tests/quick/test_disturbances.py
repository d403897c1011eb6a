"""What is done to a storm on purpose, on a clock that the test winds: when it begins, how long it lasts, its end."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import MachineError
from harness.trial.disturbances import Outage

START_NS, MS = 7_000_000_000, 1_000_000


class Server:
    """Can be stopped, if it lets itself."""

    def __init__(self, refuses: bool = False) -> None:
        self.told: list[str] = []
        self.refuses = refuses

    def stop(self) -> None:
        self.told.append("stop")
        if self.refuses:
            raise MachineError("it would not stop")

    def resume(self) -> None:
        self.told.append("resume")


def outage(server: Server, **when: Any) -> Outage:
    return Outage(server.stop, server.resume, START_NS, 300.0, "stalled_us", **when)


def steps(disturbance: Outage, *moments: tuple[float, int]) -> list[dict[str, Any]]:
    """What is noted by each (ms from the start, clients that have tried to connect)."""
    noted = []
    for after_ms, tried in moments:
        assert not disturbance.over
        disturbance.step(START_NS + int(after_ms * MS), lambda tried=tried: tried)  # type: ignore[misc]
        noted.append(disturbance.noted)
    return noted


def test_it_begins_at_its_time_and_lasts_as_long_as_it_was_planned() -> None:
    server = Server()
    stopped = outage(server, at_s=0.5)
    noted = steps(stopped, (0, 9), (499, 9), (501, 9), (800, 9), (802, 9))
    assert noted == [{}, {}, *[{"stalled_us": [501_000, None]}] * 2, {"stalled_us": [501_000, 802_000]}]
    assert stopped.over
    stopped.end()
    assert server.told == ["stop", "resume"]


def test_it_begins_when_as_many_have_tried_to_connect_as_it_waits_for() -> None:
    paused = outage(Server(), wait_for=5)
    assert steps(paused, (-40, 5), (10, 4), (20, 5)) == [{}, {}, {"stalled_us": [20_000, None]}]


@pytest.mark.parametrize(("at_ms", "told"), [(0, []), (500, ["stop", "resume"])], ids=["before", "meanwhile"])
def test_what_has_begun_is_put_right_where_the_storm_ends_before_it(at_ms: float, told: list[str]) -> None:
    server = Server()
    stopped = outage(server, at_s=0.5)
    steps(stopped, (at_ms, 0))
    stopped.end()
    assert stopped.over
    assert server.told == told


def test_what_could_not_quite_begin_is_put_right_too() -> None:
    server = Server(refuses=True)
    stopped = outage(server)
    with pytest.raises(MachineError):
        steps(stopped, (0, 0))
    stopped.end()
    assert server.told == ["stop", "resume"]
