"""What clients do when an attempt has failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.plan.bounds import MAX_SECONDS, choice, require

Jitter = Literal["none", "full"]
MAX_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request is tried, how long each attempt may take, and what is waited between two of them.

    Naive clients try again at once. ``backoff_ms`` is waited before the second attempt and twice as long before each
    further one, up to ``backoff_cap_ms``; with ``full`` jitter the wait is drawn evenly from zero to that
    (Brooker, "Exponential Backoff And Jitter", 2015). ``retry_budget`` is a share of the requests: each one that is
    begun earns that much of a retry, and where none is earned a failure is final.
    """

    attempts: int = 1
    """At most, of one request; each on a new connection."""
    attempt_timeout_s: float | None = None
    """How long one attempt may take; None: as long as its request."""
    backoff_ms: float = 0.0
    backoff_cap_ms: float = 30_000.0
    jitter: Jitter = "none"
    retry_budget: float | None = None
    """None: no bound."""

    def __post_init__(self) -> None:
        require(1 <= self.attempts <= MAX_ATTEMPTS, f"attempts must be 1 to {MAX_ATTEMPTS}, not {self.attempts}")
        if self.attempt_timeout_s is not None:
            require(
                0 < self.attempt_timeout_s <= MAX_SECONDS,
                f"attempt timeout must be above 0 and at most {MAX_SECONDS:g} s, not {self.attempt_timeout_s:g}",
            )
        for name, value in (("backoff", self.backoff_ms), ("backoff cap", self.backoff_cap_ms)):
            most = MAX_SECONDS * 1000
            require(0 <= value <= most, f"{name} must be 0 to {most:g} ms, not {value:g}")
        choice("jitter", self.jitter, Jitter)
        if self.retry_budget is not None:
            require(0 <= self.retry_budget <= 10, f"retry budget is a share from 0 to 10, not {self.retry_budget:g}")
        asked = self.attempt_timeout_s is not None or self.backoff_ms or self.retry_budget is not None
        require(
            self.attempts > 1 or not asked,
            "attempt timeout, backoff and retry budget are of requests that are tried again; use --attempts 2 or more",
        )

    def wait_ms(self, failed: int) -> float:
        """The longest wait after so many failed attempts of a request."""
        return min(self.backoff_cap_ms, self.backoff_ms * 2.0 ** (failed - 1))
