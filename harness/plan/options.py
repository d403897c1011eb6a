"""The flat names of a trial's values, which the command line and the plan files share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from harness.errors import PlanError
from harness.plan.bounds import require
from harness.plan.faults import Faults
from harness.plan.load import Load
from harness.plan.placement import Placement
from harness.plan.retries import Retries
from harness.plan.server import Server
from harness.plan.trial import Trial

_PARTS: dict[str, type] = {
    "server": Server,
    "load": Load,
    "retries": Retries,
    "placement": Placement,
    "faults": Faults,
}
OPTIONS: dict[str, str] = {
    item.name: part
    for part, cls in _PARTS.items()
    for item in dataclasses.fields(cls)
    if (part, item.name) not in (("server", "name"), ("load", "retries"))
} | {
    "server": "server",
    "sysctl": "trial",
    "host_sysctl": "trial",
    "probe": "trial",
    "ledger": "trial",
    "trace": "trial",
    "settle_s": "trial",
}
"""Option name → the part of a trial it belongs to. ``server`` is :attr:`Server.name`."""


DEFAULT = "default"
"""As the value of an option: as if it were not given. A plan's scenario can so take back what its base says."""


def trial_from_options(options: Mapping[str, Any]) -> Trial:
    """Make a trial from flat options such as ``{"server": "hyper", "clients": 4000, "backlog": 128}``.

    Raises:
        PlanError: an option is unknown, or a value means nothing.
    """
    parts: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
    settings: dict[str, Mapping[str, Any]] = {"sysctl": {}, "host_sysctl": {}}
    for name in options:
        if name not in OPTIONS:
            raise PlanError(f"unknown option {name!r}; known are {', '.join(sorted(OPTIONS))}")
    options = {name: value for name, value in options.items() if value != DEFAULT}
    for name, value in options.items():
        if name in settings:
            settings[name] = value
        elif name in ("probe", "ledger", "trace", "settle_s"):
            continue
        elif name == "server":
            parts["server"]["name"] = value
        else:
            parts[OPTIONS[name]][name] = tuple(value) if isinstance(value, list) else value
    try:
        return Trial(
            server=Server(**parts["server"]),
            load=Load(**parts["load"], retries=Retries(**parts["retries"])),
            placement=Placement(**parts["placement"]),
            faults=Faults(**parts["faults"]),
            probe=bool(options.get("probe", True)),
            ledger=bool(options.get("ledger", True)),
            trace=bool(options.get("trace", False)),
            settle_s=float(options.get("settle_s", 0.0)),
            sysctls=_settings(settings["sysctl"]),
            host_sysctls=_settings(settings["host_sysctl"]),
        )
    except (TypeError, ValueError) as error:  # a string where a number belongs, from a plan file
        raise PlanError(f"an option has a value of the wrong type: {error}") from error


def _settings(table: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    require(isinstance(table, Mapping), f"kernel settings must be a table of names and values, not {table!r}")
    return tuple((str(key), str(value)) for key, value in table.items())
