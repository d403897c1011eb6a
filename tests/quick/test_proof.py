"""What rows prove: counted by outcome, cause and how far each had come."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.published import proof
from analysis.published.bands import QUARTER
from harness.errors import PlanError
from tests.quick.test_rivals import condition


def row(outcome: str, issued_us: int, closed_us: int, **more: Any) -> dict[str, Any]:
    life = {"outcome": outcome, "cause": outcome, "detail": "", "established_us": None, "accept_evidence": "none"}
    return life | {"issued_us": issued_us, "closed_us": closed_us, "service_us": None} | more


def ending() -> pd.DataFrame:
    """A server that ends at 100: one answered, one in its queue, one that it had in hand, two that met nobody."""
    there = {"established_us": 10.0}
    return pd.DataFrame(
        [
            row("answered", 1, 50, cause="clean", accept_evidence="bounded", service_us=5, **there),
            row("reset", 2, 100, detail="before accept", **there),
            row("reset", 3, 100, detail="after accept", **there),
            row("refused", 4, 110),
            row("refused", 120, 121),
        ]
    )


def test_each_connection_is_in_one_row_with_how_far_it_had_come() -> None:
    found = proof.kinds(ending())
    assert found["rows"].sum() == 5
    far = set(found[["outcome", "how far"]].itertuples(index=False, name=None))
    assert far == {
        ("answered", proof.ACCEPTED),
        ("reset", proof.QUEUED),
        ("reset", proof.ACCEPTED),
        ("refused", proof.NEVER),
        ("refused", proof.AFTER),
    }
    by_stage = found[found["outcome"] == "refused"].set_index("how far")["proves"]
    assert by_stage[proof.AFTER] == "the server had ended before this client called"


def test_nothing_is_said_of_an_end_where_nobody_was_refused() -> None:
    found = proof.kinds(ending().query("outcome != 'refused'"))
    assert not found["proves"].str.contains("ended").any()


def test_whoever_was_answered_was_accepted() -> None:
    """Even where its service took no time that can be told, or where it is not known when it was accepted."""
    quick = row("answered", 1, 50, cause="clean", accept_evidence="bounded", service_us=0, established_us=10.0)
    lives = pd.DataFrame([quick, quick | {"accept_evidence": "none"}])
    assert proof.kinds(lives)["how far"].to_list() == [proof.ACCEPTED]


def test_what_is_there_is_never_read_as_nothing() -> None:
    lives = pd.DataFrame([row("answered", 1, 50, cause="clean")] * 2_000 + [row("refused", 4, 110)])
    assert proof.kinds(lives)["share"].to_list() == ["100.0%", "<0.1%"]


def open_rows(*known: str) -> Any:
    def found(run_id: str) -> pd.DataFrame:
        if run_id not in known:
            raise PlanError("no rows")
        return ending()

    return found


def tried() -> pd.DataFrame:
    """One condition inside, one of which a storm is, one outside, and another tool's that is inside."""
    shares = {"12,000": [0.25, 0.26, 0.4], "8,192": [0.1, 0.1, 0.21], "20,000": [0.6] * 3}
    rows = [
        condition("hyper-2024", each, condition=name)
        | {"requests": [5] * 3, "run_ids": [f"{name} {storm}" for storm in "abc"]}
        for name, each in shares.items()
    ]
    late = condition("hyper-2024", [0.25] * 3, condition="late", group="chance")
    return pd.DataFrame([*rows, late | {"driven by": "vegeta", "run_ids": ["x"] * 3}])


def test_every_storm_with_rows_is_shown_and_says_where_it_lies() -> None:
    found = proof.proved(tried(), QUARTER, open_rows("12,000 a", "12,000 c", "8,192 a", "20,000 a"))
    assert [(one.run_id, one.inside) for one in found.storms] == [
        ("12,000 a", True),
        ("12,000 c", False),
        ("8,192 a", False),
    ]
    assert found.lacking == []
    table = proof.table(found)
    assert list(table.columns) == ["storm", "outcome", "cause", "how far", "storm 1", "storm 2", "proves"]
    inside, some = (table[table["storm"].str.contains(name)] for name in ("12,000", "8,192"))
    assert inside[["storm 1", "storm 2"]].iloc[0].to_list() == ["20.0% answered, inside", "20.0% answered, outside"]
    assert (some["storm 2"] == "").all(), "of that condition rows of one storm are kept"
    refused = inside[(inside["outcome"] == "refused") & (inside["how far"] == proof.AFTER)]
    assert refused["storm 1"].to_list() == ["1 (20.0%)"]
    said = proof.said(found)
    assert "storm 2 `12,000 c`, 20.0% answered, outside, as many rows as planned" in said
    assert "Of chance, late: hyper-2024 there are no rows: another tool's attack" in said


def test_without_rows_of_a_condition_the_nearest_stands_in() -> None:
    found = proof.proved(tried(), QUARTER, open_rows("20,000 b"))
    assert [one.run_id for one in found.storms] == ["20,000 b"]
    assert "No rows are kept of storm, open files, 12,000: hyper-2024:" in proof.said(found)
    none = proof.proved(tried(), QUARTER, open_rows())
    assert (none.storms, len(none.lacking)) == ([], 1)
    assert proof.table(none).empty
