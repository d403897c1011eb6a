"""The loop under a flood, with a clock that only the flood moves on: what is done meanwhile, and how often."""

from __future__ import annotations

import select
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.events.rows import Rows
from harness.load.python import storm
from harness.load.python.client import Client
from harness.load.python.schedule import ISSUES_BETWEEN_POLLS, Schedule
from harness.load.python.storm import EXPIRE_EVERY_NS, Storm
from harness.plan import Load
from harness.plan.slices import cut

CLIENTS = 100
READS_BETWEEN_LOOKS = 5


class Flooded:
    """Stands for connections that each have something to read at any time, and stay open when their request is over."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.now_ns = 1
        self.did: list[str] = []
        self.issued = self.finished = self.answered = 0
        self.connector = SimpleNamespace(open={}, made=0, epoll=self)

    def clock(self) -> int:
        return self.now_ns

    def poll(self, timeout_s: float, most: int) -> list[tuple[int, int]]:
        return [(file, select.EPOLLIN) for file in list(self.connector.open)[:most]]

    def begin(self, client: Client) -> None:
        self.did.append("begin")
        client.begun, client.under_way = 1, True
        self.connector.open[client.index] = client
        self.schedule.deadlines.append((self.now_ns + self.schedule.timeout_ns, client, 1))

    def advance(self, client: Client, mask: int) -> None:
        self.did.append("advance")
        self.now_ns += EXPIRE_EVERY_NS // READS_BETWEEN_LOOKS + 1

    def expire(self, client: Client) -> None:
        self.did.append("expire")
        client.under_way = False
        self.finished += 1

    def give_up(self) -> None:
        self.did.append("give up")


@pytest.fixture
def did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the loop did, in order; each deadline is ten looks after its request."""
    load = Load(clients=CLIENTS, timeout_s=10 * EXPIRE_EVERY_NS / 1e9)
    (slice_,) = cut(load, 1, target="127.0.0.1", port=1, source=None, cpus=(0,), folder=str(tmp_path))
    with Rows(Path(slice_.rows_path), slice_.connection_rows, slice_.request_rows, create=True) as rows:
        made = Storm(slice_, rows)
        flooded = Flooded(made.schedule)
        made.connections = flooded  # type: ignore[assignment]
        monkeypatch.setattr(storm, "monotonic_ns", flooded.clock)
        made.run(flooded.now_ns)
        yield flooded.did


def test_every_request_is_issued_before_the_first_has_had_its_time(did: list[str]) -> None:
    assert did.index("expire") > max(number for number, what in enumerate(did) if what == "begin")


def test_a_deadline_is_overrun_by_no_more_than_the_reads_between_two_looks(did: list[str]) -> None:
    first = did.index("expire")
    assert did[:first].count("advance") <= (10 + 1) * READS_BETWEEN_LOOKS
    assert did[first:].count("advance") <= (CLIENTS // ISSUES_BETWEEN_POLLS + 1) * READS_BETWEEN_LOOKS


def test_nothing_is_read_once_every_request_has_ended(did: list[str]) -> None:
    assert did.count("expire") == CLIENTS
    assert did[-2:] == ["expire", "give up"]
