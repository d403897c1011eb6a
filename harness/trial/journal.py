"""What a batch has done so far, on disk, so that one that was interrupted goes on where it stopped."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.events.store import cannot_write, write_whole
from harness.plan import Plan, Trial, content_hash


@dataclass(slots=True)
class Journal:
    """The storms of a plan in their order, and the runs of those that are over."""

    path: Path
    order: list[str]
    """Plan hashes: each repeat holds every trial once, or twice where the plan says so, shuffled."""
    run_ids: list[str]

    @classmethod
    def open(cls, data: Path, plan: Plan, trials: Sequence[Trial], *, afresh: bool) -> Journal:
        """The journal of an interrupted batch of this plan, if there is one that fits these trials; else a new one."""
        path = data / f".batch-{content_hash([plan.repeats, *(trial.plan_hash for trial in plan.block)])}.json"
        known = {trial.plan_hash for trial in trials}
        if not afresh:
            with suppress(OSError, ValueError, KeyError, TypeError):  # damaged: begin anew
                document: dict[str, Any] = json.loads(path.read_text())
                if set(document["order"]) == known:
                    return cls(path, list(document["order"]), list(document["run_ids"]))
        block = [trial.plan_hash for trial in plan.block if trial.plan_hash in known]
        order = [plan_hash for _ in range(plan.repeats) for plan_hash in random.sample(block, len(block))]
        return cls(path, order, [])

    def left(self, trials: Sequence[Trial]) -> list[Trial]:
        """The storms that are still to be run."""
        by_hash = {trial.plan_hash: trial for trial in trials}
        return [by_hash[plan_hash] for plan_hash in self.order[len(self.run_ids) :]]

    def forget(self, run_id: str) -> None:
        """Its run is gone: the storm moves to the end of the order, as one that is still to be run."""
        place = self.run_ids.index(run_id)
        del self.run_ids[place]
        self.order.append(self.order.pop(place))

    def note(self, run_id: str) -> None:
        """One more is over. Raises: MachineError: there is no room."""
        self.run_ids.append(run_id)
        if len(self.run_ids) == len(self.order):
            self.path.unlink(missing_ok=True)
            return
        try:
            write_whole(self.path, json.dumps({"order": self.order, "run_ids": self.run_ids}) + "\n")
        except OSError as error:
            raise cannot_write(self.path.parent, error) from error
