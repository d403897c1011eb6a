"""Figures: one look, one file a family, one function that saves them."""

from harness.plots.comparison import compare_stacks
from harness.plots.distribution import latency_distributions
from harness.plots.lifelines import lifelines
from harness.plots.phases import time_by_cause
from harness.plots.plane import planes
from harness.plots.prediction import predicted_and_measured
from harness.plots.save import save
from harness.plots.timeline import answer_timelines

__all__ = [
    "answer_timelines",
    "compare_stacks",
    "latency_distributions",
    "lifelines",
    "planes",
    "predicted_and_measured",
    "save",
    "time_by_cause",
]
