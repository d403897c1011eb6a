"""The house: which folder may import which, read from the imports themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import PROJECT

LEFT = ("machine", "load", "servers", "witness", "trial")
"""What runs a storm, in the order of the floors. ``plan`` and ``events``, on which all stand, are values and tables."""
FLOORS: dict[str, tuple[str, ...]] = {
    "errors": (),
    "plan": (),
    "events": ("plan",),
    **{floor: ("plan", "events", *LEFT[:number]) for number, floor in enumerate(LEFT)},
    "witness": ("plan", "events", "machine"),
    "thought": ("plan", "events"),
    "page": ("plan", "events", "thought"),
    "lab": ("plan", "events", *LEFT, "thought"),
    "cli": ("plan", "events", *LEFT, "thought", "page", "lab"),
    "__main__": ("cli",),
    "analysis": ("plan", "events", "thought", "page", "lab", "cli"),
}
"""Folder → the folders it may import, beside itself; ``errors`` is open to all."""
HEAVY = {"pandas", "matplotlib", "seaborn", "papermill", "rich", "scipy"}
THREADED = {"numpy", "pyarrow"}
"""They start threads when they are imported, and a process with threads may not enter a user namespace."""


def imports(source: str) -> Iterator[tuple[str, bool]]:
    """(module, whether it is imported with the file) of every import in it; names from a package count as modules."""
    tree = ast.parse(source)
    at_once = {id(node) for node in ast.iter_child_nodes(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in at_once) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((f"{node.module}.{alias.name}", id(node) in at_once) for alias in node.names)


def floor_of(module: str) -> str | None:
    """Its folder; None for what is not of this project. ``harness`` itself is its version and its place."""
    top, _, rest = module.partition(".")
    if top == "analysis":
        return top
    return (rest.partition(".")[0] if rest.partition(".")[0] in FLOORS else "") if top == "harness" else None


def modules() -> Iterator[tuple[str, Path]]:
    for root in (PROJECT, PROJECT / "notebooks"):
        for package in ("harness", "analysis"):
            for path in sorted((root / package).glob("**/*.py")):
                if path.name != "__init__.py" or path.parent != PROJECT / "harness":
                    name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
                    yield name, path


def upwards(module: str, source: str) -> list[str]:
    """What a module imports that does not lie below it."""
    floor = floor_of(module)
    assert floor in FLOORS, module
    allowed = (None, "", "errors", floor, *FLOORS[floor])
    return [f"{module} imports {name}" for name, _ in imports(source) if floor_of(name) not in allowed]


@pytest.mark.parametrize("floor", FLOORS)
def test_a_folder_imports_only_what_lies_below_it(floor: str) -> None:
    found = [
        line for module, path in modules() if floor_of(module) == floor for line in upwards(module, path.read_text())
    ]
    assert not found


@pytest.mark.parametrize(
    ("module", "source", "red"),
    [
        ("harness.thought.cause", "from harness.trial import caller", True),
        ("harness.events.store", "def later():\n    import harness.witness.ledger", True),
        ("harness.page.tables", "from analysis.claims.judge import judge", True),
        ("harness.witness.probe", "from harness import lab", True),
        ("analysis.audit", "if True:\n    from harness.trial import caller", True),
        ("harness.thought.cause", "import numpy\nfrom harness.events.tables import CONNECTIONS", False),
        ("harness.trial.caller", "from harness import PROJECT\nfrom harness.errors import MachineError", False),
    ],
)
def test_an_import_against_the_floors_is_seen(module: str, source: str, red: bool) -> None:
    assert bool(upwards(module, source)) == red


def test_there_is_no_circle_between_floors() -> None:
    """An order in which each stands on earlier ones; the table could allow a circle by mistake."""
    placed: list[str] = []
    while rest := [floor for floor in FLOORS if floor not in placed]:
        ready = [floor for floor in rest if set(FLOORS[floor]) <= set(placed)]
        assert ready, f"a circle among {', '.join(rest)}"
        placed += ready


def test_every_folder_has_its_floor() -> None:
    folders = {path.name for path in (PROJECT / "harness").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= set(FLOORS)


@pytest.mark.parametrize("floor", ("plan", "events", *LEFT))
def test_what_runs_a_storm_knows_no_pandas_and_no_figure(floor: str) -> None:
    found = [
        f"{module} imports {imported}"
        for module, path in modules()
        if floor_of(module) == floor
        for imported, _ in imports(path.read_text())
        if imported.partition(".")[0] in HEAVY
    ]
    assert not found


def brought_along(module: str) -> set[str]:
    """All that is imported with a module, its own imports and theirs; what is imported where it is used is not."""
    known = dict(modules())
    found: set[str] = set()
    left = [module]
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        parents = [name.rpartition(".")[0]] if name.count(".") else []
        path = known.get(name)
        mentioned = [imported for imported, at_once in imports(path.read_text()) if at_once] if path is not None else []
        left += [
            imported if imported in known else imported.rpartition(".")[0] or imported
            for imported in (*parents, *mentioned)
        ]
    return {name.partition(".")[0] for name in found}


def test_an_agent_is_small() -> None:
    """It is started several times for every storm: what it imports is paid each time."""
    assert "httptools" in brought_along("harness.load.python.agent")
    assert not brought_along("harness.load.python.agent") & {"numpy", "pyarrow", "argparse"}


def test_a_supervisor_has_one_thread() -> None:
    assert not brought_along("harness.trial.supervisor") & THREADED


def test_help_takes_what_it_shows_and_no_more() -> None:
    assert "argparse" in brought_along("harness.cli")
    assert not brought_along("harness.cli") & (HEAVY | THREADED)
    assert not brought_along("analysis.claims.command") & (HEAVY | THREADED)
