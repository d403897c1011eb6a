"""The last phase of a run: from the rows that agents left to the run's tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from harness.events.rows import Rows
from harness.events.samples import PROBE_SAMPLES, PROBE_SERVER_SAMPLES
from harness.events.store import Partial, Run
from harness.plan.slices import Slice
from harness.witness.tracing import PAGES

ONLY_WHILE_RUNNING = ("slices", "agent_pids", "supervisor_pid")
"""Keys of the manifest that name paths and processes of this machine."""

NO_REPORT = {"lost": None}
"""Of a tracing process that was killed: whether events were lost is not known."""


def conclude(partial: Partial, manifest: dict[str, Any], slices: Sequence[Slice], rows: Sequence[Rows]) -> Run:
    """Turn the agents' rows into the run's tables and give the run its last phase."""
    from harness.events.assembling import assemble, samples_table

    failed = manifest.get("error") is not None
    start_ns = manifest.get("start_ns", 0)
    tables = assemble(slices, rows, start_ns)
    for field, name in (("samples", PROBE_SAMPLES), ("server_samples", PROBE_SERVER_SAMPLES)):
        if (partial.path / name).exists():
            tables = dataclasses.replace(tables, **{field: samples_table(partial.path / name, start_ns)})
    if (partial.path / PAGES).exists():
        from harness.witness.tracing.table import trace_table

        trace, found = trace_table(partial.path / PAGES, start_ns)
        tables = dataclasses.replace(tables, trace=trace)
        manifest = {**manifest, "trace": {**(manifest.get("trace") or NO_REPORT), **found}}
    kept = {key: value for key, value in manifest.items() if key not in ONLY_WHILE_RUNNING}
    return partial.finish(tables, {**kept, "status": "failed" if failed else "complete"})
