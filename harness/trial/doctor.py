"""What this machine allows, and what it leaves out: one check for everything that an experiment may need."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.events.check import Status
from harness.machine import host, host_settings, namespace
from harness.machine.listeners import listeners
from harness.machine.nft import MISSING, nft_path
from harness.plan import Load
from harness.plan.slices import FILES_RESERVED
from harness.servers import allocators, build
from harness.servers.build import Missing
from harness.servers.catalogue import catalogue
from harness.servers.front import running as balancers


@dataclass(frozen=True, slots=True)
class Finding:
    """``fail``: something cannot be done here; ``next_step`` says how it could be."""

    name: str
    status: Status
    detail: str
    next_step: str = ""


def examine(data: Path) -> list[Finding]:
    """All findings, the most decisive first."""
    return [
        _system(),
        _cpus(),
        _open_files(),
        _private_network(),
        _sock_diag(),
        _input_queue(),
        _host_settings(),
        _had(
            "nftables",
            None if nft_path() else Missing(MISSING, "install it to have the SYNs of each connection counted"),
            "the SYNs of each connection can be counted",
        ),
        *(
            _had(f"front_{name}", balancers.missing_program(name), f"{name} can be put before a server: --front {name}")
            for name in balancers.PROGRAMS
        ),
        *(  # Rust servers have them built in and do not need this.
            _had(
                f"preload_{allocator}",
                allocators.missing_library(allocator),
                f"{allocator} can be preloaded into servers: --allocator {allocator}",
            )
            for allocator in allocators.LIBRARIES
        ),
        data_folder(data),
        *(
            _had(f"toolchain_{name}", unit.missing, f"{unit.program} found, its servers are built")
            for name, unit in build.LAB.items()
            if unit.program is not None
        ),
        _servers(),
    ]


def _system() -> Finding:
    detail = f"Python {platform.python_version()} on {platform.system()} {platform.release()}"
    elsewhere = None if sys.platform == "linux" else Missing(detail, "storms need Linux; the notebooks do not")
    return _had("system", elsewhere, detail)


def _cpus() -> Finding:
    cpus = host.this_host().cpus
    few = Missing("1 usable CPU: no run with --cpu disjoint", "use a machine with two") if cpus < 2 else None
    return _had("cpus", few, f"{cpus} usable CPUs")


def _open_files() -> Finding:
    _, hard = host.files_limit()
    agents = -(-Load().clients // max(1, hard - FILES_RESERVED))
    return Finding("open_files", "pass", f"hard limit {hard}: a storm of {Load().clients} takes {agents} agents")


def _private_network() -> Finding:
    isolation = namespace.available()
    shared = Missing(
        f"{isolation.reason}: storms run on the host's loopback, without --sysctl",
        "allow unprivileged user namespaces, or run as root",
    )
    detail = "each storm gets a network namespace of its own"
    return _had("private_network", None if isolation.isolated else shared, detail)


def _sock_diag() -> Finding:
    try:
        listeners()
    except OSError as error:
        return Finding("sock_diag", "fail", f"the kernel does not tell backlogs: {error.strerror}", "load tcp_diag")
    return Finding("sock_diag", "pass", "backlogs and queue depths can be read from the kernel")


def _input_queue() -> Finding:
    packets = namespace.read_settings().get("net.core.netdev_max_backlog")
    if packets is None:
        return Finding("input_queue", "unknown", "net.core.netdev_max_backlog cannot be read")
    detail = f"loopback's input queue holds {packets} packets; bursts of more connections lose retransmitted SYNs there"
    return Finding("input_queue", "pass", detail)


def _host_settings() -> Finding:
    """A command of root's has put them back before this is asked."""
    left = host_settings.put_back_left()
    if left:
        return Finding("host_settings", "fail", " ".join(left), "run any command of stormlab as root")
    return Finding("host_settings", "pass", "no run that was killed has left a setting of the host changed")


def _had(name: str, missing: Missing | None, detail: str) -> Finding:
    """What can be done with something that is here, or why it is not."""
    if missing is None:
        return Finding(name, "pass", detail)
    return Finding(name, "fail", missing.reason, missing.next_step)


def data_folder(data: Path) -> Finding:
    """Of the folder, or of the one that it would be made in."""
    free_mib, existing = 0, data
    for existing in (data, *data.parents):
        try:
            with tempfile.TemporaryFile(dir=existing):
                free_mib = shutil.disk_usage(existing).free // 2**20
                break
        except FileNotFoundError:
            continue
        except OSError as error:
            reason = f"{existing} cannot be written to: {error.strerror}"
            return Finding("data", "fail", reason, "choose another folder with --data")
    if free_mib < 200:
        return Finding("data", "fail", f"{free_mib} MiB free in {existing}", "free some, or use --data")
    return Finding("data", "pass", f"{free_mib // 1024} GiB free for {data}")


def _servers() -> Finding:
    entries = catalogue().values()
    here = [entry.name for entry in entries if entry.missing is None]
    return Finding("servers", "pass", f"{len(here)} of {len(entries)} can be started: {', '.join(here)}")
