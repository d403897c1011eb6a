"""The search: from the cheapest on, given up early, confirmed by storms that had no part in the choice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from analysis.mitigations.search_figure import path_of_a_search
from harness import lab as record
from harness.errors import PlanError
from harness.events import store
from harness.events.store import counts
from harness.page import search as tell
from harness.plan import trial_from_options
from harness.plan.search import Candidate, Search, Target, chosen, load_search, next_trial, path, reached
from harness.thought.inference import share_of_runs
from harness.trial import batch, tune

FILE = """
question = "?"
[base]
clients = 100
[target]
success = 0.99
p99_ms = 500
[test]
runs = 2
confirm = 3
[[knob.backlog]]
cost = 0
[[knob.backlog]]
cost = 3
backlog = 1024
[[knob.loops]]
cost = 0
[[knob.loops]]
cost = 1
accept_loops = 2
"""


@pytest.fixture
def search(tmp_path: Path) -> Search:
    file = tmp_path / "s.toml"
    file.write_text(FILE)
    return load_search(file)


def storms(search: Search, *results: str) -> dict[str, list[bool]]:
    """Of each candidate in order, its storms as a word: ``y`` where one reached the target, ``n`` where not."""
    hashes = [candidate.trial.plan_hash for candidate in search.candidates]
    return {name: [letter == "y" for letter in word] for name, word in zip(hashes, results, strict=False)}


def test_candidates_are_all_combinations_the_cheapest_first(search: Search) -> None:
    assert [(candidate.cost, candidate.name) for candidate in search.candidates] == [
        (0, "as it comes"),
        (1, "accept_loops 2"),
        (3, "backlog 1024"),
        (4, "backlog 1024, accept_loops 2"),
    ]
    assert search.candidates[3].trial == trial_from_options({"clients": 100, "backlog": 1024, "accept_loops": 2})
    assert search.plan.trials == tuple(candidate.trial for candidate in search.candidates)


def test_settings_of_the_kernel_are_named_as_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    setting = '{ "net.core.somaxconn" = "8192", "net.ipv4.tcp_syncookies" = "0" }'
    file.write_text(FILE.replace("accept_loops = 2", f"sysctl = {setting}"))
    names = [candidate.name for candidate in load_search(file).candidates]
    assert names[1] == "sysctl net.core.somaxconn=8192 net.ipv4.tcp_syncookies=0"


@pytest.mark.parametrize(
    ("results", "fates", "wanted"),
    [
        ((), ["under way", "not tried", "not tried", "not tried"], 0),
        (("n",), ["given up", "under way", "not tried", "not tried"], 1),
        (("yn",), ["given up", "under way", "not tried", "not tried"], 1),
        (("yy",), ["under way", "not tried", "not tried", "not tried"], 0),
        (("yyyy",), ["under way", "not tried", "not tried", "not tried"], 0),
        (("yyyyy",), ["found", "not tried", "not tried", "not tried"], None),
        (("yyyn", "n", "yyyyy"), ["not confirmed", "given up", "found", "not tried"], None),
        (("n", "n", "n", "n"), ["given up"] * 4, None),
    ],
)
def test_the_path_follows_from_the_storms(
    search: Search, results: tuple[str, ...], fates: list[str], wanted: int | None
) -> None:
    tested = path(search, storms(search, *results))
    assert [one.fate for one in tested] == fates
    expected = None if wanted is None else search.candidates[wanted].trial
    assert next_trial(tested) == expected
    assert (chosen(tested) is not None) == ("found" in fates)


def test_no_storm_counts_for_the_choice_and_for_its_confirmation(search: Search) -> None:
    (first, *_) = path(search, storms(search, "yyyyyyn"))
    assert (first.test, first.fresh) == ((True,) * 2, (True,) * 3), "and what came afterwards is left aside"


def test_what_may_be_missed_may_be_missed_in_each_part(search: Search) -> None:
    lenient = Search("s", "", search.target, search.candidates, 3, 4, may_miss=1)
    assert path(lenient, storms(search, "ynyyyny"))[0].fate == "found"
    assert path(lenient, storms(search, "nyn"))[0].fate == "given up"
    assert path(lenient, storms(search, "yyynny"))[0].fate == "not confirmed"


@pytest.mark.parametrize(
    ("success", "p99_ms", "met"), [(1.0, 500.0, True), (0.989, 1.0, False), (1.0, 500.1, False), (1.0, None, False)]
)
def test_a_target_is_met_in_both_respects(success: float, p99_ms: float | None, met: bool) -> None:
    assert Target(0.99, 500).met(success, p99_ms) == met
    assert Target(0.99, 500).met(success, float("nan") if p99_ms is None else p99_ms) == met


@pytest.mark.parametrize(
    "change",
    [
        ("success = 0.99", "success = 1.1"),
        ("p99_ms = 500", "p99_ms = 0"),
        ("p99_ms = 500", ""),
        ("runs = 2", "runs = 0"),
        ("confirm = 3", "may_miss = 2"),
        ("runs = 2", "rounds = 2"),
        ("cost = 1\n", ""),
        ("accept_loops = 2", "hands = 2"),
        ("clients = 100", "clients = 'many'"),
        ("[target]", "[goal]"),
        ("[base]\nclients = 100", "base = 5"),
        ("[target]\nsuccess = 0.99\np99_ms = 500", "target = 5"),
        ("[test]\nruns = 2\nconfirm = 3", "test = 'all'"),
        ("[[knob.loops]]\ncost = 0\n[[knob.loops]]", "[knob.loops]"),
        ("[[knob.backlog]]\ncost = 0\n[[knob.backlog]]\ncost = 3\nbacklog = 1024", "[knob]\nbacklog = [1, 2]"),
        ("cost = 3", "cost = 'three'"),
        ("question", "'question"),
    ],
    ids=str,
)
def test_what_means_nothing_is_refused(tmp_path: Path, change: tuple[str, str]) -> None:
    file = tmp_path / "s.toml"
    assert change[0] in FILE
    file.write_text(FILE.replace(*change))
    with pytest.raises(PlanError) as refused:
        load_search(file)
    assert "\n" not in refused.value.line


def test_a_search_is_changed_for_another_server_and_target(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(FILE)
    changed = load_search(file, {"base": {"command": "mine {port}"}, "target": {"success": 0.5}})
    assert {candidate.trial.server.command for candidate in changed.candidates} == {"mine {port}"}
    assert changed.target == Target(0.5, 500)


def test_combinations_that_are_the_same_storm_are_tried_once_at_the_lower_cost(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(FILE.replace("accept_loops = 2", "backlog = 1024"))
    assert [candidate.cost for candidate in load_search(file).candidates] == [0, 1]


def test_the_interval_is_the_exact_one() -> None:
    """Ten of ten: the lower bound is the tenth root of 0.025; none of ten is its mirror image."""
    assert share_of_runs(10, 10).low == pytest.approx(0.025**0.1)
    assert share_of_runs(0, 10).high == pytest.approx(1 - 0.025**0.1)
    assert share_of_runs(10, 10).high == 1


def runs_of(search: Search, *results: str) -> pd.DataFrame:
    rows = [
        {
            "run_id": f"{plan_hash}-{number}",
            "plan_hash": plan_hash,
            "success_rate": 1.0 if met else 0.5,
            "p99_ms": 100.0 if met else None,
            "lo_rx_dropped": 0,
            "status": "complete",
            "planned": 100,
            "outcomes": {"answered": 100, "not_issued": 0},
        }
        for plan_hash, found in storms(search, *results).items()
        for number, met in enumerate(found)
    ]
    return pd.DataFrame(rows)


def test_what_is_said_follows_from_the_storms(search: Search) -> None:
    said = {}
    for words in (("n", "yyyyy"), ("yyyyy",), ("n", "n", "n", "n"), ("n", "y")):
        runs = runs_of(search, *words)
        tested = tell.walked(search, runs)
        said[words] = tell.verdict(search, tested, runs)
        table = tell.path_table(search, tested, runs)
        assert list(table["fate"]) == [one.fate for one in tested]
        assert len(table) == 4
    assert "**accept_loops 2**, at a cost of 1" in said["n", "yyyyy"]
    assert "1 cheaper candidate was given up" in said["n", "yyyyy"]
    assert "**as it comes**" in said["yyyyy",]
    assert said["n", "n", "n", "n"].startswith("None of 4 candidates")
    assert "not over" in said["n", "y"]
    assert "29% to 100%" in said["yyyyy",], "three of three"


def test_only_the_storms_that_the_search_had_are_its_own(search: Search) -> None:
    """Another plan has more of the first candidate, which come later."""
    runs = runs_of(search, "nyyy", "yyyyy")
    tested = tell.walked(search, runs)
    assert len(tell.held(tested, runs)) == 6
    come = runs[runs["plan_hash"] == search.candidates[0].trial.plan_hash].assign(server="hyper")
    assert tell.as_they_come(search, tested, runs, come) == "hyper in 3 of 4 (1 of them the search's own)"
    assert tell.as_they_come(search, tested, runs, come.iloc[1:].assign(server="go")) == "go in 3 of 3"


def test_a_candidate_that_lost_packets_or_did_not_start_is_named(search: Search) -> None:
    """It may have missed the target for that, and not for what it is."""
    runs = runs_of(search, "n", "n", "yyyyy")
    tested = tell.walked(search, runs)
    assert "that did not start" not in tell.path_table(search, tested, runs)
    assert "Packets were lost" not in tell.verdict(search, tested, runs)
    runs.loc[0, "lo_rx_dropped"] = 7
    runs.at[1, "status"], runs.at[1, "outcomes"] = "failed", {"answered": 0, "not_issued": 100}
    table = tell.path_table(search, tested, runs).set_index("candidate")
    assert table["storms that lost packets in the input queue"].tolist()[:3] == ["1 of 1", "0 of 1", "0 of 5"]
    assert table["that did not start"].tolist()[:3] == ["0 of 1", "1 of 1", "0 of 5"]
    said = tell.verdict(search, tested, runs)
    assert "Packets were lost in this host's own input queue in storms of “as it comes”. " in said
    assert "Not for what a storm does: accept_loops 2: the server did not start in 1 of 1 storms. " in said
    ended = runs.assign(outcomes=[{"answered": 40, "not_issued": 60}] * len(runs))
    assert tell.unstarted(tested, ended) == [], "a server that ended in its storm had one"


def test_where_no_candidate_starts_the_verdict_says_so(search: Search) -> None:
    runs = runs_of(search, "n", "n", "n", "n")
    runs = runs.assign(status="failed", outcomes=[{"answered": 0, "not_issued": 100}] * len(runs))
    said = tell.verdict(search, tell.walked(search, runs), runs)
    assert said.endswith(
        "4 storms. " + " ".join(f"{line}." for line in tell.unstarted(tell.walked(search, runs), runs))
    )
    assert said.count("did not start in 1 of 1 storms") == 4


def test_storms_are_held_against_the_target_in_order(search: Search) -> None:
    found = reached(search, [("a", 1.0, 100.0), ("b", 0.5, None), ("a", 1.0, 900.0)])
    assert found == {"a": [True, False], "b": [False]}


@pytest.mark.parametrize(
    ("status", "code", "agents", "plainly", "searched"),
    [
        ("complete", None, [{}], True, True),
        ("failed", 4, [{}], True, True),
        ("failed", 4, [], False, True),  # never ready: a candidate that is not good enough
        ("failed", 3, [], False, False),
        ("failed", 130, [{}], False, False),
    ],
)
def test_a_server_that_could_not_start_is_a_miss_of_a_search_and_no_result_of_a_plan(
    tmp_path: Path, status: str, code: int | None, agents: list[object], plainly: bool, searched: bool
) -> None:
    error = None if code is None else {"code": code, "message": "", "next_step": ""}
    run = store.Run(tmp_path, {"plan_hash": "a", "status": status, "error": error, "agents": agents})
    assert counts(run, {"b"}) is plainly
    assert counts(run, {"a", "b"}) is searched


def test_a_notebook_reads_which_storm_is_held_and_what_there_is_to_know_of_it(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(
        search: Search, data: Path, following: tune.Asked, outcome: tune.Outcome, say: batch.Say
    ) -> Iterator[store.Run]:
        report = following(search.candidates[1].trial, 4)
        report({"elapsed_s": 1.0})
        report({"notice": "counted as a miss: it was never ready"})
        yield from ()

    monkeypatch.setattr(tune, "possible", lambda search, say: search)
    monkeypatch.setattr(tune, "tune", held)
    said: list[str] = []
    record.searched(search, "here", data=tmp_path, say=said.append)
    assert said == ["storm 5: accept_loops 2, cost 1", "counted as a miss: it was never ready"]


def test_what_had_no_storm_before_the_last_that_had_could_not_be_tried(search: Search) -> None:
    hashes = [candidate.trial.plan_hash for candidate in search.candidates]
    left = search.tried({hashes[0], hashes[2]}).candidates
    assert [one.trial.plan_hash for one in left] == [hashes[0], hashes[2], hashes[3]]
    assert len(search.tried(set()).candidates) == 4


def test_a_candidate_says_what_it_changes() -> None:
    assert Candidate(trial_from_options({}), 0, {}).name == "as it comes"


def test_the_figure_shows_each_storm_of_the_path_and_which_missed(search: Search) -> None:
    runs = runs_of(search, "yn", "yyyyy")
    figure = path_of_a_search(search, tell.walked(search, runs), runs, "title")
    (axes,) = figure.axes
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["as it comes (cost 0): given up", "accept_loops 2 (cost 1): found"]
    marks = [line.get_marker() for line in axes.lines if line.get_marker() in "osx"]
    assert marks.count("o") == 6
    assert marks.count("x") == 1, "its p99 lies among the unanswered"
    fresh = [line for line in axes.lines if line.get_marker() == "o" and line.get_markerfacecolor() == "white"]
    assert len(fresh) == search.confirm


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("success = true", "success"),
        ("p99_ms = true", "p99_ms"),
        ("runs = true", "runs"),
        ("may_miss = 1.0", "may_miss"),
        ("cost = true", "cost"),
        ("clients = true", "clients"),
    ],
)
def test_a_value_of_another_type_is_refused_by_its_name_and_file(change: str, said: str, tmp_path: Path) -> None:
    lines = {"base": "clients = 5", "target": "success = 0.9\np99_ms = 100", "test": "", "knob": "cost = 1"}
    (table,) = [
        name
        for name in lines
        if said in {"base": "clients", "test": "runs may_miss", "knob": "cost"}.get(name, "success p99_ms")
    ]
    kept = [line for line in lines[table].splitlines() if not line.startswith(said)]
    lines[table] = "\n".join([*kept, change])
    file = tmp_path / "mine.toml"
    file.write_text(
        f"[base]\n{lines['base']}\n[target]\n{lines['target']}\n[test]\n{lines['test']}\n[[knob.a]]\n{lines['knob']}\n"
    )
    with pytest.raises(PlanError, match=rf"{said}.*mine\.toml|mine\.toml.*{said}"):
        load_search(file)
