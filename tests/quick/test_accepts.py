"""When the server accepted, from the queue's samples alone: checked against a simulated queue whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from harness.events.rowtimes import Connections
from harness.plan import Load
from harness.thought.accepts import accepts
from harness.thought.phases import Life
from tests.tables import answered, connections, queue, samples, unanswered

SAMPLE_US = 5_000
TIMEOUT_US = 2_000_000
JIFFY_US = 4_000
SEEN_LATE_US = 15_000
"""A busy client comes to see that its connection is established."""
NEVER = np.inf
Times = NDArray[np.floating[Any]]


@dataclass
class Simulated:
    """A server with one first-in-first-out queue: true times of each connection, and what would have been recorded."""

    issued: Times
    accepted: Times
    entered: Times
    """In the server's queue; infinite where it never came to be."""
    answered: NDArray[np.bool_]
    jiffies: bool = False
    ghosts: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    def samples(self) -> pa.Table:
        times = np.arange(0, self.issued.max() + 2 * TIMEOUT_US, SAMPLE_US)
        depths = [int(np.sum(self.entered <= now) - np.sum(self.accepted <= now)) for now in times]
        return samples(
            *({"time_us": int(now), "accept_queue": d, "backlog": 511} for now, d in zip(times, depths, strict=True))
        )

    @property
    def closed(self) -> Times:
        ended = np.where(self.answered, self.accepted + 300, self.issued + TIMEOUT_US)
        return np.floor(np.fmax(ended, self.entered + SEEN_LATE_US) if self.jiffies else ended)

    def connections(self) -> pa.Table:
        ghosts = self.ghosts if len(self.ghosts) else np.zeros(len(self.issued), bool)
        rows = []
        for index, closed in enumerate(self.closed):
            row = answered if self.answered[index] else unanswered
            issued, entered = int(self.issued[index]), self.entered[index]
            changes = {"issued_us": issued, "closed_us": int(closed), "accepted_us": None, "first_byte_us": None}
            changes["established_us"] = issued + 60 if ghosts[index] else int(entered) + 40
            if ghosts[index]:
                heard = entered <= closed
                changes |= {"total_retransmits": 3, "unacked": 0 if heard else 1}
                changes["resent_us"] = int((entered if heard else closed - 100_000) // JIFFY_US * JIFFY_US)
            elif self.jiffies:
                changes["synack_us"] = int(entered // JIFFY_US * JIFFY_US)
                changes["established_us"] = int(entered) + SEEN_LATE_US
            rows.append(row(**changes))
        return connections(*rows)

    def found(self) -> Times:
        return found(self.connections(), self.samples())


def found(table: pa.Table, seen: pa.Table | None, listeners: int = 1) -> Times:
    rows = Connections(table)
    life = Life(rows, Load(clients=max(1, len(table)), timeout_s=TIMEOUT_US / 1e6))
    return accepts(life, rows["accepted_us"], seen, listeners).accepted_us


def first_in_first_out(arrivals: Times, service: Times, paused: tuple[float, float] = (0, 0)) -> Times:
    """When a server with one thread accepts each; it does nothing while it is paused."""
    free, accepted = 0.0, np.empty(len(arrivals))
    for index, (arrival, us) in enumerate(zip(arrivals, service, strict=True)):
        begin = max(free, arrival + 5)
        if paused[0] <= begin < paused[1]:
            begin = paused[1]
        accepted[index], free = begin, begin + us
    return accepted


def storm(
    seed: int, number: int = 300, *, spread_us: float = 500_000, paused: tuple[float, float] = (0, 0)
) -> Simulated:
    """Arrivals one after the other; what is accepted within its client's patience is answered at once."""
    random = np.random.default_rng(seed)
    issued = np.sort(random.choice(int(spread_us) // 200, number, replace=False)) * 200.0 + 10_000
    entered = issued + 30
    accepted = first_in_first_out(entered, random.exponential(4_000, number), paused)
    return Simulated(issued, accepted, entered, accepted + 300 < issued + TIMEOUT_US)


def surely_right(simulated: Simulated, bounds: Times, early_us: float = 0) -> None:
    """Nothing is claimed of an unanswered connection that is not so, and no accept is dated before it was."""
    closed = simulated.closed
    in_time = simulated.accepted <= closed + 1
    assert not np.any(np.isinf(bounds) & in_time), "accepted, and said not to be"
    assert not np.any(np.isfinite(bounds) & ~in_time), "never accepted, and said to be"
    known = np.isfinite(bounds)
    assert np.all(bounds[known] <= closed[known])
    early = simulated.accepted[known] - bounds[known]
    assert np.all(early <= early_us + 1), f"{early.max():.0f} µs too early"


@pytest.mark.parametrize("seed", range(5))
def test_bounds_contain_the_truth(seed: int) -> None:
    """A sample that shows it gone follows the accept, by one sample or a second one while clocks leave it open."""
    simulated = storm(seed)
    bounds = simulated.found()
    assert simulated.answered.any()
    surely_right(simulated, bounds)
    known = np.isfinite(bounds)
    assert known.mean() > 0.95
    late = bounds[known] - simulated.accepted[known]
    assert np.all(late >= 0)
    assert np.all(late <= 2 * SAMPLE_US)
    assert np.median(late) <= SAMPLE_US


@pytest.mark.parametrize("seed", range(5))
def test_a_server_that_pauses_and_comes_back(seed: int) -> None:
    """Longer than some clients wait: those before them in the queue tell which."""
    simulated = storm(seed, spread_us=1_500_000, paused=(300_000, 2_900_000))
    assert 0 < simulated.answered.sum() < 300
    bounds = simulated.found()
    surely_right(simulated, bounds)
    gave_up = ~simulated.answered
    assert np.isinf(bounds[gave_up]).mean() > 0.95, "known to have waited in vain"


def test_a_server_that_never_accepts() -> None:
    random = np.random.default_rng(1)
    issued = np.sort(random.choice(2_000, 129, replace=False)) * 100.0
    never = np.full(129, NEVER)
    bounds = Simulated(issued, never, issued + 30, np.zeros(129, bool)).found()
    assert np.isinf(bounds).all()


def test_an_emptied_queue_leaves_no_doubt() -> None:
    """All are accepted in one go and none is answered: the first empty sample dates them all."""
    issued = np.arange(100) * 1_000.0
    accepted = np.full(100, 301_000.0)
    simulated = Simulated(issued, accepted, issued + 30, np.zeros(100, bool))
    bounds = simulated.found()
    assert np.all(bounds == 305_000)


@pytest.mark.parametrize("seed", range(5))
def test_with_the_kernels_coarse_clock_nothing_wrong_is_claimed(seed: int) -> None:
    """Entries known to a jiffy only, as for clients that saw them late: what stays open is left open."""
    simulated = storm(seed, spread_us=1_500_000, paused=(300_000, 2_900_000))
    simulated.jiffies = True
    bounds = simulated.found()
    surely_right(simulated, bounds, early_us=50_000)  # some places in the queue are not known
    assert np.mean(~np.isnan(bounds)) > 0.5


@pytest.mark.parametrize("seed", range(5))
def test_ghosts_that_are_heard_late_or_never(seed: int) -> None:
    """A third of them enters 200 ms late, some of them not at all: neither do they nor the others mislead."""
    random = np.random.default_rng(seed)
    number = 200
    issued = np.sort(random.choice(4_000, number, replace=False)) * 200.0 + 10_000
    ghosts = random.random(number) < 0.3
    never = ghosts & (random.random(number) < 0.3)
    entered = np.where(ghosts, issued + 200_000 + random.integers(0, 900, number), issued + 30)
    order = np.argsort(entered)
    through = order[~never[order]]
    accepted = np.full(number, NEVER)
    accepted[through] = first_in_first_out(entered[through], random.exponential(5_000, len(through)))
    entered = np.where(never, NEVER, entered)
    simulated = Simulated(issued, accepted, entered, accepted + 300 < issued + TIMEOUT_US, ghosts=ghosts)
    bounds = simulated.found()
    surely_right(simulated, bounds, early_us=50_000)  # some places in the queue are not known
    assert np.isinf(bounds[never]).all()
    assert np.isfinite(bounds[simulated.answered]).all(), "an answer proves an accept"


def test_several_listeners_have_several_queues_so_nothing_is_claimed() -> None:
    recorded_before = storm(0).samples().drop_columns(["listeners", "listener_inodes"])
    assert np.isnan(found(storm(0).connections(), recorded_before, listeners=2)).all()


@pytest.mark.parametrize("seen", [None, samples(), samples(*queue((0, 3_000, None)))], ids=["none", "empty", "nulls"])
def test_without_samples_of_the_queue_nothing_is_claimed(seen: pa.Table | None) -> None:
    assert np.isnan(found(storm(0).connections(), seen)).all()


def test_stamps_are_taken_as_they_are() -> None:
    """Whatever the samples say, and with several listeners."""
    table = connections(answered(), unanswered())
    deep = samples(*queue((0, 12_000, 1)))
    for seen, listeners in ((deep, 1), (deep, 4), (None, 1)):
        rows = Connections(table)
        said = accepts(Life(rows, Load(clients=2)), rows["accepted_us"], seen, listeners)
        assert said.stamped.tolist() == [True, False]
        assert said.accepted_us[0] == 2_000


def test_samples_that_end_before_the_client_does_say_nothing_of_its_end() -> None:
    """It may have been accepted after the last sample."""
    table = connections(unanswered(closed_us=1_000 + TIMEOUT_US))
    assert np.isnan(found(table, samples(*queue((0, 1_000, 1)))))[0]
    assert np.isinf(found(table, samples(*queue((0, 2_500, 1)))))[0]


def test_what_was_never_established_was_never_accepted() -> None:
    row = unanswered(established_us=None, syn_retransmits=None, total_retransmits=2, outcome="connect_timeout")
    assert np.isinf(found(connections(row), samples(*queue((0, 12_000, 0)))))[0]


def test_those_that_come_after_do_not_push_others_out() -> None:
    """Two in the queue, one accepted between samples, another entering at once: the depth stays, the first is gone."""
    first, second, third = (unanswered(issued_us=us, established_us=us + 40) for us in (1_000, 2_000, 502_000))
    table = connections(*({**row, "closed_us": row["issued_us"] + TIMEOUT_US} for row in (first, second, third)))
    seen = samples(*queue((5, 500, 2), (505, 4_000, 2)))
    bounds = found(table, seen)
    assert bounds[0] == 505_000
    assert np.isinf(bounds[1:]).all()
