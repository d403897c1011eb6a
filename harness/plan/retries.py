"""What clients do when an attempt has failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.plan.option import check, option, require

Jitter = Literal["none", "full"]


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request is tried, how long each attempt may take, and what is waited between two of them.

    Naive clients try again at once. ``backoff_ms`` is waited before the second attempt and twice as long before each
    further one, up to ``backoff_cap_ms``; with ``full`` jitter the wait is drawn evenly from zero to that
    (Brooker, "Exponential Backoff And Jitter", 2015). ``retry_budget`` is a share of the requests: each one that is
    begun earns that much of a retry, and where none is earned a failure is final; None: no bound.
    """

    attempts: int = option(1, "how often a failed request is tried, in all", low=1, high=100, unit="attempts")
    attempt_timeout_s: float | None = option(
        None, "seconds each of them may take (default: as long as its request)", flag="--attempt-timeout", unit="s"
    )
    backoff_ms: float = option(0.0, "wait before the second, twice as long before each further", unit="ms", low=0)
    backoff_cap_ms: float = option(30_000.0, "the longest such wait", low=0, unit="ms")
    jitter: Jitter = option("none", "full: a random part of each wait")
    retry_budget: float | None = option(
        None, "each request earns this much of a retry for all", unit="share", low=0, high=10
    )

    def __post_init__(self) -> None:
        check(self)
        asked = self.attempt_timeout_s is not None or self.backoff_ms or self.retry_budget is not None
        require(
            self.attempts > 1 or not asked,
            "attempt timeout, backoff and retry budget are of requests that are tried again; use --attempts 2 or more",
        )

    def wait_ms(self, failed: int) -> float:
        """The longest wait after so many failed attempts of a request."""
        return min(self.backoff_cap_ms, self.backoff_ms * 2.0 ** (failed - 1))
