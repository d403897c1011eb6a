"""What rows prove: counted by outcome, cause and how far each had come."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.errors import PlanError
from harness.report import proof
from harness.report.bands import QUARTER
from tests.unit.test_rivals import condition


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


def test_rows_are_looked_for_in_every_storm_and_the_nearest_stands_in() -> None:
    near, far = condition("hyper-2024", [0.25] * 3), condition("hyper-2024", [0.4] * 3, condition="20,000")
    ids = {"requests": [5, 5, 5]}
    conditions = pd.DataFrame([near | ids | {"run_ids": ["a", "b", "c"]}, far | ids | {"run_ids": ["d", "e", "f"]}])

    def open_rows(*known: str) -> Any:
        def found(run_id: str) -> pd.DataFrame:
            if run_id not in known:
                raise PlanError("no rows")
            return ending()

        return found

    (one,), lacking = proof.proved(conditions, QUARTER, open_rows("b", "d"))
    assert (one.run_id, lacking) == ("b", [])
    assert "5 rows, as many as were planned" in str(one)
    (one,), lacking = proof.proved(conditions, QUARTER, open_rows("e"))
    assert one.run_id == "e"
    assert "12,000" in proof.said([one], lacking)
    assert proof.table([one])["storm"].nunique() == 1
    found, lacking = proof.proved(conditions, QUARTER, open_rows())
    assert (found, len(lacking)) == ([], 1)
    assert proof.table(found).empty
