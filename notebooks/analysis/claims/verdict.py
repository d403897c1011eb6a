"""What a verdict is, what the claims are, and how findings under several conditions come to one word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from harness.page.numbers import Unit
from harness.thought.comparing import gain
from harness.thought.inference import Difference

IntervalKind = Literal["t", "range", "exact"]
Word = Literal["reproduced", "true_under_conditions", "not_reproduced", "undecidable_here", "pending"]


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence of the article, the notebook that puts it to the test, and the figures that show the result."""

    name: str
    says: str
    notebook: str
    figure: str = ""
    """Of that notebook, or with its notebook before it."""
    more_figures: tuple[str, ...] = ()
    """What the first does not show. Where the number's runs are in one of these alone, that one leads."""

    @property
    def figures(self) -> tuple[str, ...]:
        """All of them within the folder of figures, the first one first."""
        named = [name for name in (self.figure, *self.more_figures) if name]
        return tuple(name if "/" in name else f"{self.notebook}/{name}" for name in named)


CLAIMS = {
    claim.name: claim
    for claim in (
        Claim("S1", "Kept connections: Hyper is faster than Go and Node.js", "01-stack-comparison", "kept"),
        Claim(
            "S2",
            "50,000 short connections: Hyper answers 25 %, and is slower than Node.js",
            "08-original-benchmark",
            "address",
            ("conditions", "01-stack-comparison/short-success"),
        ),
        Claim(
            "S3",
            "The server works in pulses: a batch, then a pause",
            "04-queue-overflow-root-cause",
            "pulses",
            ("silences",),
        ),
        Claim(
            "S4",
            "Go and Node.js: all answered, at a steady low latency",
            "01-stack-comparison",
            "short-latency",
            ("02-backlog-sweep/storms-p99", "08-original-benchmark/conditions"),
        ),
        Claim(
            "C1",
            "Cause: the listen backlog, 128 for Rust, 4096 for Go, 512 for Node.js; beyond it clients are refused",
            "04-queue-overflow-root-cause",
            "interventions",
        ),
        Claim(
            "C2",
            "Cause: the limit of open files",
            "05-file-descriptor-limit",
            "usual",
            ("08-original-benchmark/conditions", "short"),
        ),
        Claim("C3", "Cause: the default allocator, under high concurrency", "03-allocator-comparison", "effects"),
        Claim("F1", "Fix: `listen(4096)`", "02-backlog-sweep", "storms-first-try"),
        Claim("F2", "Fix: jemalloc as the global allocator", "03-allocator-comparison", "effects"),
        Claim(
            "F3",
            "Fix: more open files, a wider port range, TCP Fast Open",
            "06-kernel-tuning",
            "settings",
            ("08-original-benchmark/conditions", "ports"),
        ),
        Claim(
            "A1", "Advice: HTTP/2, which needs far fewer connections", "07-mitigations", "pools", ("few-connections",)
        ),
        Claim("A2", "Advice: connection pools", "07-mitigations", "pools", ("few-connections",)),
        Claim("A3", "Advice: rate limiting and queueing at the load balancer", "07-mitigations", "endings"),
        Claim("A4", "Advice: load-test to find the best configuration", "07-mitigations", "search"),
    )
}
"""By name, in the order in which they are told."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of several things that a claim names, with a number of its own; as in :class:`Verdict`."""

    measure: str
    unit: Unit
    value: float | None = None
    interval: tuple[float, float] | None = None
    interval_kind: IntervalKind | None = None
    of_runs: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One claim's. ``value`` is what ``measure`` says in ``unit``, of ``of_runs`` runs, or pairs of them.

    ``interval`` has its ends, at 95 % by ``t``, or by an ``exact`` count of runs, or as the ``range`` of fewer than six
    runs (``interval_kind``); null where the runs did not differ. Value and interval are null where nothing is decided;
    a quantile among the unanswered has no value either.
    """

    claim: str
    verdict: Word
    statement: str
    measure: str = ""
    unit: Unit | None = None
    value: float | None = None
    interval: tuple[float, float] | None = None
    interval_kind: IntervalKind | None = None
    of_runs: int | None = None
    run_ids: tuple[str, ...] = ()
    figure: str | None = None
    figures: tuple[str, ...] = ()
    """That one, and others that show more of it."""
    value_run_ids: tuple[str, ...] = ()
    """Of the runs those behind ``value``; empty where a rule does not tell them apart."""
    parts: tuple[Part, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"says": CLAIMS[self.claim].says, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether a claim holds under one condition; None where that is not decided."""

    condition: str
    holds: bool | None
    no_room: bool = False
    """Whether that is because next to everybody is answered without it, so that there is nothing to gain."""


def of_gain(condition: str, change: Difference) -> Finding:
    """Whether as many more as matter are answered."""
    found = gain(change)
    return Finding(condition, found.holds, found.open == "no room")


def word(findings: Sequence[Finding]) -> Word:
    """One counterexample makes a claim conditional; only where nothing is left undecided is it reproduced."""
    decided = [finding.holds for finding in findings if finding.holds is not None]
    if not decided:
        return "undecidable_here"
    if not any(decided):
        return "not_reproduced"
    return "reproduced" if all(decided) and len(decided) == len(findings) else "true_under_conditions"


def told(findings: Sequence[Finding], holds: bool | None) -> str:
    """The conditions under which a claim holds, does not, or is undecided though it might be decided."""
    return "; ".join(finding.condition for finding in findings if finding.holds is holds and not finding.no_room)
