"""Which runs can be read: one that is damaged keeps none of the others from being shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from harness.events.store import DamagedRun, Run
from harness.thought.summary import Summary


def outcome(run: Run) -> tuple[float, float | None]:
    """(success rate, 99th percentile of latency in ms, None where it lies among the unanswered) of a run.

    Raises:
        DamagedRun: it cannot be read.
    """
    summary = whole(run)
    return summary.success_rate, summary.latencies.quantile(0.99)


def whole(run: Run) -> Summary:
    """A run whose record can be read. Raises: DamagedRun: it cannot, or is of another version."""
    summary = Summary(run)
    try:
        summary.to_json()
    except DamagedRun:
        raise
    except Exception as error:  # whatever a record that is none makes of the computations
        raise DamagedRun(run.run_id, "its record", error) from error
    return summary


def readable(found: Iterable[Run], say: Callable[[str], None]) -> Iterator[Summary]:
    """Of runs those that can be read, in their order; of each other one a line says why.

    One that is damaged keeps none of the others from being shown. One that a newer version has recorded is shown, and
    what this one knows nothing of is said.
    """
    for run in found:
        try:
            summary = whole(run)
        except DamagedRun as error:
            say(error.message)
        else:
            for line in summary.notes:
                say(line)
            yield summary
