"""One list of options: what a field of a plan's value says of itself, for whoever reads, types or shows it.

A field is declared with :func:`option`; its class calls :func:`check` when a value is made. Command line, plan files,
columns of runs and documents are made of what :func:`declared` finds.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from harness.errors import PlanError

MAX_SECONDS = 600.0
"""Upper bound of a timeout, a stall, and the time an open loop takes to issue: a storm is bounded in time."""
_LONGEST = {"s": MAX_SECONDS, "ms": MAX_SECONDS * 1000}
Settings = tuple[tuple[str, str], ...]
"""Kernel settings, sorted by name."""
Cpus = tuple[int, ...]
Kind = Literal["whole number", "number", "true or false", "text", "word", "CPU list", "settings"]
_KINDS: Mapping[Any, Kind] = {
    int: "whole number",
    float: "number",
    bool: "true or false",
    str: "text",
    Cpus: "CPU list",
    Settings: "settings",
}


_METAVARS: Mapping[Kind, str] = {"settings": "KEY=VALUE", "CPU list": "LIST", "text": "TEXT"}


def require(holds: bool, message: str) -> None:
    """Raises: PlanError: it does not hold."""
    if not holds:
        raise PlanError(message)


@dataclass(frozen=True, slots=True)
class Option:
    """What a field declares; numbers lie from ``low`` or above ``above``, to ``high`` or below ``below``."""

    help: str
    name: str
    field: str
    default: Any
    kind: Kind
    optional: bool
    """Whether it may be None, which is its default then."""
    words: tuple[Any, ...]
    """All that a word can be."""
    flag: str
    """As it is typed; of one that is on by default, how it is turned off."""
    metavar: str
    unit: str
    low: float | None
    high: float | None
    above: float | None
    below: float | None

    @property
    def allowed(self) -> str:
        """The values that it takes, in words."""
        if self.kind == "word":
            return f"one of {', '.join(map(str, self.words))}"
        if self.kind not in ("whole number", "number"):
            return {"CPU list": "a list of CPUs", "settings": "a table of names and values"}.get(self.kind, self.kind)
        least = f"above {self.above:.10g}" if self.above is not None else f"from {self.low:.10g}"
        most = (
            f" and below {self.below:.10g}" if self.below is not None else f" to {self.high:.10g}" if self.high else ""
        )
        return f"a {self.kind} {least}{most}{f' {self.unit}' if self.unit else ''}"

    def takes(self, value: Any) -> bool:
        """Whether it may have this value, by type and bounds."""
        if value is None:
            return self.optional
        if self.kind == "true or false":
            return isinstance(value, bool)
        if self.kind == "word":
            return any(value == word and type(value) is type(word) for word in self.words)
        if self.kind == "text":
            return isinstance(value, str)
        if self.kind == "CPU list":
            return isinstance(value, tuple) and all(is_whole(cpu) and cpu >= 0 for cpu in value)
        if self.kind == "settings":
            return isinstance(value, tuple) and all(isinstance(word, str) for setting in value for word in setting)
        return (is_number(value) if self.kind == "number" else is_whole(value)) and (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


def option(
    default: Any,
    help: str,
    unit: str = "",
    *,
    name: str | None = None,
    flag: str | None = None,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """A field of a plan's value that is an option of a storm; ``name`` where it is called otherwise than the field.

    Of a time that has no bounds of its own, those are above 0 and :data:`MAX_SECONDS`.
    """
    if unit in _LONGEST:
        above, high = (0 if low is None else None), high or _LONGEST[unit]
    said = {"help": help, "name": name, "flag": flag, "unit": unit}
    bounds = {"low": low, "high": high, "above": above, "below": below}
    return dataclasses.field(default=default, metadata={"option": said | bounds})


@functools.cache
def declared(part: Any) -> tuple[Option, ...]:
    """The options that the fields of a class declare, in their order."""
    hints = get_type_hints(part)
    prefix = getattr(part, "OPTION_PREFIX", "")
    found = []
    for item in dataclasses.fields(part):
        if "option" not in item.metadata:
            continue
        said = dict(item.metadata["option"])
        hint, optional = hints[item.name], False
        if get_origin(hint) in (Union, types.UnionType):
            (hint,) = (one for one in get_args(hint) if one is not type(None))
            optional = True
        words = get_args(hint) if get_origin(hint) is Literal else ()
        name = said.pop("name") or prefix + item.name
        negative = "--no-" if item.default is True else "--"
        flag = said.pop("flag") or negative + name.replace("_", "-")
        kind: Kind = "word" if words else _KINDS[hint]
        metavar = {"s": "S", "ms": "D", "share": "SHARE"}.get(said["unit"]) or _METAVARS.get(kind, "N")
        found.append(
            Option(
                name=name,
                field=item.name,
                default=item.default,
                kind=kind,
                optional=optional,
                words=words,
                flag=flag,
                metavar="|".join(map(str, words)) or metavar,
                **said,
            )
        )
    return tuple(found)


def check(value: Any) -> None:
    """Raises: PlanError: a field of a plan's value has not the type, or not the bounds, that it declares."""
    part: Any = type(value)
    for one in declared(part):
        found = getattr(value, one.field)
        require(one.takes(found), f"{one.flag} must be {one.allowed}, not {found!r}")


def is_number(value: Any) -> bool:
    return is_whole(value) or isinstance(value, float)


def is_whole(value: Any) -> bool:
    """Whether it is an integer, which true and false are to Python only."""
    return isinstance(value, int) and not isinstance(value, bool)
