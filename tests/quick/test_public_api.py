"""What ``harness`` offers by itself: typed, each with an example that holds."""

from __future__ import annotations

import doctest
import importlib
import inspect

import pytest

import harness


@pytest.mark.parametrize("name", harness.__all__)
def test_what_is_offered_has_an_example_that_holds(name: str) -> None:
    offered = getattr(harness, name)
    module = importlib.import_module(offered.__module__)
    (found,) = (one for one in doctest.DocTestFinder(recurse=False).find(offered, name, module) if one.examples)
    assert doctest.DocTestRunner().run(found).failed == 0
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in _parameters(offered))


def test_nothing_else_is_offered() -> None:
    with pytest.raises(AttributeError):
        harness.nothing  # noqa: B018


def _parameters(offered: object) -> list[inspect.Parameter]:
    return list(inspect.signature(offered).parameters.values()) if callable(offered) else []
