"""Settings of the kernel that a storm asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.plan.option import Settings, check, option, require


@dataclass(frozen=True, slots=True)
class Kernel:
    """Settings of the kernel, sorted by name: of the private network, and of the host for the length of the run.

    >>> Kernel(sysctls=(("net.ipv4.tcp_syncookies", "0"),)).host_sysctls
    ()
    """

    sysctls: Settings = option((), "set in the private namespace; repeatable", name="sysctl")
    host_sysctls: Settings = option(
        (),
        "root only: set on this host for the length of the run, for what no namespace has; repeatable",
        name="host_sysctl",
    )

    def __post_init__(self) -> None:
        check(self)
        for name, flag in (("sysctls", "--sysctl"), ("host_sysctls", "--host-sysctl")):
            settings = tuple(sorted((key, value) for key, value in getattr(self, name)))
            for key, _ in settings:
                known = bool(re.fullmatch(r"net(\.[A-Za-z0-9_-]+)+", key))
                require(known, f"{flag} sets net.*, not {key!r}")
            object.__setattr__(self, name, settings)
