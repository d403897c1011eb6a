"""The benchmark page says what its results say, whatever was missing when they were measured."""

from __future__ import annotations

import copy
import json
import re

import pytest

import page
from page_words import Json


@pytest.fixture
def results() -> Json:
    found: Json = json.loads(page.RESULTS.read_text())
    return found


def test_the_page_is_made_of_its_results(results: Json) -> None:
    assert page.PAGE.read_text() == page.page(results), "run `python benchmarks/page.py`"


def test_every_figure_of_the_page_is_there(results: Json) -> None:
    shown = set(re.findall(r"\]\((figures/[^)]+)\)", page.page(results)))
    assert shown == {f"figures/{name}.png" for name in page.figures(results)}
    for name in page.figures(results):
        for suffix in (".svg", ".png", ".json"):
            assert (page.FIGURES / f"{name}{suffix}").exists()


def test_results_are_kept_small_and_say_nothing_of_the_machine_s_folders(results: Json) -> None:
    text = page.RESULTS.read_text()
    assert len(text.encode()) < 200_000
    assert not re.search(r'[\s"]/\w+/', text)
    assert page.written(page.kept(results)) == text


def test_a_folder_in_a_message_is_left_out_and_an_address_stays() -> None:
    said = page.kept({"error": "cannot open /srv/of/somebody/log: http://127.0.0.1:8080/", "seconds": 1.23456789})
    assert said == {"error": "cannot open log: http://127.0.0.1:8080/", "seconds": 1.23457}


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.95, 1.2, "reached"),
        (0.96, 1.2, "reached"),
        (0.8, 0.94, "missed"),
        (0.8, 0.95, "undecided"),
        (0.9, 1, "undecided"),
    ],
)
def test_an_ambition_is_decided_by_the_whole_interval(low: float, high: float, said: str) -> None:
    assert page.verdict({"ratio": (low + high) / 2, "low": low, "high": high, "kind": "t"}, 0.95) == said


def test_nothing_is_decided_without_a_ratio_or_an_ambition() -> None:
    assert page.verdict(None, 1.0) is None
    assert page.verdict({"ratio": None, "low": None, "high": None, "kind": "none"}, 1.0) is None
    assert page.verdict({"ratio": 1.0, "low": 1.0, "high": 1.0, "kind": "t"}, None) is None
    assert page.verdict({"ratio": 1.1, "low": None, "high": None, "kind": "none"}, 1.0) == "undecided"


def test_the_fastest_peer_is_the_one_of_which_the_lab_is_the_least_part(results: Json) -> None:
    for one in results["comparisons"]:
        for measure in page.MEASURES:
            ratios = {each["contender"]: each[measure]["ratio"] for each in one["contenders"] if each[measure]}
            if peers := {name: ratios[name] for name in one["peers"]}:
                best = page.best_peer(one, measure)
                assert best is not None and best[measure]["ratio"] == min(peers.values())


def test_generators_that_were_not_here_are_named(results: Json) -> None:
    alone = copy.deepcopy(results)
    for one in alone["comparisons"]:
        one["contenders"] = [each for each in one["contenders"] if each["contender"] == alone["lab"]]
        one["peers"] = []
    for tool in alone["tools"].values():
        tool["version"] = None
    said = page.page(alone)
    assert "No other generator was here" in said
    for name in alone["tools"]:
        assert f"{name} ({alone['tools'][name]['source']})" in said
    assert "ratios" not in page.figures(alone)


def test_a_machine_on_which_every_trial_failed_has_a_page(results: Json) -> None:
    nothing = {"ratio": None, "low": None, "high": None, "kind": "none", "rounds": 0, "each": []}
    failed = copy.deepcopy(results)
    failed["trials"] = [
        {**{name: trial[name] for name in ("round", "comparison", "contender")}, "error": "it did", "others": None}
        for trial in failed["trials"]
    ]
    for one in failed["comparisons"]:
        one["remarks"] = [f"round {number}, wrk: it did" for number in range(1, 9)]
        for each in one["contenders"]:
            each |= dict.fromkeys(("rate_per_s", "user_us", "system_us", "user_share", "server_busy", "others"))
            each["lateness_us"] = None
            each |= dict.fromkeys(("by_rate", "by_cpu"), None if each["contender"] == failed["lab"] else nothing)
    said = page.page(failed)
    assert "and 3 more" in said
    assert not page.figures(failed)


def test_enough_rounds_of_full_loads_are_a_result(results: Json) -> None:
    enough = {**results, "quick": False, "rounds": results["rounds_wanted"]}
    assert "No result yet" not in page.page(enough)
    assert "No result yet" in page.page({**enough, "rounds": results["rounds_wanted"] - 1})
    assert "No result yet" in page.page({**enough, "quick": True})
