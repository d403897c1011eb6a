"""Figures: one look, one file a family, one function that saves them."""

from harness.plots.comparison import stack_comparison
from harness.plots.distribution import latency_distributions
from harness.plots.save import save
from harness.plots.timeline import answer_timelines

__all__ = ["answer_timelines", "latency_distributions", "save", "stack_comparison"]
