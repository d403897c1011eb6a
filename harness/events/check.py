"""What a check comes to: three-valued, with the numbers it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True, slots=True)
class Check:
    """One check's result and the numbers it rests on."""

    name: str
    status: Status
    detail: str
