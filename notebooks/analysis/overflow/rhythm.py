"""What storms of several kinds say of pulses together: which of them show any, who makes them, and what moves them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from analysis.overflow.pulses import SILENT, SYN, explained, measures
from harness.page.notebook import mean_and_interval, span
from harness.thought.deciding import Decision, decide, decide_ratio, decide_share
from harness.thought.inference import ROUNDING, mean_share

PLAN = "04-pulses"
FULL, LARGER = "full queue", "larger backlog"
ALONE, RESCHEDULED = "no SYN cookies", "no SYN cookies, no linear timeouts"
RESTING = "out of files"
NODE, GO = "Node.js as it comes", "Go as it comes"
"""Kinds of storm of the plan. Without cookies no ghost's request is sent again between two waves of SYNs."""
LATER = 1.25
"""Times as late as before, for a wave that another schedule is to have moved: it has the second at 3 s, and not 2 s."""
MOSTLY = 0.5
"""Share of the silence that a server must have ended itself, for a rhythm of its own."""
REMOVED, MOVED, OWN = (
    "a larger backlog takes the pulses away",
    "another schedule of SYNs moves them",
    "a server that rests by itself is told from one that waits for clients",
)


def with_pulses(
    runs: pd.DataFrame, lives: Callable[[str], pd.DataFrame], settings: Callable[[str], Mapping[str, str]]
) -> pd.DataFrame:
    """The runs with what :func:`pulses.measures` has as columns; ``lives`` and ``settings`` are asked by run id."""
    seen = [measures(explained(lives(run_id), settings(run_id))) for run_id in runs["run_id"]]
    return runs.join(pd.DataFrame(seen, index=runs.index))


def pulsing(storms: pd.DataFrame) -> Decision:
    """Whether storms of a kind are silent between bunches of answers for more than :data:`pulses.SILENT`."""
    return decide(mean_share(storms["silent"].to_list()), SILENT)


def propositions(runs: pd.DataFrame) -> dict[str, Decision]:
    """What is asked of the storms of the plan, each with its decision; nothing of kinds that were not run.

    ``runs`` have ``variant``, and the columns of :func:`with_pulses`.
    """
    of, found = _by_kind(runs), {}
    if {FULL, LARGER} <= set(of):
        found[REMOVED] = decide_share(of[FULL]["silent"].to_list(), of[LARGER]["silent"].to_list(), SILENT)
    second = {name: of[name]["second_syns_s"].dropna().to_list() for name in (RESCHEDULED, ALONE) if name in of}
    if len(second) == 2 and all(second.values()):
        found[MOVED] = decide_ratio(second[RESCHEDULED], second[ALONE], LATER)
    if RESTING in of:
        found[OWN] = decide(mean_share(of[RESTING]["by_server"].to_list()), MOSTLY)
    return found


def waves(storms: pd.DataFrame, found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """When waves of SYNs began bunches in storms of a kind, a row for each wave: when it was due, and when it came.

    ``found`` has the bunches of each run by its id, as :func:`pulses.explained` has them.
    """
    bunches = pd.concat([found[run_id].drop_duplicates(["begun_by", "number"]) for run_id in storms["run_id"]])
    by_number = bunches[bunches["begun_by"] == SYN].groupby("number")
    return pd.DataFrame(
        {
            "due after, s": by_number["due_s"].median().map("{:.2f}".format),
            "bunch begins after, s": by_number["begin_s"].agg(span, "{:.2f}".format),
            "storms": by_number.size().astype(str),
        }
    ).rename_axis("SYN sent again for the … time")


def told(runs: pd.DataFrame) -> list[str]:
    """The same in sentences, lower case and without their full stops, each with its numbers."""
    of, decided = _by_kind(runs), propositions(runs)
    lines = []
    if FULL in of:
        full = of[FULL]
        lines.append(
            f"with a full queue the server is silent for {_silent(full)} of the time between its first answer and its "
            f"last. {_most(full['by_clients'])} of that silence ends when something gets through that clients' kernels "
            f"had sent again, in {_waves(full, 'syn_waves')} of SYNs and {_waves(full, 'request_waves')} of requests a "
            f"storm, and {_most(full['on_time']).lower()} of these came when the kernel's schedule has them"
        )
    if ALONE in of:
        alone = of[ALONE]
        lines.append(
            f"without SYN cookies no client becomes a ghost whose request is sent again: "
            f"{_waves(alone, 'syn_waves')} of SYNs begin bunches, {_waves(alone, 'request_waves')} of requests"
        )
    if REMOVED in decided:
        lines.append(f"{_word(decided[REMOVED])}{REMOVED}: silent for {_silent(of[LARGER])} of the time")
    if MOVED in decided:
        times, when = decided[MOVED].found, {name: of[name]["second_syns_s"] for name in (RESCHEDULED, ALONE)}
        lines.append(
            f"{_word(decided[MOVED])}{MOVED}: without linear timeouts the second wave begins a bunch after "
            f"{span(when[RESCHEDULED], _SECONDS)} instead of {span(when[ALONE], _SECONDS)}, "
            f"{times.value:.2f} times as late"
        )
    if OWN in decided:
        resting = of[RESTING]
        lines.append(
            f"{_word(decided[OWN])}{OWN}: `{resting['server'].iloc[0]}` out of files is silent for {_silent(resting)} "
            f"of the time, and ends {_most(resting['by_server']).lower()} of that itself, every "
            f"{span(resting['period_s'], _SECONDS)}"
        )
    if others := [f"*{name}* {_silent(of[name])}" for name in (NODE, GO) if name in of]:
        lines.append(f"the same storm, on others: silent for {', '.join(others)} of the time")
    return lines


_SECONDS, _SHARE = "{:.2f} s".format, "{:.0%}".format


def _by_kind(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """With what share of its silence each storm's clients ended, and what its server."""
    ended = {"by_clients": runs["silent_for_clients"], "by_server": runs["silent_server"]}
    shares = runs.assign(**{name: part / runs["silent"] for name, part in ended.items()})
    return {str(name): storms for name, storms in shares.groupby("variant", sort=False, observed=True)}


def _silent(storms: pd.DataFrame) -> str:
    """``65% (56% to 74%)``, or the share alone where all storms look alike."""
    alike = span(storms["silent"], _SHARE)
    return mean_and_interval(storms["silent"], _SHARE) if " " in alike else alike


def _most(shares: pd.Series) -> str:
    """``All``, or how many in the mean."""
    known = shares.dropna()
    return "All" if len(known) and known.min() > 1 - ROUNDING else mean_and_interval(known, _SHARE)


def _waves(storms: pd.DataFrame, column: str) -> str:
    """``2 to 4 waves``, ``no waves``."""
    low, high = int(storms[column].min()), int(storms[column].max())
    said = f"{low or 'no'}" if low == high else f"{low} to {high}"
    return f"{said} wave{'' if low == high == 1 else 's'}"


def _word(decision: Decision) -> str:
    """How a sentence begins, by whether its proposition holds."""
    if decision.holds is None:
        return f"undecided ({decision.why_null}): "
    return "" if decision.holds else "it is not so that "
