"""The options of a storm as they are typed on the command line, so that no name of a scenario hides what it is."""

from __future__ import annotations

import shlex
from collections import Counter
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

    The first row of each are those that all of its storms have, which are not repeated; without :data:`_VARIED`. Where
    one name stands for different options on different stacks, their names are with it.
    """
    rows = []
    for storms, plans in kinds.items():
        named = [
            (name, trial.server.name, _own(trial))
            for plan in plans
            for name, trial in zip(plan.names, plan.trials, strict=True)
        ]
        shared = [word for word in named[0][2] if all(word in words for _, _, words in named)]
        own: dict[tuple[str, str], list[str]] = {}
        for name, server, words in named:
            own.setdefault((name, " ".join(word for word in words if word not in shared)), []).append(server)
        ambiguous = Counter(name for name, _ in own)
        rows.append({"storms": storms, "name": "all of them", "options": " ".join(shared) or _AS_IT_COMES})
        for (name, options), servers in own.items():
            on = f" ({', '.join(dict.fromkeys(servers))})" if ambiguous[name] > 1 else ""
            rows.append({"storms": storms, "name": f"{name}{on}", "options": options or _AS_IT_COMES})
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
