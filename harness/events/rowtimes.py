"""The columns of the connections table as arrays to compute with: float64, NaN where the table has null."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Connections:
    """Shape (connections,) each. A column that the table does not have, as in older runs, is all NaN."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.outcome: NDArray[np.object_] = np.asarray(table["outcome"].to_pylist(), object)

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, name: str) -> Floats:
        if name not in self._table.column_names:
            return np.full(len(self), np.nan)
        return np.asarray(pc.cast(self._table[name], pa.float64()).to_numpy(), np.float64)
