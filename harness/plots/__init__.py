"""Figures: one look, one file a family, one function that saves them."""

from harness.plots.causes import causes_by_variant
from harness.plots.comparison import compare_stacks
from harness.plots.conditions import answered_by_condition
from harness.plots.distribution import all_and_answered, latency_distributions
from harness.plots.effects import effects_at_a_glance
from harness.plots.interventions import interventions
from harness.plots.lifelines import lifelines
from harness.plots.memory import memory_over_time
from harness.plots.phases import time_by_cause
from harness.plots.plane import planes
from harness.plots.prediction import predicted_and_measured
from harness.plots.save import save
from harness.plots.sweep import backlog_sweep
from harness.plots.timeline import answer_timelines
from harness.plots.waits import waits_and_schedule

__all__ = [
    "all_and_answered",
    "answer_timelines",
    "answered_by_condition",
    "backlog_sweep",
    "causes_by_variant",
    "compare_stacks",
    "effects_at_a_glance",
    "interventions",
    "latency_distributions",
    "lifelines",
    "memory_over_time",
    "planes",
    "predicted_and_measured",
    "save",
    "time_by_cause",
    "waits_and_schedule",
]
