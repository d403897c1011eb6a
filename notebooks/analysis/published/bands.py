"""Which conditions answer about as much as was published: one rule, wherever conditions are listed by their shares.

A condition lies in a band if most of its runs do. A mean may lie where no run does: of a server that ends in four
storms of five, and lives through the fifth, it says how often it ended.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

Band = tuple[float, float]
"""Lowest and highest share of all requests that are answered."""
HALF: Band = (0.45, 0.55)
"""What a generator leaves that picks one of two addresses."""
QUARTER: Band = (0.20, 0.30)
"""What counts as the 25 % of the article."""


def inside(shares: Sequence[float], band: Band) -> int:
    """How many runs lie between, the ends included."""
    return sum(band[0] <= share <= band[1] for share in shares)


def mostly_inside(shares: Sequence[float], band: Band) -> bool:
    """Whether most runs do."""
    return 2 * inside(shares, band) > len(shares)


def within(conditions: pd.DataFrame, band: Band) -> pd.DataFrame:
    """The conditions (:mod:`analysis.published.conditions`) of which most runs lie between."""
    return conditions[[mostly_inside(shares, band) for shares in conditions["shares"]]]


def grazing(conditions: pd.DataFrame, band: Band) -> pd.DataFrame:
    """Those of which some runs lie between, and not most."""
    found = [inside(shares, band) > 0 and not mostly_inside(shares, band) for shares in conditions["shares"]]
    return conditions[found]
