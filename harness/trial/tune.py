"""Holding the storms that a search asks for, one after the other, each a run like any other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from harness.errors import MachineError
from harness.events import store
from harness.events.store import DamagedRun, Run, counts
from harness.plan import Trial
from harness.plan.options import DEFAULT
from harness.plan.search import Search, next_trial, path, reached
from harness.servers.catalogue import default_places
from harness.trial import batch
from harness.trial.caller import Report, recover, run_trial

Asked = Callable[[Trial, int], Report]
"""Called before each storm with how many there were."""
Outcome = Callable[[Run], tuple[float, float | None]]
"""(success rate, 99th percentile in ms) of a storm, as :func:`harness.thought.summary.outcome` has them."""


def _filled_in(trial: Trial) -> str:
    """Which places of its command were filled with a word, at which a server ends that reads a number there."""
    named = " and ".join(f"{{{name}}}" for name in default_places(trial.server))
    return f" ({named} stands for the word `{DEFAULT}` here)" if named else ""


def possible(search: Search, say: batch.Say) -> Search:
    """What of it can be tried here; of what cannot, each reason is said once.

    Raises:
        MachineError: that is nothing.
    """
    left = search.of(batch.runnable([candidate.trial for candidate in search.candidates], say))
    if not left.candidates:
        raise MachineError(f"no candidate of {search.name!r} can be tried here", "see `stormlab servers`")
    return left


def saying(search: Search, say: batch.Say) -> Asked:
    """Have each storm said before it is held, and what there is to know of it; not its progress."""

    def following(trial: Trial, held: int) -> Report:
        (candidate,) = [one for one in search.candidates if one.trial == trial]
        say(f"storm {held + 1}: {candidate.name}, cost {candidate.cost:g}")
        return batch.notices(say)

    return following


def tune(search: Search, data: Path, following: Asked, outcome: Outcome, say: batch.Say) -> Iterator[Run]:
    """The runs of a search, those first that this machine has had already; it is over when they come to an end.

    Each storm of the same plan, host and server counts, whatever it was held for, and none of them twice. One whose
    server failed before it began counts too, as a miss: a candidate that cannot be started is not good enough, and a
    search that stopped at it would stop there each time it goes on. Of one that cannot be read ``say`` is told why.

    Raises:
        MachineError: a storm could not be held for another reason.
        KeyboardInterrupt: it was interrupted.
    """
    recover(data, say)
    searched = {candidate.trial.plan_hash for candidate in search.candidates}
    identities = {batch.identity(candidate.trial) for candidate in search.candidates}
    storms: list[tuple[str, float, float | None]] = []

    def note(run: Run) -> None:
        storms.append((run.manifest["plan_hash"], *outcome(run)))

    for run in store.runs(data, say):
        if counts(run, searched) and run.identity in identities:
            try:
                note(run)
            except DamagedRun as error:
                say(error.message)
            else:
                yield run
    while (trial := next_trial(path(search, reached(search, storms)))) is not None:
        report = following(trial, len(storms))
        run = run_trial(trial, data, report)
        if run.interrupted:
            raise KeyboardInterrupt
        if not counts(run, searched):
            raise MachineError(
                f"a storm of the search failed: {run.manifest['error']['message']}", f"see {run.path}; then go on"
            )
        if not run.is_result:
            why = f"{run.manifest['error']['message']}{_filled_in(trial)}"
            report({"notice": f"no storm, counted as a miss: {why}; see {run.path}"})
        note(run)
        yield run
