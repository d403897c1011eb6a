"""What a stalled connection takes along is held against the same load without a stall."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.mitigations import stalls
from analysis.mitigations.policies import NOTHING_HELD, held_or_not, slower_than
from harness.thought.stats import GRID_MS
from tests.lines import run

SLOW_MS = 200


def storms(slow: dict[str, float], late: float = 0.4, late_ms: float = 4.0) -> pd.DataFrame:
    """Three storms of each scenario over two connections: shares of requests that take a second, or ``late_ms``."""
    grid, rows = np.array(GRID_MS), []
    for variant, share in slow.items():
        options = {"clients": 4_000, "rate": 500.0, "connections": 2, "http2": True, "cpu": "disjoint"}
        options |= {} if variant.endswith(NOTHING_HELD) else {"hold_at_s": 3.0, "hold_ms": 1_000}
        soon = np.where(grid < 0.5, 0.0, np.where(grid < late_ms, 1 - late - share, 1 - share))
        shares = np.where(grid < 1_000, soon, 1.0)
        line = run(options, variant=variant, latency_shares=shares, requests_at_once=100, p50_ms=1.0, p99_ms=late_ms)
        rows += [line] * 3
    found = held_or_not(pd.DataFrame(rows))
    return found.assign(slow=slower_than(found, SLOW_MS))


def test_a_stall_and_its_control_are_one_way() -> None:
    found = storms({f"over 2{NOTHING_HELD}": 0.0, "over 2": 0.1})
    assert set(found["way"]) == {"over 2"}
    assert found["stall"].to_list() == [False] * 3 + [True] * 3
    assert set(found["between_ms"]) == {4.0}, "two connections take turns with 500 requests a second"


def test_only_what_is_not_slow_without_it_is_the_stalls() -> None:
    assert stalls.of_the_stall(storms({f"over 2{NOTHING_HELD}": 0.0, "over 2": 0.1}), SLOW_MS) == (
        "Slower than 200 ms are, without a stall, at most 0 of 4,000 requests, and with one so many more, medians: "
        "400 with *over 2*."
    )
    said = stalls.of_the_stall(storms({f"over 2{NOTHING_HELD}": 0.075, "over 2": 0.1}), SLOW_MS)
    assert "at most 300 of 4,000" in said
    assert said.endswith("100 with *over 2*.")
    assert stalls.of_the_stall(storms({"over 2": 0.1}), SLOW_MS) == ""


def test_what_is_late_without_a_stall_is_told_beside_the_time_to_the_next_request() -> None:
    found = storms({f"over 2{NOTHING_HELD}": 0.0, "over 2": 0.1})
    assert stalls.without_a_stall(found).endswith("*over 2* p50 1 ms, p99 4 ms, and 40% later than half of 4 ms.")
    prompt = storms({f"over 2{NOTHING_HELD}": 0.0}, late=0.0)
    assert "0% later than half of 4 ms" in stalls.without_a_stall(prompt)
    assert stalls.without_a_stall(storms({"over 2": 0.1})) == "No storm is without a stall."


def test_the_title_has_every_way() -> None:
    found = storms({f"over 2{NOTHING_HELD}": 0.0, "over 2": 0.1, "over 1": 0.2})
    said = "A connection stalls; slower than 200 ms of 4,000 requests: 400 (over 2), 800 (over 1)"
    assert stalls.headline(found, SLOW_MS) == said
    assert stalls.caught(found).endswith("100 and 400 with *over 2*, 100 and 800 with *over 1*.")
