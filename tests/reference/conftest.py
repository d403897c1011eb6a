"""The reference data, read once for all tests of a process."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.claims.evidence import Evidence, gather
from harness.events import store
from harness.thought import runs as results


@pytest.fixture(scope="session")
def reference() -> Evidence:
    return gather(store.REFERENCE)


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    """All of ``runs.parquet``."""
    return results.read(store.REFERENCE / results.RUNS)
