"""The machine that a run was recorded on, as its manifest keeps it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Host:
    """A machine as far as it decides results; it carries no name and no address."""

    cpu_model: str
    cpus: int
    memory_gib: int
    kernel: str
    virtualised: bool
    distribution: str
    python: str

    @property
    def host_id(self) -> str:
        """Runs with the same id may be compared; a changed kernel is another host."""
        facts = json.dumps([self.cpu_model, self.cpus, self.memory_gib, self.kernel])
        return hashlib.sha256(facts.encode()).hexdigest()[:12]

    @property
    def caption(self) -> str:
        kind = " (virtual)" if self.virtualised else ""
        return f"{self.cpus} × {self.cpu_model}{kind}, {self.memory_gib} GiB, Linux {self.kernel}"

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "host_id": self.host_id}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Host:
        return cls(**{name: value for name, value in document.items() if name != "host_id"})
