"""What a run did as time went on: series that a line of ``runs.parquet`` keeps."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.thought import goodput, stats
from harness.thought.summary import Summary, numbers


def goodput_per_s(summary: Summary) -> NDArray[np.int64]:
    """Answers in each second from the start."""
    return goodput.per_second(numbers(summary.answered, "last_byte_us"))


def connects_per_s(summary: Summary) -> NDArray[np.int64]:
    """Connections that were begun in each second from the start."""
    return goodput.per_second(summary.connections["issued_us"].drop_null().to_numpy())


def memory(summary: Summary) -> list[int | None] | None:
    """Resident bytes of the server at the end of each step of :data:`stats.TIMELINE_STEP_S`, if sampled."""
    samples = summary.server_samples
    if samples is None:
        return None
    known = samples.filter(pc.is_valid(samples["server_rss_bytes"]))
    return stats.last_per_step(numbers(known, "time_us"), numbers(known, "server_rss_bytes"))


def connect_costs(summary: Summary) -> list[float] | None:
    """What bind() and connect() took, µs: medians of :data:`stats.CONNECTS_PER_STEP` in order of issue."""
    connections = summary.connections
    if "connect_us" not in connections.column_names:
        return None  # recorded before that was measured
    issued = connections.filter(pc.is_valid(connections["issued_us"])).sort_by("issued_us")
    return stats.median_per_step(issued["connect_us"].to_numpy().astype(np.float64))
