"""The options of a storm as they are typed on the command line, so that no name of a scenario hides what it is."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from harness.plan import OPTIONS, Plan, Trial

_FLAGS = {
    "timeout_s": "--timeout",
    "attempt_timeout_s": "--attempt-timeout",
    "stamps": "--no-stamps",
    "probe": "--no-probe",
    "ledger": "--no-ledger",
}
"""Where they are called otherwise than the option."""
_VARIED = ("--server", "--host-sysctl")
"""What a plan varies beside its scenarios: the stack, and whether this host's input queue is opened wide."""
_AS_IT_COMES = "as it comes"


def typed(trial: Trial) -> list[str]:
    """The words of ``stormlab run`` for a trial, one for each option that is not the default."""
    default = Trial()
    return [
        words
        for name in OPTIONS
        if (value := _value(trial, name)) != _value(default, name)
        for words in _words(_FLAGS.get(name, "--" + name.replace("_", "-")), value)
    ]


def options_table(kinds: Mapping[str, Sequence[Plan]]) -> pd.DataFrame:
    """A row for each scenario of some plans that belong together, by what they are called: its options.

    The first row of each are those that all of its storms have, which are not repeated; without :data:`_VARIED`.
    """
    rows = []
    for storms, plans in kinds.items():
        named = [(name, _own(trial)) for plan in plans for name, trial in zip(plan.names, plan.trials, strict=True)]
        shared = [word for word in named[0][1] if all(word in words for _, words in named)]
        own = {(name, " ".join(word for word in words if word not in shared)): None for name, words in named}
        rows += [
            {"storms": storms, "name": name, "options": options or _AS_IT_COMES}
            for name, options in (("all of them", " ".join(shared)), *own)
        ]
    return pd.DataFrame(rows)


def _own(trial: Trial) -> list[str]:
    return [word for word in typed(trial) if word.split()[0] not in _VARIED]


def _value(trial: Trial, name: str) -> Any:
    part = OPTIONS[name]
    if part == "front":
        return getattr(trial.front, "name" if name == "front" else name.removeprefix("front_"))
    if part == "retries":
        return getattr(trial.load.retries, name)
    if part == "trial":
        return getattr(trial, {"sysctl": "sysctls", "host_sysctl": "host_sysctls"}.get(name, name))
    return getattr(getattr(trial, part), "name" if name == "server" else name)


def _words(flag: str, value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        yield flag
    elif flag in ("--sysctl", "--host-sysctl"):
        yield from (f"{flag} {name}={setting}" for name, setting in value)
    elif isinstance(value, tuple):
        yield f"{flag} {','.join(map(str, value))}"
    elif isinstance(value, float):
        yield f"{flag} {value:g}"
    else:
        yield f"{flag} {shlex.quote(str(value))}"
