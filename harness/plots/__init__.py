"""Figures: one look, one file a family, one function that saves them."""

from harness.plots.causes import causes_by_variant
from harness.plots.comparison import compare_stacks
from harness.plots.conditions import answered_by_condition
from harness.plots.distribution import all_and_answered, latency_distributions
from harness.plots.effects import effects_at_a_glance
from harness.plots.endings import how_requests_end
from harness.plots.files import files_over_time
from harness.plots.goodput import goodput_over_time
from harness.plots.interventions import interventions
from harness.plots.lifelines import lifelines
from harness.plots.limits import with_and_without
from harness.plots.memory import memory_over_time
from harness.plots.mitigations import all_mitigations
from harness.plots.phases import time_by_cause
from harness.plots.plane import planes
from harness.plots.pool import over_fewer_connections
from harness.plots.ports import connect_costs
from harness.plots.prediction import predicted_and_measured
from harness.plots.recovery import recoveries
from harness.plots.save import save
from harness.plots.search import path_of_a_search
from harness.plots.slowest import slower_than_in_panels
from harness.plots.sweep import backlog_sweep
from harness.plots.timeline import answer_timelines
from harness.plots.waits import waits_and_schedule

__all__ = [
    "all_and_answered",
    "all_mitigations",
    "answer_timelines",
    "answered_by_condition",
    "backlog_sweep",
    "causes_by_variant",
    "compare_stacks",
    "connect_costs",
    "effects_at_a_glance",
    "files_over_time",
    "goodput_over_time",
    "how_requests_end",
    "interventions",
    "latency_distributions",
    "lifelines",
    "memory_over_time",
    "over_fewer_connections",
    "path_of_a_search",
    "planes",
    "predicted_and_measured",
    "recoveries",
    "save",
    "slower_than_in_panels",
    "time_by_cause",
    "waits_and_schedule",
    "with_and_without",
]
