"""What figures must show, whatever the data: storms that were not answered, and nothing that is not there."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.backlog.plane import planes
from analysis.backlog.sweep import backlog_sweep
from analysis.mitigations.pool import over_fewer_connections
from analysis.overflow.pulses import SERVER, SYN, request_schedule, syn_schedule
from analysis.overflow.timeline import answers_in_time
from analysis.overflow.waits import waits_and_schedule
from analysis.published.conditions_figure import answered_by_condition
from harness.page.figures.rows import compare_rows


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def crosses(figure: Figure) -> int:
    """Marks of quantiles that lie among the unanswered."""
    return sum(len(line.get_xdata()) for axes in figure.axes for line in axes.lines if line.get_marker() == "x")


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for found in figure.legends for text in found.get_texts()]


def swept(p99_ms: list[float]) -> pd.DataFrame:
    runs = pd.DataFrame({"p99_ms": p99_ms, "backlog_effective": 128, "asked": 128.0, "status": "complete"})
    return runs.assign(server="go", cpu="shared", input_queue="as it is")


def test_a_sweep_shows_storms_whose_quantile_lies_among_the_unanswered() -> None:
    figure = backlog_sweep(swept([10.0, np.nan, np.nan]), "p99_ms", "title")
    assert crosses(figure) == 2
    assert "lies among the unanswered" in legend(figure)
    (line,) = (line for line in figure.axes[0].lines if line.get_linestyle() == "-")
    assert np.isnan(line.get_ydata()).all(), "the median of the three lies among them too"


def test_a_sweep_in_which_all_was_answered_has_no_such_mark() -> None:
    figure = backlog_sweep(swept([10.0, 20.0, 30.0]), "p99_ms", "title")
    assert crosses(figure) == 0
    assert "lies among the unanswered" not in legend(figure)


def test_the_band_of_a_baseline_reaches_the_edge_where_a_storm_was_not_answered() -> None:
    runs = pd.DataFrame({"variant": ["as it is", "as it is", "changed"], "p50_ms": [1_000.0, np.nan, 500.0]})
    figure = compare_rows(runs, {"p50_ms": ("median latency", "linear ms")}, "title", baseline=True)
    (axes,) = figure.axes
    (band,) = axes.patches
    assert band.get_extents().x1 == pytest.approx(axes.get_window_extent().x1)
    assert crosses(figure) == 1


def test_rows_come_in_order_from_above_and_groups_keep_apart_within_them() -> None:
    runs = pd.DataFrame({"server": ["go", "node", "go", "node"], "cpu": ["shared", "shared", "disjoint", "disjoint"]})
    runs = runs.assign(success_rate=[0.1, 0.2, 0.3, 0.4], generator=["limiting", "ok", "ok", "ok"])
    figure = compare_rows(runs, {"success_rate": ("answered", "share")}, "title", row="server", group="cpu")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["go", "node"]
    assert axes.yaxis_inverted(), "the first row is at the top"
    places = {line.get_xdata()[0]: line.get_ydata()[0] for line in axes.lines}
    assert places[0.1] < 0 < places[0.3] < places[0.2] < 1 < places[0.4]
    assert legend(figure) == ["shared", "disjoint", "generator the limit"]
    assert [line.get_markerfacecolor() for line in axes.lines].count("white") == 1


def test_rows_mark_a_server_that_ended_and_no_cross_for_what_is_no_latency() -> None:
    runs = pd.DataFrame({"variant": ["a", "b", "b"], "server_ended": [None, "killed", None]})
    runs = runs.assign(cpu_us=[1.0, 2.0, np.nan], p50_ms=[1.0, 2.0, np.nan])
    figure = compare_rows(runs, {"cpu_us": ("CPU", "plain"), "p50_ms": ("median", "ms")}, "title")
    shapes = [[line.get_marker() for line in axes.lines] for axes in figure.axes]
    assert shapes == [["o", "X"], ["o", "X", "x"]]
    assert legend(figure) == ["the server ended", "lies among the unanswered"]


def test_each_group_has_the_median_of_its_own_baseline() -> None:
    runs = pd.DataFrame({"variant": ["as it is"] * 4 + ["changed"] * 2, "server": ["go", "node"] * 3})
    runs = runs.assign(per_s=[10.0, 100.0, 30.0, 300.0, 7.0, 8.0])
    figure = compare_rows(runs, {"per_s": ("answers a second", "log")}, "title", group="server", baseline=True)
    medians = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert medians == [20, 200]
    assert not figure.axes[0].patches


@pytest.mark.parametrize("unit", ["share", "ms", "linear ms", "log", "plain"])
@pytest.mark.parametrize("values", [[np.nan, np.nan], [0.0, 0.0], [0.0, 1.0]])
def test_rows_of_nothing_and_of_zeros_can_be_drawn(unit: str, values: list[float]) -> None:
    runs = pd.DataFrame({"variant": ["as it is", "changed"], "measure": values})
    compare_rows(runs, {"measure": ("label", unit)}, "title", baseline=True).canvas.draw()


def test_waits_name_only_the_numbers_of_retransmissions_that_there_were() -> None:
    waits = pd.DataFrame({"wait_us": [210_000.0, 650_000.0], "again": [1, 3]})
    figure = waits_and_schedule({"storm": (waits, request_schedule(3))}, "wait_us", "again", "title", "label")
    assert legend(figure) == ["sent again 1×", "sent again 3×", "the kernel's schedule"]


def test_bunches_are_marked_by_what_began_them_and_named_where_there_are_any() -> None:
    lives = pd.DataFrame({"outcome": "answered", "issued_us": 0.0, "closed_us": [1e6, 3e6]})
    found = pd.DataFrame({"begin_s": [1.0, 3.0], "end_s": [1.0, 3.0], "begun_by": [SYN, SERVER]})
    figure = answers_in_time({"storm": (lives, found, syn_schedule({}, 20))}, "title")
    assert legend(figure) == ["begun by SYNs sent again", "begun by the server itself", "SYNs due again"]
    assert [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_linestyle() == ":"] == [1]


def test_a_plane_of_which_nothing_was_answered_can_be_drawn() -> None:
    values = pd.DataFrame({25.0: [np.inf, np.nan], 50.0: [np.inf, np.inf]}, index=[16, 64])
    figure = planes({"p99": values}, 2_000, "title", {"p99": str})
    assert [text.get_text() for text in figure.axes[0].texts] == ["never"] * 4


def test_a_stack_and_a_way_of_connecting_are_told_apart_in_the_legend() -> None:
    runs = pd.DataFrame({"server": "python", "over": ["pool", "HTTP/2", "plain storm"], "pool": [50_000, 1, 50_000]})
    runs = runs.assign(generator="ok", wanted_p99_ms=[10.0, 20.0, 30.0])
    figure = over_fewer_connections(runs, {"wanted_p99_ms": ("label", "ms")}, "title")
    assert legend(figure) == ["python", "pool", "HTTP/2", "plain storm"]
    stack, pool, *_ = figure.legends[0].legend_handles
    assert isinstance(stack, Patch)
    assert isinstance(pool, Line2D)
    axes = figure.axes[0]
    figure.canvas.draw()
    (largest, each) = [label.get_window_extent() for label in axes.get_xticklabels()][-2:]
    assert largest.x1 <= each.x1
    assert not largest.overlaps(each)


def test_what_was_not_measured_is_no_quantile_among_the_unanswered() -> None:
    runs = pd.DataFrame({"server": "go", "over": "pool", "pool": [1, 10], "generator": "ok"})
    runs = runs.assign(wanted_p99_ms=[10.0, np.nan], peak_rss_mib=[10.0, np.nan])
    for measure, unit, expected in (("wanted_p99_ms", "ms", 1), ("peak_rss_mib", "plain", 0)):
        assert crosses(over_fewer_connections(runs, {measure: ("label", unit)}, "title")) == expected


def test_a_figure_of_conditions_explains_its_band_and_lines_and_marks_what_was_not_the_demand() -> None:
    same = {"group": "g", "driven by": "vegeta-1", "requests": [100], "shares": [1.0], "failures": {}}
    rows = [same | {"condition": "vegeta, at once", "server": "go", "wanted": [1_000]}]
    rows += [same | {"condition": "the version of today", "server": "node", "wanted": [100]}]
    figure = answered_by_condition(pd.DataFrame(rows), "title", ((0.2, 0.3), "a quarter"), {0.5: "a half"})
    told = legend(figure)
    assert told == ["as good as all answered", "fewer requests sent than wanted", "a quarter", "a half"]
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["vegeta-1, at once: go", "the version of today, vegeta-1: node"]
