"""The trace as a table, from the pages that the tracing process left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from harness.events.tables import TRACE, schema
from harness.witness.tracing.decode import Decoder
from harness.witness.tracing.pages import Head, Pages


def trace_table(path: Path, start_ns: int) -> tuple[pa.Table, dict[str, Any]]:
    """(a table with the columns of :data:`harness.events.tables.TRACE`, in order of time; what it leaves out).

    Events from before the run's start are those of the server's beginning and are left out. ``missed`` counts events
    that were overwritten unread, ``unclaimed_drops`` those that may be another trial's.
    """
    data = path.read_bytes()
    first_line, newline, _ = data.partition(b"\n")
    if not newline:  # the tracing had not begun
        return pa.Table.from_pylist([], schema=schema(TRACE)), {"events": 0, "missed": 0, "unclaimed_drops": 0}
    head = Head.from_line(first_line)
    pages = Pages(data, head, len(first_line) + 1)
    decoded = Decoder(head, data).decode(pages.records())
    events = [event for event in decoded.events if event.time_ns >= start_ns]
    no_client = np.array([event.port == 0 for event in events], np.bool_)
    time_us = np.array([(event.time_ns - start_ns) // 1000 for event in events], np.int64)
    ports = np.array([event.port for event in events], np.int64)
    columns = [
        pa.array(time_us),
        pa.array([event.event for event in events], pa.string()).dictionary_encode(),
        pa.array([event.address for event in events], pa.string(), mask=no_client).dictionary_encode(),
        pa.array(ports, mask=no_client),
        pa.array([event.side for event in events], pa.string()).dictionary_encode(),
        pa.array([event.detail for event in events], pa.string()).dictionary_encode(),
    ]
    made = schema(TRACE)
    arrays = [column.cast(field.type) for column, field in zip(columns, made, strict=True)]
    found = {"events": len(events), "missed": pages.missed, "unclaimed_drops": decoded.unclaimed_drops}
    return pa.Table.from_arrays(arrays, schema=made), found
