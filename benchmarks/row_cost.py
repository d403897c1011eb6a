"""What a connection costs on disk, column by column: of the run in a folder, or of a storm of its own."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from harness.page.tables import print_rows
from harness.plan import trial_from_options
from harness.trial.caller import run_trial


def column_costs(parquet: Path) -> dict[str, float]:
    """Compressed bytes per row of each column, and of everything else in the file."""
    metadata = pq.read_metadata(parquet)
    costs: dict[str, float] = {}
    for group in range(metadata.num_row_groups):
        for index in range(metadata.num_columns):
            column = metadata.row_group(group).column(index)
            costs[column.path_in_schema] = costs.get(column.path_in_schema, 0) + column.total_compressed_size
    rest = parquet.stat().st_size - sum(costs.values())
    return {name: size / metadata.num_rows for name, size in {**costs, "(schema and footer)": rest}.items()}


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        if len(sys.argv) > 1:
            folder = Path(sys.argv[1])
        else:
            folder = run_trial(trial_from_options({"server": "python", "clients": 50_000}), Path(scratch)).path
        costs = column_costs(folder / "connections.parquet")
        rows = [(name, f"{cost:.2f}") for name, cost in sorted(costs.items(), key=lambda item: -item[1])]
        print_rows(("column", "bytes a row"), [*rows, ("sum", f"{sum(costs.values()):.2f}")], right=("bytes a row",))


if __name__ == "__main__":
    main()
