"""The flat names of a trial's options, which the command line, plan files, columns and documents share."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from harness.errors import PlanError
from harness.plan.faults import Faults
from harness.plan.front import Front
from harness.plan.kernel import Kernel
from harness.plan.load import Load
from harness.plan.option import Option, declared, is_whole, require
from harness.plan.placement import Placement
from harness.plan.retries import Retries
from harness.plan.server import Server
from harness.plan.trial import Trial

PARTS: Mapping[str, type] = {
    "load": Load,
    "retries": Retries,
    "server": Server,
    "placement": Placement,
    "front": Front,
    "faults": Faults,
    "kernel": Kernel,
    "trial": Trial,
}
"""Part of a trial → the class whose fields are its options."""
_PLACED = {one.name: (part, one) for part, cls in PARTS.items() for one in declared(cls)}
OPTIONS: Mapping[str, Option] = {name: one for name, (_, one) in _PLACED.items()}
DEFAULT = "default"
"""As the value of an option: as if it were not given. A plan's variant can so take back what its base says."""


def trial_from_options(options: Mapping[str, Any], called: Callable[[Option], str] = lambda one: one.flag) -> Trial:
    """Make a trial from flat options such as ``{"server": "hyper", "clients": 4000, "backlog": 128}``.

    ``called`` is how an error calls an option: as it is typed, or as it stands in a file.

    Raises:
        PlanError: an option is unknown, or a value means nothing.
    """
    parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    for name, value in options.items():
        if name not in OPTIONS:
            raise PlanError(f"unknown option {name!r}; known are {', '.join(sorted(OPTIONS))}")
        if value != DEFAULT:
            part, one = _PLACED[name]
            found = parts[part][one.field] = _read(one, value)
            require(one.takes(found), f"{called(one)} must be {one.allowed}, not {value!r}")
    return Trial(
        server=Server(**parts["server"]),
        load=Load(**parts["load"], retries=Retries(**parts["retries"])),
        placement=Placement(**parts["placement"]),
        faults=Faults(**parts["faults"]),
        kernel=Kernel(**parts["kernel"]),
        front=Front(**parts["front"]),
        **parts["trial"],
    )


def value_of(trial: Trial, name: str) -> Any:
    """What an option is in a trial."""
    part, one = _PLACED[name]
    holder = {"retries": trial.load.retries, "trial": trial}.get(part) or getattr(trial, part)
    return getattr(holder, one.field)


def typed(trial: Trial) -> list[str]:
    """The words of ``stormlab run`` for a trial, one for each option that is not at its default."""
    return [
        words
        for name, one in OPTIONS.items()
        if (value := value_of(trial, name)) != one.default
        for words in _typed(one, value)
    ]


def _read(one: Option, value: Any) -> Any:
    """A value as plan files and the command line have it."""
    if one.kind == "settings" and isinstance(value, Mapping):
        return tuple((key, str(setting) if is_whole(setting) else setting) for key, setting in value.items())
    return tuple(value) if one.kind == "CPU list" and isinstance(value, list) else value


def _typed(one: Option, value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        yield one.flag
    elif one.kind == "settings":
        yield from (f"{one.flag} {name}={setting}" for name, setting in value)
    elif isinstance(value, tuple):
        yield f"{one.flag} {','.join(map(str, value))}"
    else:
        yield f"{one.flag} {value:g}" if isinstance(value, float) else f"{one.flag} {shlex.quote(str(value))}"
