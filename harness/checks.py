"""Checks of a run against what must hold whatever the server did; three-valued, as a doubt is not a failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.generator import Generator
from harness.plan import Load
from harness.probe.counters import LO_RX_DROPPED

Status = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True, slots=True)
class Check:
    """One check's result and the numbers it rests on."""

    name: str
    status: Status
    detail: str


def check_run(
    connections: pa.Table, requests: pa.Table, load: Load, kernel: Mapping[str, Any], generator: Generator
) -> list[Check]:
    """All checks of one run, in the order in which they are shown."""
    return [
        conservation(requests, load),
        time_order(
            (connections, ("scheduled_us", "issued_us", "established_us", "first_byte_us", "closed_us")),
            (requests, ("scheduled_us", "issued_us", "first_byte_us", "last_byte_us")),
        ),
        input_queue(kernel.get("counters")),
        Check("generator", "pass" if generator.verdict == "ok" else "unknown", _generator_detail(generator)),
    ]


def conservation(requests: pa.Table, load: Load) -> Check:
    """Each planned request has one row and ends in one outcome."""
    rows, without_outcome = len(requests), requests["outcome"].null_count
    per_client = pc.value_counts(requests["client"]).field("counts")
    uneven = len(per_client) != load.clients or pc.any(pc.not_equal(per_client, load.requests_per_client)).as_py()
    holds = rows == load.planned and not without_outcome and not uneven
    return Check("conservation", "pass" if holds else "fail", f"{load.planned} planned, {rows} rows with an outcome")


def time_order(*tables: tuple[pa.Table, Sequence[str]]) -> Check:
    """Nothing happens before what it depends on, in any row; for tables with their columns in order of time."""
    backwards = 0
    for table, columns in tables:
        latest = np.full(len(table), -np.inf)
        for name in columns:
            time_us = table[name].to_numpy().astype(float)
            backwards += int(np.count_nonzero(time_us < latest))  # comparisons with null, a NaN here, are false
            latest = np.fmax(latest, time_us)
    return Check("time_order", "fail" if backwards else "pass", f"{backwards} times lie before what they depend on")


def input_queue(counters: Mapping[str, int] | None) -> Check:
    """Whether this host lost packets before TCP saw them: then nothing can be said of the server's backlog."""
    if counters is None or LO_RX_DROPPED not in counters:
        return Check("input_queue", "unknown", "loopback's drops were not read")
    dropped = counters[LO_RX_DROPPED]
    if dropped:
        return Check(
            "input_queue",
            "unknown",
            f"this host's input queue dropped {dropped} packets before TCP: no verdict on a backlog from this run",
        )
    return Check("input_queue", "pass", "this host's input queue dropped nothing")


def _generator_detail(generator: Generator) -> str:
    withheld = "; no verdict on the server's speed from this run" if generator.verdict == "limiting" else ""
    return f"{generator.verdict}: {generator.because}{withheld}"
