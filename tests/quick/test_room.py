"""What more room in a queue could have done, from literal rows and samples."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from harness.thought.phases import PHASES
from harness.thought.room import busy_rate, idle_while_waited_s
from tests.tables import Row, answered, connections, queue, samples

MS = 1_000


def thought(*rows: tuple[str, dict[str, int]]) -> pa.Table:
    """Causes with their phases in milliseconds; what is not said took no time."""
    phases = {
        name: pa.array([took.get(name.removesuffix("_us"), 0) * MS for _, took in rows], pa.int64()) for name in PHASES
    }
    return pa.table({"cause": [cause for cause, _ in rows], **phases})


ROWS = connections(answered(issued_us=0), answered(issued_us=0), answered(issued_us=0))
DROPPED = thought(("clean", {"queue_wait": 800}), ("syn_dropped", {"syn_wait": 1_000}), ("ghost", {"ghost_wait": 900}))


@pytest.mark.parametrize(
    ("seen", "idle_s"),
    [
        (queue((0, 800, 65), (805, 1_200, 0)), 0.195),
        (queue((0, 1_200, 65)), 0.0),
        (queue((0, 800, 65), (805, 900, 0)), 0.095),
        (queue((0, 800, 65), (805, 900, None), (905, 1_200, 0)), 0.095),
        ([], 0.0),
    ],
    ids=["from when it was empty", "never", "as long as it was seen", "while somebody listened", "never seen"],
)
def test_idle_is_who_has_an_empty_queue_while_others_wait_for_room(seen: list[Row], idle_s: float) -> None:
    assert idle_while_waited_s(ROWS, DROPPED, samples(*seen)) == pytest.approx(idle_s)


def test_without_samples_the_rows_say_what_the_queue_held() -> None:
    assert idle_while_waited_s(ROWS, DROPPED, None) == pytest.approx(0.2)


def test_nobody_waits_for_room_whom_the_queue_did_not_drop() -> None:
    lost = thought(*[("path_loss", {"syn_wait": 1_000})] * 3)
    assert idle_while_waited_s(ROWS, lost, samples(*queue((0, 1_200, 0)))) == 0


@pytest.mark.parametrize(
    ("ends_ms", "per_s"),
    [
        (np.arange(0, 2_000, 20), 50),
        (np.arange(0, 300, 0.5), 2_000),
        (800 + np.arange(0, 65, 0.1), 10_000),
        (800 + np.arange(0, 1.3, 0.02), 6_400),
        (np.array([50.0]), 10),
        (np.array([]), 0),
    ],
    ids=["one by one", "many", "after a pause", "read in one go", "one", "none"],
)
def test_a_rate_is_that_of_the_time_in_which_answers_came(ends_ms: np.ndarray, per_s: float) -> None:
    assert busy_rate(ends_ms * MS) == pytest.approx(per_s, rel=0.02)
