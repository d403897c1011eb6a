"""Comparisons in blocks, on runs whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.allocators import told as tell
from analysis.allocators.effects import AGAIN, POOLED, comparisons, designed, effects, in_blocks
from harness.plan import Plan, load_plan
from harness.thought.deciding import FEWEST_TO_DECIDE

PLAN = """
question = "?"
[variant.storm]
clients = 10
[vary]
server = ["hyper", "python"]
allocator = ["system", "jemalloc", "mimalloc"]
[control]
allocator = "system"
"""
BLOCKS = 10


def planned(folder: Path, text: str) -> Plan:
    file = folder / "p.toml"
    file.write_text(text)
    return load_plan(file)


@pytest.fixture
def runs(tmp_path: Path) -> pd.DataFrame:
    return measured(planned(tmp_path, PLAN))


def measured(plan: Plan) -> pd.DataFrame:
    """Equal storms but for noise of 3 %, in the order in which a batch records them."""
    random = np.random.default_rng(11)
    rows = []
    for block in range(BLOCKS):
        for index in random.permutation(len(plan.block)):
            trial = plan.block[index]
            values = {measure: float(random.lognormal(block / 10, 0.03)) for measure in MEASURED}
            rows.append(
                {"run_id": f"{len(rows):04d}", "plan_hash": trial.plan_hash, "server": trial.server.name, **values}
            )
    made = pd.DataFrame(rows).assign(generator="ok", success_rate=1.0, planned=10, allocator="system")
    return in_blocks(made, plan)


MEASURED = ["server_cpu_s", "throughput_per_s", "p99_ms", "peak_rss_bytes", "settled_rss_bytes"]


def test_equal_storms_of_a_block_are_told_apart_and_change_places(runs: pd.DataFrame) -> None:
    assert (runs.groupby(["server", "block", "compared"]).size() == 1).all()
    assert set(runs.compared) == {"system", AGAIN, "jemalloc", "mimalloc"}
    equal = runs[(runs.server == "hyper") & (runs.asked == "system")].sort_values("run_id")
    earlier = equal.groupby("block").compared.first()
    assert earlier.to_list() == ["system", AGAIN] * (BLOCKS // 2)


def test_without_an_effect_none_is_established(runs: pd.DataFrame) -> None:
    found = tell.compare(runs)
    assert len(found) == 2 * 3 * len(tell.MEASURES)
    assert set(found.seen) == {"nothing"}
    assert all("no effect in any" in line for line in tell.answers(found))
    assert "nothing measured here is a reason" in tell.advice(found, runs, 0.05)


def test_an_effect_of_ten_percent_is_established_where_it_is(runs: pd.DataFrame) -> None:
    planted = (runs.server == "hyper") & (runs.compared == "jemalloc")
    runs.loc[planted, "cpu_us_per_answer"] *= 1.1
    found = tell.compare(runs)
    (seen,) = found[found.seen != "nothing"].to_dict("records")
    assert (seen["server"], seen["variant"], seen["measure"]) == ("hyper", "jemalloc", "cpu_us_per_answer")
    assert seen["seen"] == "more"
    assert seen["ratio"] == pytest.approx(1.1, rel=0.04)
    (line,) = (line for line in tell.answers(found) if "an effect in 1 of 4" in line)
    assert "0 for the better: jemalloc" in line
    assert "▲" in tell.table(found).loc[("hyper", "storm", "jemalloc"), "CPU time per answer"]
    assert "What it costs: CPU time per answer with jemalloc (hyper: +" in tell.advice(found, runs, 0.05)
    assert "What it costs" not in tell.advice(found, runs, 0.5), "it is no reason for anything"


def test_a_speed_that_is_the_generators_is_withheld(runs: pd.DataFrame) -> None:
    limited = (runs.server == "hyper") & (runs.compared == "jemalloc")
    runs.loc[limited, "throughput_per_s"] *= 2
    runs.loc[limited, "generator"] = "limiting"
    found = tell.compare(runs)
    of_jemalloc = found[(found.server == "hyper") & (found.variant == "jemalloc")].set_index("measure")
    assert of_jemalloc.seen["throughput_per_s"] == of_jemalloc.seen["p99_ms"] == "withheld"
    assert of_jemalloc.seen["cpu_us_per_answer"] == "nothing"
    assert any("In 1 of 4 the generator was the limit" in line for line in tell.answers(found))


def test_where_equal_storms_pass_for_an_effect_there_is_no_answer(runs: pd.DataFrame) -> None:
    hyper = runs.server == "hyper"
    runs.loc[hyper & runs.compared.isin([AGAIN, "jemalloc"]), "p99_ms"] *= 1.5
    found = tell.compare(runs)
    of_hyper = found[(found.server == "hyper") & (found.measure == "p99_ms")].set_index("variant")
    assert of_hyper.seen.to_dict() == {AGAIN: "more", "jemalloc": "unsteady", "mimalloc": "unsteady"}
    assert set(found[found.server == "python"].seen) == {"nothing"}
    assert "1 of them would pass for an effect" in tell.of_itself(found)
    assert any("In 2 equal storms would pass for an effect" in line for line in tell.answers(found))


def test_too_few_blocks_conclude_nothing(runs: pd.DataFrame) -> None:
    found = tell.compare(runs[runs.block < 2])
    assert found.empty
    assert "nothing is concluded" in tell.answers(found)[0]
    assert tell.table(found).empty


def test_blocks_that_cannot_establish_anything_are_called_too_few(runs: pd.DataFrame) -> None:
    few, enough = (tell.answers(tell.compare(runs[runs.block < blocks])) for blocks in (5, BLOCKS))
    assert "5 blocks are too few" in few[0]
    assert "too few" not in enough[0]


def test_fewer_blocks_than_it_takes_establish_nothing_however_large_the_effect(runs: pd.DataFrame) -> None:
    runs.loc[runs.compared == "jemalloc", "cpu_us_per_answer"] *= 3
    for blocks in (FEWEST_TO_DECIDE - 1, FEWEST_TO_DECIDE):
        found = tell.compare(runs[runs.block < blocks])
        tripled = found[(found.variant == "jemalloc") & (found.measure == "cpu_us_per_answer")]
        assert set(tripled.seen) == ({"more"} if blocks == FEWEST_TO_DECIDE else {"nothing"})


def test_a_design_knows_what_it_can_see(runs: pd.DataFrame) -> None:
    pilot = runs[runs.asked == "system"].assign(block=0)
    pilot[MEASURED] = np.random.default_rng(5).lognormal(0, 0.03, (len(pilot), len(MEASURED)))
    design = designed(pilot, ["peak_rss_bytes"], BLOCKS).loc["peak_rss_bytes"]
    assert design.spread == pytest.approx(0.03 * np.sqrt(2), rel=0.4)
    assert 1 < design.smallest < 1.15
    assert effects(runs, ["peak_rss_bytes"]).smallest.between(1, 1.15).all()


TWO_LOADS = PLAN.replace("[vary]", "[variant.long]\nclients = 10\nrequests_per_client = 9\n[vary]")


def test_a_server_is_compared_as_a_whole_over_all_its_loads(tmp_path: Path) -> None:
    plan = planned(tmp_path, TWO_LOADS)
    runs = measured(plan)
    jemalloc = (runs.server == "hyper") & (runs.compared == "jemalloc")
    runs.loc[jemalloc & (runs.load == "storm"), "cpu_us_per_answer"] *= 1.21
    gone = jemalloc & (runs.load == "long") & (runs.block == 0)
    found = effects(runs[~gone], ["cpu_us_per_answer", "p99_ms"])
    assert list(dict.fromkeys(found.load)) == [POOLED, "storm", "long"]
    whole = found[(found.load == POOLED) & (found.server == "hyper") & (found.variant == "jemalloc")]
    assert whole.blocks.to_list() == [BLOCKS - 1] * 2, "a block without one of the loads says nothing of all of them"
    row = whole.set_index("measure").loc["cpu_us_per_answer"]
    assert row.ratio == pytest.approx(1.1, rel=0.04)
    assert row.seen == "more"
    assert comparisons([plan], list(tell.MEASURES)) == (2 * 2 * 2 * 4, 2 * 2 * 4)
    assert comparisons([planned(tmp_path, PLAN)], list(tell.MEASURES)) == (2 * 2 * 4, 0)


def test_many_loads_see_what_one_cannot(runs: pd.DataFrame) -> None:
    pilot = runs[runs.asked == "system"]
    alone, together = (designed(pilot, ["p99_ms"], BLOCKS, loads=loads).smallest.item() for loads in (1, 4))
    assert np.log(together) == pytest.approx(np.log(alone) / 2, rel=0.01)
