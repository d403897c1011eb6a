"""One trial of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from harness.plan.trial import Trial


@dataclass(frozen=True, slots=True)
class Step:
    """One trial of a batch: the ``number``-th of ``total``."""

    number: int
    total: int
    trial: Trial
    done_before: int = 0
    """Of these, how many were over before this batch went on."""

    def __str__(self) -> str:
        load = self.trial.load
        many = f" × {load.requests_per_client:,}" if load.requests_per_client > 1 else ""
        place = f"[{self.number}/{self.total}] " if self.total > 1 else ""
        name = "command" if self.trial.server.command else self.trial.server.name
        name += f" with {allocator}" if (allocator := self.trial.server.allocator) != "system" else ""
        return f"{place}{name}, {load.clients:,} clients{many}, {self.trial.placement.cpu} CPUs"
