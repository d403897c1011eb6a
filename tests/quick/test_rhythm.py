"""What is said of pulses follows from the storms: planted ones, and their opposite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.overflow import rhythm
from analysis.overflow.pulses import REQUEST, SYN

NOTHING: dict[str, Any] = {
    "server": "hyper",
    "bunches": 1.0,
    "silent": 0.0,
    "silent_for_syns": 0.0,
    "silent_for_requests": 0.0,
    "silent_for_clients": 0.0,
    "silent_server": 0.0,
    "syn_waves": 0.0,
    "request_waves": 0.0,
    "own_starts": 0.0,
    "on_time": np.nan,
    "second_syns_s": np.nan,
    "period_s": np.nan,
}
WAVES: dict[str, Any] = {"by": "silent_for_clients", "syn_waves": 4.0, "on_time": 1.0}


def storms(kind: str, shares: Sequence[float], by: str = "silent_server", **measured: float | str) -> pd.DataFrame:
    """Silent for these shares of their time, all of which ended ``by`` one side."""
    return pd.DataFrame([{**NOTHING, **measured, "variant": kind, "silent": share, by: share} for share in shares])


SOME = (0.40, 0.42, 0.44, 0.46, 0.48, 0.50)
NONE = (0.0,) * 6
USUAL = {
    rhythm.FULL: storms(rhythm.FULL, SOME, **WAVES),
    rhythm.ALONE: storms(rhythm.ALONE, SOME, **WAVES, second_syns_s=2.04),
    rhythm.RESCHEDULED: storms(rhythm.RESCHEDULED, SOME, **WAVES, second_syns_s=3.06),
    rhythm.LARGER: storms(rhythm.LARGER, NONE),
    rhythm.RESTING: storms(rhythm.RESTING, SOME, server="actix", own_starts=9.0, period_s=0.5),
}


def with_kinds(**changed: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([*{**USUAL, **changed}.values()], ignore_index=True)


def test_all_three_hold_where_they_were_planted() -> None:
    found = rhythm.propositions(with_kinds())
    assert [decision.holds for decision in found.values()] == [True, True, True]
    assert found[rhythm.MOVED].found.value == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("kind", "otherwise", "proposition"),
    [
        (rhythm.LARGER, storms(rhythm.LARGER, SOME, **WAVES), rhythm.REMOVED),
        (rhythm.RESCHEDULED, storms(rhythm.RESCHEDULED, SOME, **WAVES, second_syns_s=2.05), rhythm.MOVED),
        (rhythm.RESTING, storms(rhythm.RESTING, SOME, server="actix", **WAVES), rhythm.OWN),
    ],
)
def test_each_is_refuted_by_its_opposite_alone(kind: str, otherwise: pd.DataFrame, proposition: str) -> None:
    runs = with_kinds(**{kind: otherwise})
    assert [name for name, decision in rhythm.propositions(runs).items() if decision.holds is False] == [proposition]
    assert any(f"it is not so that {proposition}" in sentence for sentence in rhythm.told(runs))


def test_too_few_storms_decide_nothing() -> None:
    few = with_kinds().groupby("variant", sort=False).head(5)
    assert {decision.holds for decision in rhythm.propositions(few).values()} == {None}
    assert sum(sentence.startswith("undecided (5 runs") for sentence in rhythm.told(few)) == 3


def test_what_was_not_run_is_not_spoken_of() -> None:
    alone = USUAL[rhythm.FULL]
    assert rhythm.propositions(alone) == {}
    assert len(rhythm.told(alone)) == 1
    assert rhythm.told(alone.iloc[:0]) == []


def test_a_schedule_whose_second_wave_never_began_a_bunch_moves_nothing() -> None:
    runs = with_kinds(**{rhythm.RESCHEDULED: storms(rhythm.RESCHEDULED, SOME, **WAVES)})
    assert rhythm.MOVED not in rhythm.propositions(runs)


def test_the_numbers_are_told() -> None:
    full, alone, removed, moved, own = rhythm.told(with_kinds())
    assert full.startswith("with a full queue the server is silent for 45% (95 % interval 41% to 49%)")
    assert "All of that silence ends" in full
    assert "in 4 waves of SYNs and no waves of requests a storm, and all of these" in full
    assert "4 waves of SYNs begin bunches" in alone
    assert removed == f"{rhythm.REMOVED}: silent for 0% of the time"
    assert "3.06 s instead of 2.04 s, 1.50 times as late" in moved
    assert "`actix` out of files" in own
    assert "ends all of that itself, every 0.50 s" in own


def test_waves_are_dated_over_all_storms_of_a_kind() -> None:
    first = pd.DataFrame({"begun_by": [SYN, SYN, REQUEST], "number": [1, 2, 2], "due_s": 1.0, "begin_s": [1.0, 2, 9]})
    again = pd.DataFrame({"begun_by": [SYN, SYN], "number": [1, 1], "due_s": 1.02, "begin_s": [1.1, 1.3]})
    table = rhythm.waves(pd.DataFrame({"run_id": ["a", "b"]}), {"a": first, "b": again})
    assert table["bunch begins after, s"].to_list() == ["1.00 to 1.10", "2.00"]
    assert table["storms"].to_list() == ["2", "1"]
