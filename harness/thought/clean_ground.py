"""Whether storms say something of a backlog: not where this host's own input queue dropped packets before TCP."""

from __future__ import annotations

import pandas as pd


def clean(storms: pd.DataFrame) -> bool:
    """Whether this host's own input queue is known to have dropped nothing in any of them."""
    return bool((storms["lo_rx_dropped"] == 0).all())


def on_clean_ground(runs: pd.DataFrame) -> pd.DataFrame:
    """The trials whose storms say something of a backlog."""
    return runs[(runs["lo_rx_dropped"] == 0).groupby(runs["plan_hash"]).transform("all")]
