"""The pages that a measurement can be exported to; they come with the collection, unknown to the instrument."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from harness.errors import MachineError


def page(name: str) -> Any:
    """The module that writes it, an entry point of the group ``stormlab.pages``.

    Raises:
        MachineError: the collection is not installed.
    """
    for point in entry_points(group="stormlab.pages", name=name):
        return point.load()
    raise MachineError(f"there is no page for the {name} here", "run it in a checkout of Storm Lab, after `make setup`")
