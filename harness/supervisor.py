"""One storm from start to end, as a process of its own: ``python -m harness.supervisor FOLDER CWD CALLER``.

It moves into a private network and takes along everything it starts there. While the storm runs it has a single thread,
so it may do what a notebook's kernel may not: enter a user namespace, run code between fork and exec. It reads the plan
from the partial run in FOLDER, starts the server in CWD, reports progress as JSON lines on standard output, and leaves
a finished run. Whatever happens, it ends what it started and keeps the rows; if CALLER is gone, it stops.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from harness import children, host, namespace
from harness.conclude import PROBE_SAMPLES, conclude
from harness.disturbances import ClientPause, Disturbance, Stall
from harness.errors import INTERRUPTED, MachineError, ServerError, StormLabError
from harness.layout import free_port, place, ports_in_use
from harness.ledger import Ledger
from harness.load.rows import Rows
from harness.load.slices import Slice, agents_needed, cut, source_pool
from harness.nft import nft_path
from harness.path_loss import PathLoss
from harness.plan import MAX_SECONDS, Trial
from harness.probe import counters
from harness.probe.sampler import interval_us
from harness.servers.catalogue import Entry, argv
from harness.servers.process import RunningServer
from harness.store import SERVER_LOG, Partial, Run
from harness.tracing.witness import Witness

PRIVATE_PORT = 8080
LOOPBACK_SOURCES = 2**24 - 2**17
"""Of the addresses 127.1.0.1 to 127.255.255.255, as many as leave room for any load after them."""
START_IN_S = 0.05
REPORT_EVERY_S = 0.25
AGENTS_READY_WITHIN_S = 60.0
AGENTS_STOP_WITHIN_S = 3.0


class Interrupted(BaseException):
    """SIGINT or SIGTERM arrived."""


class Supervisor:
    """The phases of a trial, in the order of :meth:`run`. The server is started in ``folder``."""

    def __init__(self, partial: Partial, folder: Path) -> None:
        self.partial = partial
        self.folder = folder
        self.manifest = partial.read_manifest()
        self.trial = Trial.from_json(self.manifest["plan"])
        self.slices: list[Slice] = []
        self.rows: list[Rows] = []
        self.agents: list[subprocess.Popen[str]] = []
        self.server: RunningServer | None = None
        self.ledger: Ledger | None = None
        self.path_loss: PathLoss | None = None
        self.probe: subprocess.Popen[str] | None = None
        self.tracing: Witness | None = None
        self.begun = False
        """Whether the storm has begun: from then on there is something to keep."""

    def run(self) -> Run | None:
        """Run the trial; None when it was given up with nothing recorded.

        Raises:
            MachineError: the trial cannot be run here; nothing is kept.
        """
        error: StormLabError | None = None
        try:
            self._isolate()
            self._start_tracing()
            self._lay_out()
            self._start_server()
            self._start_agents()
            self._start_probe()
            self._open_ledger()
            self._lose_packets()
            self._storm()
        except ServerError as failure:
            error, self.begun = failure, True
        except MachineError as failure:
            if not self.begun:
                raise
            error = failure
        except Interrupted:
            error = StormLabError.interrupted("what was recorded until then is kept")
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, children.STOPPING)  # from here on it ends, and nothing else
            self._end_everything()
        if not self.begun:
            self.partial.remove()
            return None
        self._note_outcome(error)
        return conclude(self.partial, self.manifest, self.slices, self.rows)

    # ---- phases ---------------------------------------------------------------------------------------------

    def _isolate(self) -> None:
        settings = namespace.read_settings()
        isolation = namespace.enter()
        if self.trial.sysctls and not isolation.isolated:
            raise MachineError(
                f"--sysctl was asked for; there is no private namespace to set it in: {isolation.reason}",
                "allow user namespaces or run as root; see `stormlab doctor`",
            )
        namespace.set_private(dict(self.trial.sysctls))
        own = namespace.read_settings()
        kept = {
            key: value
            for key, value in own.items()
            if key.startswith(("net.ipv4.tcp_", "net.ipv4.ip_local", "net.core.somaxconn"))
        }
        host_only = {key: settings[key] for key in namespace.HOST_ONLY if key in settings}
        self.manifest["kernel"] = {
            "release": os.uname().release,
            "isolated": isolation.isolated,
            "not_isolated_because": isolation.reason or None,
            "sysctls": {**kept, **host_only},
            "counters": {},
        }

    def _start_tracing(self) -> None:
        """Before all else: the server's port is one that no other trial has, and its listener is seen to begin."""
        if not self.trial.trace:
            return
        if not self.manifest["kernel"]["isolated"]:
            raise MachineError(
                "--trace was asked for; there is no private namespace, and the host's traffic would be traced too",
                "run it as root; see `stormlab doctor`",
            )
        with children.uninterrupted():
            self.tracing = Witness(self.partial.path)
        self.port = self.tracing.port()

    def _lay_out(self) -> None:
        """Decide addresses, ports, CPUs and slices, and make room for every planned row."""
        load = self.trial.load
        in_use = ports_in_use()
        isolated = self.manifest["kernel"]["isolated"]
        if self.tracing is None:
            self.port = PRIVATE_PORT if isolated else free_port(in_use)
        self.target = socket.getaddrinfo(load.target_host, self.port, type=socket.SOCK_STREAM)[0][4][0]
        stalled_burst = self.trial.faults.stall_ms is not None and load.is_burst
        server_cpus, client_cpus = place(self.trial.placement, host.usable_cpus(), one_client_cpu=stalled_burst)
        source = None
        if load.source_ports == "assigned":
            # On the host's loopback a former storm's ports may still be in TIME_WAIT: begin somewhere else each time.
            begin = 0 if isolated else random.randrange(LOOPBACK_SOURCES)
            source = source_pool(str(self.target), load, [self.port, *in_use], first_address=begin)
        agents = agents_needed(load, len(client_cpus), host.files_limit()[1], one_cpu=len(client_cpus) == 1)
        self.slices = cut(
            load,
            agents,
            target=str(self.target),
            port=self.port,
            source=source,
            cpus=client_cpus,
            folder=str(self.partial.path),
        )
        for slice_ in self.slices:
            self.rows.append(Rows(Path(slice_.rows_path), slice_.connection_rows, slice_.request_rows, create=True))
        if self.tracing is not None:
            self.tracing.use_cpus(client_cpus)
        overlap = set(server_cpus) & set(client_cpus)
        self.manifest |= {
            "target_address": self.target,
            "port": self.port,
            "cpu": {"regime": "shared" if overlap else "disjoint", "server": server_cpus, "clients": client_cpus},
            "agents_planned": agents,
            "slices": [slice_.to_json() for slice_ in self.slices],
            "supervisor_pid": os.getpid(),
        }

    def _start_server(self) -> None:
        planned = self.trial.server
        about = self.manifest["server"]
        entry = Entry(name=about["name"], title=about["title"], command=about["command"])
        about |= {
            "backlog_requested": planned.backlog,
            "backlog_effective": None,
            "allocator": "system",
            "pid": None,
        }
        soft, hard = host.files_limit()
        if planned.nofile is not None and planned.nofile > hard:
            raise MachineError(
                f"--nofile {planned.nofile} was asked for; the hard limit of open files here is {hard}",
                f"use --nofile {hard} or less",
            )
        files = (soft, hard) if planned.nofile is None else (planned.nofile, planned.nofile)
        about["nofile"] = files[0]
        self.manifest["status"] = "running"
        command = argv(entry, planned, str(self.target), self.port)
        log = self.partial.path / SERVER_LOG
        self.server = RunningServer(command, log, self.folder, self.manifest["cpu"]["server"], files)
        about["pid"] = self.server.pid
        self.partial.write_manifest(self.manifest)
        _say(phase="waiting for the server")
        self.server.wait_until_ready(planned.ready, str(self.target), self.port, self.trial.load.path)
        self._read_backlog()
        about["version"] = about["version"] or self.server.announced_version()

    def _read_backlog(self) -> None:
        """Ask the kernel; a server that was not waited for may not listen before the storm."""
        assert self.server is not None
        listening = self.server.listeners(self.port)
        if listening:
            self.manifest["server"]["backlog_effective"] = listening[0].backlog
            # With SO_REUSEPORT each has a queue of its own; an address of the other family is not called.
            self.manifest["server"]["listeners"] = sum(one.address == listening[0].address for one in listening)

    def _start_agents(self) -> None:
        limit = self.trial.faults.client_nofile
        for slice_ in self.slices:
            with (self.partial.path / f"agent-{slice_.agent}.log").open("w") as log:
                agent = children.start(
                    # The folder is not read by the agent; it tells whoever lists processes what this one belongs to.
                    [sys.executable, "-m", "harness.load.agent", str(self.partial.path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd=Path(__file__).parent.parent,
                    prepared=children.prepare(files=None if limit is None else (limit, limit)),
                )
            self.agents.append(agent)
            _tell(agent, json.dumps(slice_.to_json()))
        self.manifest["agent_pids"] = [agent.pid for agent in self.agents]
        self.partial.write_manifest(self.manifest)
        deadline = time.monotonic() + AGENTS_READY_WITHIN_S
        for slice_, agent in zip(self.slices, self.agents, strict=True):
            assert agent.stdout is not None
            if agent.stdout.readline() != "ready\n" or time.monotonic() > deadline:
                raise MachineError(
                    f"agent {slice_.agent} did not start: {self._agent_log(slice_.agent)}", "see `stormlab doctor`"
                )

    def _start_probe(self) -> None:
        """Watch the listener, the server and the counters from a process of its own, on the clients' CPUs."""
        assert self.server is not None
        if not self.trial.probe or not self.server.listeners(self.port):
            return
        every_us = interval_us(len(host.usable_cpus()))
        clients = ",".join(map(str, self.slices[0].cpus))
        words = (self.port, self.target, every_us, self.partial.path / PROBE_SAMPLES, clients)
        self.probe = children.start(
            [sys.executable, "-m", "harness.probe.sampler", *map(str, (*words, *children.members(self.server.pid)))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
        )
        assert self.probe.stdout is not None
        if self.probe.stdout.readline() != "ready\n":
            raise MachineError("the probe did not start", "run without it: --no-probe")

    def _open_ledger(self) -> None:
        why_not = "it was not asked for" if not self.trial.ledger else None
        why_not = why_not or Ledger.impossible(self.slices, self.manifest["kernel"]["isolated"])
        self.manifest["no_ledger_because"] = why_not
        if why_not is None:
            _say(phase="preparing to count packets")
            ledger = Ledger(self.port, self.slices, children.keep_network_rights)
            ledger.open()
            self.ledger = ledger

    def _lose_packets(self) -> None:
        share = self.trial.faults.syn_loss
        if share is None:
            return
        if not self.manifest["kernel"]["isolated"] or nft_path() is None:
            raise MachineError(
                f"--syn-loss {share:g} was asked for; it takes a private namespace and nft (Debian's nftables)",
                "see `stormlab doctor`",
            )
        loss = PathLoss(self.port, share, self.slices, children.keep_network_rights)
        loss.open()
        self.path_loss = loss

    def _storm(self) -> None:
        assert self.server is not None
        stall_ms = self.trial.faults.stall_ms
        before = counters.read_counters()
        if stall_ms is not None:
            self.server.stall()
        start_ns = time.monotonic_ns() + int(START_IN_S * 1e9)
        self.manifest["start_ns"] = start_ns
        self.begun = True
        self.partial.write_manifest(self.manifest)
        try:
            for agent in self.agents:
                _tell(agent, str(start_ns))
            self._watch(start_ns, self._disturbances(start_ns))
        finally:
            after = counters.read_counters()
            self.manifest["kernel"]["counters"] = counters.deltas(before, after)
            ended = self.server.exit_status
            self.manifest["server"]["ended"] = ended
            if self.manifest["server"]["backlog_effective"] is None:
                self._read_backlog()
        if ended is not None:
            raise ServerError(
                f"the server ended during the storm: {ended}", f"its output is in {self.partial.run_id}/server.log"
            )

    def _disturbances(self, start_ns: int) -> list[Disturbance]:
        assert self.server is not None
        load, faults = self.trial.load, self.trial.faults
        found: list[Disturbance] = []
        if faults.stall_ms is not None:
            found.append(
                Stall(self.server.resume, start_ns, faults.stall_ms, wait_for=load.clients if load.is_burst else 0)
            )
        if faults.client_pause_ms is not None:
            found.append(ClientPause(self._pause_agents, start_ns, faults.client_pause_ms, half=load.clients // 2))
        return found

    def _pause_agents(self, stop: bool) -> None:
        for agent in self.agents:
            children.signal_group(agent.pid, signal.SIGSTOP if stop else signal.SIGCONT)

    def _watch(self, start_ns: int, disturbances: list[Disturbance]) -> None:
        """Follow the storm to its end, and disturb it when that is due."""
        next_report_ns = start_ns
        try:
            while any(agent.poll() is None for agent in self.agents):
                now_ns = time.monotonic_ns()
                for disturbance in disturbances:
                    if not disturbance.over:
                        self.manifest |= disturbance.step(now_ns, self._attempted)
                if now_ns >= next_report_ns:
                    next_report_ns = now_ns + int(REPORT_EVERY_S * 1e9)
                    self._report(now_ns - start_ns)
                if now_ns - start_ns > (2 * MAX_SECONDS) * 1e9:
                    raise MachineError(
                        f"the storm was not over after {2 * MAX_SECONDS:g} s and was ended", "plan fewer requests"
                    )
                time.sleep(0.02 if all(disturbance.over for disturbance in disturbances) else 0.001)
        finally:
            for disturbance in disturbances:
                disturbance.end()
        for slice_, agent in zip(self.slices, self.agents, strict=True):
            if agent.returncode:
                raise MachineError(
                    f"agent {slice_.agent} ended with {agent.returncode}: {self._agent_log(slice_.agent)}",
                    "its rows are kept in the failed run",
                )

    def _attempted(self) -> int:
        """Clients that have issued their first connect, or tried to and could not."""
        # An agent lets every client connect once before any does so again.
        made = zip(self.slices, self.rows, strict=True)
        return sum(min(slice_.clients, rows.header["connections"][0]) for slice_, rows in made)

    def _report(self, elapsed_ns: int) -> None:
        read = [rows.counters() for rows in self.rows]
        total = {name: sum(counts[name] for counts in read) for name in ("issued", "answered", "failed")}
        _say(elapsed_s=elapsed_ns / 1e9, planned=self.trial.load.planned, **total)

    # ---- the end --------------------------------------------------------------------------------------------

    def _end_everything(self) -> None:
        for rows in self.rows:
            rows.ask_to_stop()
        for agent in self.agents:
            assert agent.stdin is not None
            with contextlib.suppress(OSError):
                agent.stdin.close()  # one that still waits for its start gives up
        deadline = time.monotonic() + AGENTS_STOP_WITHIN_S
        while any(agent.poll() is None for agent in self.agents) and self.begun and time.monotonic() < deadline:
            time.sleep(0.01)
        if self.probe is not None:
            with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
                report, _ = self.probe.communicate(timeout=2.0)
                self.manifest["probe"] = json.loads(report)
            children.end(self.probe, grace_s=0.2)
        if self.tracing is not None:
            self.manifest["trace"] = self.tracing.end()
        if self.server is not None:
            self.server.end()
        for agent in self.agents:
            children.end(agent, grace_s=0.2)
        if self.ledger is not None and self.begun:
            _say(phase="reading the packet counts")
            try:
                self.ledger.write_into(self.rows)
            except MachineError as error:  # the rows are there without it
                self.manifest["no_ledger_because"] = error.message
        if self.path_loss is not None and self.begun:
            with contextlib.suppress(MachineError):
                self.path_loss.write_into(self.partial.path)
        children.end_descendants(spared=() if self.tracing is None else (self.tracing.pid,))

    def _note_outcome(self, error: StormLabError | None) -> None:
        reports = []
        for agent in self.agents:
            with contextlib.suppress(OSError, ValueError):
                assert agent.stdout is not None
                reports.append(json.loads(agent.stdout.readline()))
        self.manifest["agents"] = reports
        self.manifest["error"] = None if error is None else error.to_json()

    def _agent_log(self, agent: int) -> str:
        lines = (self.partial.path / f"agent-{agent}.log").read_text().split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it said nothing")


def _tell(agent: subprocess.Popen[str], line: str) -> None:
    assert agent.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # an agent that died is found by its exit status
        agent.stdin.write(line + "\n")
        agent.stdin.flush()


def _say(**fields: Any) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(fields), flush=True)


def main() -> int:
    def interrupt(number: int, frame: FrameType | None) -> None:
        for one in children.STOPPING:  # once is enough: what follows must not be interrupted in turn
            signal.signal(one, signal.SIG_IGN)
        raise Interrupted

    folder, cwd, caller = sys.argv[1:]
    partial = Partial(Path(folder))
    children.die_with_parent(signal.SIGTERM)
    children.adopt_orphans()
    for number in children.STOPPING:
        signal.signal(number, interrupt)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, children.STOPPING)  # blocked by the caller until here
        if os.getppid() != int(caller):
            raise Interrupted
        run = Supervisor(partial, Path(cwd)).run()
    except StormLabError as error:
        # Without a storm there is nothing to keep; with one, it could not be finished, and its rows stay for later.
        if "start_ns" not in partial.read_manifest():
            partial.remove()
        _say(error=error.to_json())
        return error.exit_code
    except Interrupted:
        if "start_ns" in partial.read_manifest():  # in the instant between the storm and its end: the caller finishes
            return INTERRUPTED
        partial.remove()
        run = None
    _say(done=str(run.path) if run is not None else None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
