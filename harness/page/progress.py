"""Progress of a storm on standard error: a line that is redrawn on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from harness.plan import Trial
from harness.plan.step import Step

PLAIN_LINE_EVERY_S = 5.0
RATE_OVER_S = 1.0


class Progress:
    """Follows one storm after the other; use as a context manager."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._live = (
            Live(console=self._console, transient=True, auto_refresh=False) if self._console.is_terminal else None
        )
        self._begun = time.monotonic()
        self._done_before = 0.0
        self._last_line = 0.0

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def follow(self, step: Step) -> _Follower:
        return _Follower(self, step, time.monotonic() - self._begun)

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(Text(line), soft_wrap=True)

    def show(self, line: str) -> None:
        """The line of the moment."""
        if self._live is not None:
            self._live.update(Text(line), refresh=True)
        elif time.monotonic() - self._last_line >= PLAIN_LINE_EVERY_S:
            self._last_line = time.monotonic()
            print(line, file=sys.stderr, flush=True)


class _Follower:
    """Turns the reports of one storm into the line of the moment."""

    def __init__(self, progress: Progress, step: Step, batch_elapsed_s: float) -> None:
        self._progress = progress
        self._title = str(step)
        self._batch = _batch_left(step, batch_elapsed_s)
        self._lasts_at_most_s = _lasts_at_most_s(step.trial)
        self._earlier: tuple[float, int] = (0.0, 0)
        self._rate = 0.0

    def __call__(self, report: dict[str, Any]) -> None:
        if "notice" in report:
            self._progress.say(report["notice"])
            return
        if "phase" in report:
            self._progress.show(f"{self._title}: {report['phase']}")
            return
        elapsed_s, answered, failed = report["elapsed_s"], report["answered"], report["failed"]
        since_s = elapsed_s - self._earlier[0]
        if since_s >= RATE_OVER_S or elapsed_s < RATE_OVER_S:
            self._rate = (answered - self._earlier[1]) / max(since_s, 1e-3)
        if since_s >= RATE_OVER_S:
            self._earlier = (elapsed_s, answered)
        in_flight = max(0, report["issued"] - answered - failed)
        left_s = max(0.0, self._lasts_at_most_s - elapsed_s)
        if self._rate > 0:
            left_s = min(left_s, (report["planned"] - answered - failed) / self._rate)
        left = f"{left_s:.0f} s left at most" if left_s < math.inf else "time left not known yet"
        self._progress.show(
            f"{self._title}: {elapsed_s:.1f} s, {left}{self._batch}, {self._rate:,.0f} answers/s, "
            f"{in_flight:,} in flight, {answered:,} answered, {failed:,} failed of {report['planned']:,}"
        )


def _batch_left(step: Step, elapsed_s: float) -> str:
    over = step.number - 1 - step.done_before
    if not over:
        return ""
    left_s = elapsed_s / over * (step.total - step.number + 1)
    return f" (batch: about {left_s / 60:.0f} min left)" if left_s >= 90 else f" (batch: about {left_s:.0f} s left)"


def _lasts_at_most_s(trial: Trial) -> float:
    """Only for what is issued without waiting for answers; else the rate of answers says how long it takes."""
    load = trial.load
    if load.rate is not None:
        return load.planned / load.rate + load.timeout_s
    issued_at_once = load.is_burst and (load.requests_per_client == 1 or load.pooled)
    return load.timeout_s if issued_at_once else math.inf
