"""Storms of mitigations as frames have them: 100 requests in two seconds, unless something else is said."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.mitigations.ways import endings
from harness.events.tables import OUTCOMES
from harness.plan import trial_from_options

PLAIN = "as it comes"


def storm(variant: str = PLAIN, statuses: dict[str, int] | None = None, **columns: object) -> dict[str, object]:
    """All answered; ``options`` are the plan's, ``outcomes`` replace some."""
    outcomes = dict.fromkeys(OUTCOMES, 0) | {"answered": 100} | dict(columns.pop("outcomes", {}))  # type: ignore[call-overload]
    trial = trial_from_options({"clients": 100, **dict(columns.pop("options", {}))})  # type: ignore[call-overload]
    return {
        "server": "go",
        "variant": variant,
        "plan": trial.to_json(),
        "plan_hash": trial.plan_hash,
        "status": "complete",
        "planned": 100,
        "clients": 100,
        "connections_made": 100,
        "outcomes": outcomes,
        "causes": {"clean": outcomes["answered"], "slow_answer": 100 - outcomes["answered"]},
        "statuses": statuses or {"200": 100},
        "success_rate": outcomes["answered"] / 100,
        "wanted_p50_ms": 10.0,
        "wanted_p99_ms": 100.0,
        "throughput_per_s": outcomes["answered"] / 2,
        "answers_per_step": [0] * 19 + [outcomes["answered"]] + [0] * 280,
        "wall_s": 2.0,
        "peak_in_flight": 100,
        "peak_accept_queue": np.nan,
        "peak_server_queue": np.nan,
        "server_cpu_s": 0.2,
        "peak_rss_bytes": 2**21,
        "front": None,
        "front_version": None,
        "front_backlog_effective": np.nan,
        "front_counters": None,
        "front_cpu_s": np.nan,
        "front_peak_rss_bytes": np.nan,
        "connections_to_server": np.nan,
        "listeners": 1,
        "lo_rx_dropped": 0,
        "generator": "ok",
        **columns,
    }


def with_front(variant: str = "HAProxy", **columns: object) -> dict[str, object]:
    counted = {"frontend.req_tot": 100, "backend.connect": 7, "frontend.slim": 9}
    about = {"front": "haproxy", "front_version": "2.6.12", "front_backlog_effective": 4096.0}
    used = {"front_cpu_s": 0.3, "front_peak_rss_bytes": 2**20, "connections_to_server": 7.0}
    return storm(variant, **(about | used | {"front_counters": counted} | columns))  # type: ignore[arg-type]


def kinds(p99_with: list[float], count: int = 5) -> pd.DataFrame:
    rows = [storm(wanted_p99_ms=100.0 + number) for number in range(count)]
    return endings(pd.DataFrame(rows + [with_front(wanted_p99_ms=value) for value in p99_with]))
