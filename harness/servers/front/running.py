"""A load balancer that runs before a server: found, configured, started and asked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from harness.errors import MachineError
from harness.events.store import FRONT_CONF, FRONT_FOLDER, FRONT_LOG
from harness.plan import Front
from harness.servers.build import Missing, said_by
from harness.servers.front import haproxy, nginx
from harness.servers.front.hops import Hops
from harness.servers.process import RunningServer

_ELSEWHERE = "/usr/sbin:/sbin"


class Program(Protocol):
    """What each of the modules beside this one is."""

    def configuration(self, front: Front, hops: Hops) -> str: ...
    def command(self, program: str, path: Path, folder: Path) -> list[str]: ...
    def version(self, said: str) -> str: ...
    def begin(self, hops: Hops) -> dict[str, int]: ...
    def counted(self, hops: Hops, before: Mapping[str, int]) -> dict[str, int]: ...


PROGRAMS: dict[str, Program] = {"haproxy": haproxy, "nginx": nginx}
"""By name, which is that of the program and of Debian's package too."""


def program_path(name: str) -> str | None:
    """Where it is; also where a user who is not root does not have it on the path."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_ELSEWHERE}")


def missing_program(name: str) -> Missing | None:
    """Why it cannot be started here, or None where it can, as ``none`` always can."""
    if name not in PROGRAMS or program_path(name) is not None:
        return None
    return Missing(f"{name} is not installed", f"install Debian's package {name}")


def programs(front: Front) -> list[str]:
    """The program's path, as part of what a run is made of; empty where no balancer is asked for.

    Raises:
        MachineError: it is not installed.
    """
    why_not = missing_program(front.name)
    if why_not is not None:
        raise MachineError(f"--front {front.name} was asked for; {why_not.reason}", why_not.next_step)
    return [str(program_path(front.name))] if front.asked else []


class RunningFront(RunningServer):
    """Its configuration stays in the run's folder, as does its log; what else it keeps goes when the run is finished.

    Raises:
        MachineError: it is not installed.
        ServerError: it cannot be executed.
    """

    def __init__(self, front: Front, hops: Hops, run: Path, cpus: Sequence[int], files: tuple[int, int]) -> None:
        (path,) = programs(front)
        self._front, self._kind, self._hops = front, PROGRAMS[front.name], hops
        folder = run / FRONT_FOLDER
        folder.mkdir()
        config = run / FRONT_CONF
        config.write_text(self._kind.configuration(front, hops))
        self._before: dict[str, int] = {}
        self.version = self._kind.version(said_by(["sh", "-c", '"$0" -v 2>&1', path]))
        command = self._kind.command(path, config, folder)
        super().__init__(command, run / FRONT_LOG, folder, cpus, files, called=front.name)

    def begin_counting(self) -> None:
        """What its counters say afterwards is of what comes now."""
        self._before = self._kind.begin(self._hops)

    def counted(self) -> dict[str, int]:
        return self._kind.counted(self._hops, self._before)

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it from the start."""
        return {
            "name": self._front.name,
            "version": self.version,
            "pid": self.pid,
            "port": self._hops.port,
            "server_port": self._hops.server_port,
            "backlog_requested": self._front.backlog,
            "backlog_effective": None,
            "listeners": None,
        }
