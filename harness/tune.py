"""Holding the storms that a search asks for, one after the other, each a run like any other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from harness import batch, store
from harness.errors import MachineError
from harness.plan import Trial
from harness.search import Search, next_trial, path, reached
from harness.store import Run
from harness.summary import Summary
from harness.trial import Report, recover, run_trial

Asked = Callable[[Trial, int], Report]
"""Called before each storm with how many there were."""


def possible(search: Search, say: batch.Say) -> Search:
    """What of it can be tried here; of what cannot, each reason is said once.

    Raises:
        MachineError: that is nothing.
    """
    left = search.of(batch.runnable([candidate.trial for candidate in search.candidates], say))
    if not left.candidates:
        raise MachineError(f"no candidate of {search.name!r} can be tried here", "see `stormlab servers`")
    return left


def tune(search: Search, data: Path, following: Asked) -> Iterator[Run]:
    """The runs of a search, those first that this machine has had already; it is over when they come to an end.

    Each storm of the same plan, host and server counts, whatever it was held for, and none of them twice.
    """
    recover(data)
    identities = {batch.identity(candidate.trial) for candidate in search.candidates}
    storms: list[tuple[str, float, float | None]] = []

    def note(run: Run) -> None:
        summary = Summary(run)
        storms.append((run.manifest["plan_hash"], summary.success_rate, summary.latencies.quantile(0.99)))

    for run in store.runs(data):
        if run.is_result and run.identity in identities:
            note(run)
            yield run
    while (trial := next_trial(path(search, reached(search, storms)))) is not None:
        run = run_trial(trial, data, following(trial, len(storms)))
        if run.interrupted:
            raise KeyboardInterrupt
        if not run.is_result:
            raise MachineError(
                f"a storm of the search failed: {run.manifest['error']['message']}", f"see {run.path}; then go on"
            )
        note(run)
        yield run
