"""These tests start something."""

from __future__ import annotations

import pytest

from tests.leaving import nothing_is_left  # noqa: F401 (a fixture)

LONGEST = ("06-kernel-tuning", "09-load-balancers", "02-backlog-sweep", "01-stack-comparison", "04-queue-overflow")
"""Of the notebooks those that take longest to measure here, some of them two minutes, most of it waiting."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, or one process is left with one of them when the others are done."""

    def place(item: pytest.Item) -> int:
        measures = "measured_here" in item.name
        return next((n for n, name in enumerate(LONGEST) if measures and name in item.name), len(LONGEST))

    items.sort(key=place)
