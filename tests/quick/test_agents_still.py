"""An agent that does nothing though it has something to do: from literal rows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from harness.thought.agents_still import longest_standstill_ms
from tests.tables import answered, connections

MS = 1_000
BURST, CLOSED_LOOP = True, False


def row(issued_ms: float, read_ms: float, arrived_ms: float | None = None, **changes: Any) -> dict[str, Any]:
    """Established at once, and read at once, unless the kernel had it before."""
    moments = {"issued_us": issued_ms * MS, "established_us": issued_ms * MS + 50, "first_byte_us": read_ms * MS}
    arrived = None if arrived_ms is None else int(arrived_ms * MS)
    made = {**moments, "closed_us": read_ms * MS, "arrived_us": arrived, **changes}
    return answered(**{name: int(at) if isinstance(at, float) else at for name, at in made.items()})


def longest(*rows: dict[str, Any], burst: bool) -> float:
    table: pa.Table = connections(*rows)
    return longest_standstill_ms(table, table, burst=burst, longer_ms=100)


def steadily(begin_ms: int, end_ms: int, **changes: Any) -> list[dict[str, Any]]:
    return [row(float(at), at + 1.0, **changes) for at in range(begin_ms, end_ms, 5)]


def test_in_a_burst_all_clients_are_ready_so_that_a_gap_in_what_is_issued_is_the_agents() -> None:
    assert longest(*steadily(0, 500), *steadily(1_200, 1_500), burst=BURST) == pytest.approx(704)
    assert longest(*steadily(0, 1_500), burst=BURST) == 0


def test_another_agent_that_goes_on_does_not_hide_it() -> None:
    stopped = [*steadily(0, 500), *steadily(1_200, 1_500)]
    assert longest(*stopped, *steadily(0, 1_500, agent=1), burst=BURST) == pytest.approx(704)


def test_a_closed_loop_that_waits_for_answers_does_not_stand_still() -> None:
    """Nothing is issued, whoever stopped: where the kernel had nothing for the agent, it was not the agent."""
    under_way = [row(495.0, 1_200.0) for _ in range(10)]
    assert longest(*steadily(0, 500), *under_way, *steadily(1_200, 1_500), burst=CLOSED_LOOP) == 0


@pytest.mark.parametrize("share", [0.02, 0.002])
def test_answers_that_lay_in_the_kernel_were_not_read_by_an_agent_that_stood_still(share: float) -> None:
    """Of few connections too, where it took much of the storm."""
    rows = [*steadily(0, 500), *steadily(1_200, 1_500)] * 4
    under_way = [row(495.0, 1_200.0, 500.0) for _ in range(max(1, int(share * len(rows))))]
    assert longest(*rows, *under_way, burst=CLOSED_LOOP) == pytest.approx(700)


def test_what_lies_in_the_kernel_while_the_agent_does_something_else_is_its_pace() -> None:
    assert longest(*steadily(0, 1_500), row(495.0, 1_200.0, 500.0), burst=CLOSED_LOOP) == 0


def test_a_connection_that_was_established_and_not_seen_is_evidence_as_well() -> None:
    seen_late = [row(495.0, 1_201.0, established_us=1_200 * MS, synack_us=497 * MS) for _ in range(10)]
    rows = [*steadily(0, 500), *seen_late, *steadily(1_205, 1_500)]
    assert longest(*rows, burst=CLOSED_LOOP) == pytest.approx(703)


def test_one_short_standstill_in_a_long_storm_is_no_matter() -> None:
    late = row(4_996.0, 5_150.0, 4_999.0)
    assert longest(*steadily(0, 5_000), late, *steadily(5_150, 10_000), burst=CLOSED_LOOP) == 0


def test_where_nothing_was_issued_nobody_stood_still() -> None:
    assert longest(answered(issued_us=None, closed_us=None, agent=None), burst=BURST) == 0
