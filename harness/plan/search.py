"""The search for the cheapest configuration that is good enough, as a pure function of the storms held so far.

Candidates are tried from the cheapest on. One that misses its target too often is given up at once; one that reaches it
often enough is tested again with fresh storms, which had no part in its choice, and only these say how good it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from harness.errors import PlanError
from harness.plan import PLANS, Plan, Trial, trial_from_options
from harness.plan.files import read_document, table
from harness.plan.option import is_number, is_whole, require

SEARCHES = PLANS / "searches"
"""The collection's; each is a TOML file like a plan's, with a target and knobs."""
Fate = Literal["given up", "not confirmed", "found", "under way", "not tried"]
MOST_CANDIDATES = 500


@dataclass(frozen=True, slots=True)
class Target:
    """What a storm must come to: ``success`` of all requests answered, 99 % of them within ``p99_ms``."""

    success: float
    p99_ms: float

    def __post_init__(self) -> None:
        for name in ("success", "p99_ms"):
            found = getattr(self, name)
            require(is_number(found), f"[target] {name} must be a number, not {found!r}")
        require(0 < self.success <= 1, f"[target] success is a share above 0 and up to 1, not {self.success:g}")
        require(self.p99_ms > 0, f"[target] p99_ms must be above 0, not {self.p99_ms:g}")

    def met(self, success_rate: float, p99_ms: float | None) -> bool:
        """Whether a storm reached it; ``p99_ms`` is None, or no number, where it lies among the unanswered."""
        return success_rate >= self.success and p99_ms is not None and p99_ms <= self.p99_ms


@dataclass(frozen=True, slots=True)
class Candidate:
    """One configuration: what it changes, and what that costs by the plan's own reckoning."""

    trial: Trial
    cost: float
    changes: Mapping[str, Any]
    """Option → value, of the knobs that are turned."""

    @property
    def name(self) -> str:
        return ", ".join(f"{option} {_worded(value)}" for option, value in self.changes.items()) or "as it comes"


@dataclass(frozen=True, slots=True)
class Search:
    """Candidates in order of cost, and how each is tested."""

    name: str
    question: str
    target: Target
    candidates: tuple[Candidate, ...]
    runs: int
    """Storms that a candidate has to stand before it is chosen."""
    confirm: int
    """Fresh storms that the chosen one is then tested with."""
    may_miss: int
    """How many of either may miss the target."""

    def __post_init__(self) -> None:
        for name in ("runs", "confirm", "may_miss"):
            found = getattr(self, name)
            require(is_whole(found), f"[test] {name} must be a whole number, not {found!r}")
        require(1 <= self.runs <= 100, f"[test] runs must be 1 to 100, not {self.runs}")
        require(1 <= self.confirm <= 1000, f"[test] confirm must be 1 to 1000, not {self.confirm}")
        most = min(self.runs, self.confirm)
        require(0 <= self.may_miss < most, f"[test] may_miss must be 0 to {most - 1}, not {self.may_miss}")

    @property
    def plan(self) -> Plan:
        """Its storms as a plan, for what looks up runs."""
        return Plan(self.name, self.question, tuple(candidate.trial for candidate in self.candidates))

    def of(self, trials: Sequence[Trial]) -> Search:
        """What is left of it for these."""
        return replace(self, candidates=tuple(one for one in self.candidates if one.trial in trials))

    def tried(self, plan_hashes: Collection[str]) -> Search:
        """What of it could be tried where it was held: one without a storm before the last that had some could not."""
        had = [one.trial.plan_hash in plan_hashes for one in self.candidates]
        last = max((number for number, storms in enumerate(had) if storms), default=-1)
        return self.of([one.trial for number, one in enumerate(self.candidates) if had[number] or number > last])


@dataclass(frozen=True, slots=True)
class Tested:
    """How far one candidate has come: for each storm, in order of time, whether it reached the target."""

    candidate: Candidate
    fate: Fate
    test: tuple[bool, ...]
    fresh: tuple[bool, ...]


def path(search: Search, met: Mapping[str, Sequence[bool]]) -> list[Tested]:
    """What became of each candidate, in the order of the search.

    ``met`` has, by plan hash, whether the storms of a candidate reached the target, in order of time. Storms that the
    search has no use for are left aside. The same storms give the same path, so that it can be walked again from the
    record.
    """
    found: list[Tested] = []
    over = False
    for candidate in search.candidates:
        if over:
            found.append(Tested(candidate, "not tried", (), ()))
            continue
        storms = tuple(met.get(candidate.trial.plan_hash, ()))
        test = _until_decided(storms[: search.runs], search.may_miss)
        fresh: tuple[bool, ...] = ()
        fate: Fate = "under way"
        if test.count(False) > search.may_miss:
            fate = "given up"
        elif len(test) == search.runs:
            fresh = _until_decided(storms[search.runs : search.runs + search.confirm], search.may_miss)
            if fresh.count(False) > search.may_miss:
                fate = "not confirmed"
            elif len(fresh) == search.confirm:
                fate = "found"
        over = fate in ("found", "under way")
        found.append(Tested(candidate, fate, test, fresh))
    return found


def next_trial(tested: Sequence[Tested]) -> Trial | None:
    """The storm that the search needs next; None where it is over."""
    return next((one.candidate.trial for one in tested if one.fate == "under way"), None)


def chosen(tested: Sequence[Tested]) -> Tested | None:
    """The cheapest that was confirmed; None where there is none, or not yet."""
    return next((one for one in tested if one.fate == "found"), None)


def _until_decided(storms: Sequence[bool], may_miss: int) -> tuple[bool, ...]:
    """Storms up to the one that is a miss too many."""
    for number in range(len(storms)):
        if storms[: number + 1].count(False) > may_miss:
            return tuple(storms[: number + 1])
    return tuple(storms)


def load_search(file: Path, changes: Mapping[str, Any] | None = None) -> Search:
    """Read a search; ``changes`` replace options of its base, or are merged into its target and test.

    TOML with ``question``, ``[base]`` (options of every storm), ``[target]`` (``success``, ``p99_ms``), ``[test]``
    (``runs``, ``confirm``, ``may_miss``) and for each knob its settings, ``[[knob.NAME]]``: a ``cost``, and options.
    The candidates are all combinations, the costs of their settings added up.

    Raises:
        PlanError: the file cannot be read, is not TOML, or describes something impossible.
    """
    document = read_document(file, "search", str(SEARCHES))
    unknown = set(document) - {"question", "base", "target", "test", "knob"}
    require(not unknown, f"the search {file} has unknown keys: {', '.join(sorted(unknown))}")
    tables = {key: {**table(file, document, key), **(changes or {}).get(key, {})} for key in ("base", "target", "test")}
    knobs = table(file, document, "knob")
    require(bool(knobs), f"the search {file} has no [[knob.NAME]] to turn")
    for name, settings in knobs.items():
        tabled = isinstance(settings, list) and all(isinstance(setting, dict) for setting in settings)
        require(tabled, f"knob.{name} in {file} must be a list of tables, each [[knob.{name}]], not {settings!r}")
    require(set(tables["target"]) == {"success", "p99_ms"}, f"[target] in {file} needs success and p99_ms")
    require(set(tables["test"]) <= {"runs", "confirm", "may_miss"}, f"[test] in {file} knows runs, confirm, may_miss")
    question = document.get("question", "")
    require(isinstance(question, str), f"question in {file} must be a text, not {question!r}")
    try:
        return Search(
            file.stem,
            question,
            Target(**tables["target"]),
            _candidates(tables["base"], knobs),
            **{"runs": 3, "confirm": 10, "may_miss": 0, **tables["test"]},
        )
    except PlanError as error:
        raise PlanError(f"{error.message} (in {file})", error.next_step) from error


def _worded(value: Any) -> str:
    """An option's value as on the command line: of settings of the kernel NAME=VALUE."""
    return " ".join(f"{name}={setting}" for name, setting in value.items()) if isinstance(value, dict) else str(value)


def _candidates(base: Mapping[str, Any], knobs: Mapping[str, Any]) -> tuple[Candidate, ...]:
    """All combinations, the cheapest first; those of the same cost in the order of the file."""
    combinations = list(itertools.product(*knobs.values()))
    require(len(combinations) <= MOST_CANDIDATES, f"{len(combinations)} combinations; {MOST_CANDIDATES} are the most")
    made: dict[str, Candidate] = {}
    for settings in combinations:
        costs = [setting.get("cost") for setting in settings]
        require(all(map(is_number, costs)), f"each setting of a [[knob.NAME]] needs its cost, a number, not {costs}")
        changes = {option: value for setting in settings for option, value in setting.items() if option != "cost"}
        trial = trial_from_options({**base, **changes}, lambda one: one.name)
        candidate = Candidate(trial, sum(costs), changes)
        cheapest = made.setdefault(trial.plan_hash, candidate)
        if candidate.cost < cheapest.cost:
            made[trial.plan_hash] = candidate
    return tuple(sorted(made.values(), key=lambda candidate: candidate.cost))


def reached(search: Search, storms: Iterable[tuple[str, float, float | None]]) -> dict[str, list[bool]]:
    """Plan hash → whether each storm met the target, from (plan hash, success rate, p99 in ms) in order of time."""
    met: dict[str, list[bool]] = {}
    for plan_hash, success_rate, p99_ms in storms:
        met.setdefault(plan_hash, []).append(search.target.met(success_rate, p99_ms))
    return met
