"""Storm Lab: why does a server fail under a storm of short connections, and what fixes it?

Plan a storm, record it, open its rows::

    from harness import Load, Plan, Server, Trial, open_run, record

    plan = Plan("mine", "Does it hold 4,000?", (Trial(Server("go"), Load(clients=4000)),), repeats=3)
    runs = record(plan, "here")           # a row for each storm; what this machine has measured is read back
    open_run(runs.run_id[0]).connections  # a row for each connection

Data go one way, and the folders show it: ``plan`` says what to run; ``machine``, ``load``, ``servers``, ``witness`` and
``trial`` run it; ``events`` is what was recorded; ``thought`` are pure functions of that; ``page`` is what a person
sees. :mod:`lab` is the one door between the halves. What is named here is imported when it is used.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.lab import open_run, record, runs
    from harness.plan import Faults, Kernel, Load, Plan, Server, Trial, load_plan

__version__ = "0.1.0"
PROJECT = Path(__file__).parents[1]
"""The checkout."""
__all__ = ["Faults", "Kernel", "Load", "Plan", "Server", "Trial", "load_plan", "open_run", "record", "runs"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("harness.lab" if name in ("open_run", "record", "runs") else "harness.plan"), name)
