"""What is said of more accept loops; other storms give other words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.mitigations import accept_loops as tell
from analysis.mitigations.ways import endings
from tests.mitigated import storm

FIVE = range(5)


def accepting(server: str, **shares: float) -> pd.DataFrame:
    """Five storms of each way of accepting on a server, by the share that came through at the first try."""
    rows = [
        storm(variant.replace("_", " "), server=server, first_try_share=share + number / 1000)
        for variant, share in shares.items()
        for number in FIVE
    ]
    return endings(pd.DataFrame(rows))


def test_the_table_is_by_the_way_of_accepting_and_by_the_input_queue() -> None:
    rows = [storm("one loop", first_try_share=0.25), storm("two listeners", listeners=2, first_try_share=0.75)]
    runs = endings(pd.DataFrame(rows * 2)).assign(wide=[False, False, True, True], ListenOverflows=7, lo_rx_dropped=0)
    table = tell.loops_table(runs)
    assert table["input queue"].tolist() == ["as it is", "as it is", "wide", "wide"]
    assert table["listeners in the kernel"].tolist() == ["1", "2", "1", "2"]


def test_hands_are_told_apart_from_room() -> None:
    with_room = {"one loop, listen(4096)": 0.7}
    runs = pd.concat(
        [
            accepting("hyper", one_loop=0.4, two_loops_on_one_listener=0.2, **with_room),
            accepting("go", one_loop=0.8, two_loops_on_one_listener=0.8, **with_room),
        ]
    )
    said = tell.loops(runs)
    assert "hyper 40% → 20% with *two loops on one listener* instead of *one loop* (fewer in every storm)" in said
    assert "go 80% → 80% with *two loops on one listener* instead of *one loop* (not so in every storm)" in said
    assert "More room, with as many loops: hyper 40% → 70%" in said
    assert "More workers on the same queue: nothing can be told" in said
    assert tell.headline_of_loops(runs) == (
        "First try, two loops on the same queue: hyper 40% → 20%, go 80% → 80%; "
        "one loop with more room: hyper 40% → 70%, go 80% → 70%"
    )
    slow = runs.assign(generator=np.where((runs.server == "go") & (runs.variant == "one loop"), "limiting", "ok"))
    assert "go 80%" not in tell.loops(slow)
    assert tell.loops(slow).endswith(
        "Of these nothing is told, as the generator was the limit: *one loop* on go (5 of 5 storms)."
    )
    assert "go" not in tell.headline_of_loops(slow)
    only = slow[slow.server == "go"]
    assert "two loops on the same queue: generator the limit" in tell.headline_of_loops(only)


def test_listeners_are_held_against_as_many_workers() -> None:
    runs = accepting("hyper", one_loop=0.4, one_loop_of_one_worker=0.2, two_listeners=0.3)
    assert "hyper 20% → 30% with *two listeners* instead of *one loop of one worker*" in tell.loops(runs)
    assert "go 40% → 30% with *two listeners* instead of *one loop* " in tell.loops(runs.assign(server="go"))


def batches(shares: dict[str, float], **columns: Any) -> pd.DataFrame:
    runs = accepting("hyper", **shares).assign(**columns)
    return runs.assign(plan_hash=runs["variant"].astype(str) + runs["wide"].astype(str))


def test_batches_are_concluded_from_storms_that_lost_nothing() -> None:
    """As it is, a batch of 16 seems to help; where nothing was lost, it does harm."""
    lossy = batches({"default": 0.4, "16": 0.8}, wide=False, lo_rx_dropped=9)
    clear = batches({"default": 0.4, "16": 0.2}, wide=True)
    said = tell.batches(pd.concat([lossy, clear]), "default")
    assert said.startswith("In 10 storms in which this host's own input queue dropped nothing, 1 of 3 comparisons")
    assert said.endswith("*16*: hyper worse first try × 0.5.")
    alike = tell.batches(batches({"default": 0.4, "16": 0.4}, wide=True), "default")
    assert ", 0 of 3 comparisons" in alike
    assert tell.batches(lossy, "default").endswith("of batches nothing follows from them.")


def halted(**slow: int) -> pd.DataFrame:
    made = {"one": {}, "shared": {"accept_loops": 2}, "own": {"accept_loops": 2, "reuseport": True}}
    return pd.DataFrame([storm(name, options=made[name], slow=count) for name, count in slow.items()])
