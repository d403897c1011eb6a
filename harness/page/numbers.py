"""What was measured and how sure it is, as it is read: a value with the ends of its interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from harness.page.interval import worded
from harness.page.notebook import percent
from harness.page.tables import NO_VALUE, quantile
from harness.thought.inference import Interval
from harness.thought.proposition import Unit

LEAST = 0.001
"""A smaller share that is not nothing is only said to be smaller."""
_FAR = 10.0
"""Times a ratio, and times one: so far only blocks reach that are too few to have an end."""


def points(interval: Interval) -> str:
    """A difference of shares as ``+28.7 pp (95 % interval +22.1 to +38.0)``."""
    return with_spread(interval, "difference of shares")


def tenths(share: float) -> str:
    """A part of a whole to a tenth of a percent; what is there is never read as nothing."""
    return "<0.1%" if 0 < share < LEAST else f"{share:.1%}"


def with_spread(found: Interval, unit: Unit) -> str:
    """A value with the ends of its interval, or of its range; one that is far beyond anything measured is no end."""
    form = _FORMS[unit]
    if unit == "ratio" and found.kind != "none" and not found.high <= _FAR * max(found.value, 1.0):
        found = replace(found, high=math.inf)
    if unit == "difference of shares":
        return worded(found, lambda share: f"{form(share)} pp", end=form)
    return worded(found, form)


def _point(share: float) -> str:
    return f"{share * 100:+.1f}".replace("-", "−")


_FORMS: Mapping[Unit, Callable[[float], str]] = {
    "share": percent,
    "difference of shares": _point,
    "ratio": "{:.2f}".format,
    "ms": quantile,
}


def briefly(value: float, unit: Unit) -> str:
    """As a sentence has it, two or three digits: ``2.3``, ``49 %``, ``+28 points``, ``4.6 s``."""
    if math.isnan(value):
        return NO_VALUE
    if unit == "ms":
        return quantile(value)
    if unit == "ratio":
        return f"{value:.2g}"
    percents = value * 100
    digits = f"{percents:.0f}" if 1 <= abs(percents) <= 99 or percents in (0, 100) else f"{percents:.2g}"
    if unit == "share":
        whole = f"{math.floor(percents * 100) / 100:.4g}" if 99 < percents < 100 else digits
        return f"{whole} %"
    return "0 points" if round(percents) == 0 else f"{percents:+.0f} points".replace("-", "−")
