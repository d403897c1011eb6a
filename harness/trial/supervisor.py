"""One storm from start to end, as a process of its own: ``python -m harness.trial.supervisor FOLDER CWD CALLER``.

It moves into a private network and takes along everything it starts there. While the storm runs it has a single thread,
so it may do what a notebook's kernel may not: enter a user namespace, run code between fork and exec. It reads the plan
from the partial run in FOLDER, starts the server in CWD, reports progress as JSON lines on standard output, and leaves
a finished run. Whatever happens, it ends what it started and keeps the rows; if CALLER is gone, it stops.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from harness.errors import INTERRUPTED, MachineError, ServerError, StormLabError
from harness.events.samples import PROBE_SAMPLES, PROBE_SERVER_SAMPLES
from harness.events.store import SERVER_LOG, Partial, Run
from harness.load.agents import Agents
from harness.machine import children, counters, host
from harness.machine.children import Interrupted
from harness.machine.nft import Nft, impossible
from harness.machine.usage import Usage
from harness.plan import MAX_SECONDS, Trial
from harness.servers import allocators
from harness.servers.catalogue import Entry, argv
from harness.servers.front.hops import Hops
from harness.servers.front.running import RunningFront
from harness.servers.process import RunningServer
from harness.trial.conclude import conclude
from harness.trial.disturbances import Disturbance, Outage, Stall
from harness.trial.ground import Ground, enter_network, lay_out
from harness.trial.held_connection import HeldConnection
from harness.trial.path_loss import PathLoss
from harness.witness.ledger import Ledger
from harness.witness.witnesses import Witnesses

START_IN_S = 0.05
REPORT_EVERY_S = 0.25


class Supervisor:
    """The phases of a trial, in the order of :meth:`run`. The server is started in ``folder``."""

    def __init__(self, partial: Partial, folder: Path) -> None:
        self.partial = partial
        self.folder = folder
        self.manifest = partial.read_manifest()
        self.trial = Trial.from_json(self.manifest["plan"])
        self.agents = Agents([], partial.path)
        self.server: RunningServer | None = None
        self.front: RunningFront | None = None
        """What the storm meets before the server, if anything."""
        self.path_loss: PathLoss | None = None
        self.traced_port: int | None = None
        """The server's, where the tracing has chosen it."""
        self.ground: Ground
        self.witnesses = Witnesses(partial.path)
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
            self._refuse_what_cannot_be_lost()
            self._start_server()
            self._start_front()
            self._start_agents()
            self._start_probe()
            self._open_ledger()
            self._lose_packets()
            self._storm()
            self._settle()
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
        return conclude(self.partial, self.manifest, self.ground.slices, self.agents.rows)

    # ---- phases ---------------------------------------------------------------------------------------------

    def _isolate(self) -> None:
        self.manifest["kernel"] = enter_network(self.trial)

    def _start_tracing(self) -> None:
        """Before all else: the server's listener is seen to begin."""
        if not self.trial.trace:
            return
        if not self.manifest["kernel"]["isolated"]:
            raise MachineError(
                "--trace was asked for; there is no private namespace, and the host's traffic would be traced too",
                "run it as root; see `stormlab doctor`",
            )
        self.traced_port = self.witnesses.start_tracing()

    def _lay_out(self) -> None:
        """Decide what happens where, and make room for every planned row."""
        isolated = self.manifest["kernel"]["isolated"]
        self.ground = lay_out(self.trial, isolated=isolated, port=self.traced_port, folder=self.partial.path)
        self.agents = Agents(self.ground.slices, self.partial.path)
        self.witnesses.use_cpus(self.ground.client_cpus)
        self.manifest |= {**self.ground.to_json(), "supervisor_pid": os.getpid()}

    def _refuse_what_cannot_be_lost(self) -> None:
        """Before anything is started."""
        faults, isolated = self.trial.faults, self.manifest["kernel"]["isolated"]
        held = None if faults.hold_ms is None else HeldConnection.impossible(self.ground.slices, isolated)
        lost = None if faults.syn_loss is None else impossible(isolated)
        for option, why_not in (("--hold-ms", held), ("--syn-loss", lost)):
            if why_not is not None:
                raise MachineError(f"{option} was asked for; {why_not}", "see `stormlab doctor`")

    def _start_server(self) -> None:
        planned = self.trial.server
        about = self.manifest["server"]
        entry = Entry(name=about["name"], title=about["title"], command=about["command"])
        load = self.trial.load
        about |= {
            "backlog_requested": planned.backlog,
            "backlog_effective": None,
            "allocator": None,
            "pid": None,
        }
        soft, hard = host.files_limit()
        files = (soft, hard) if planned.nofile is None else (planned.nofile, planned.nofile_hard or planned.nofile)
        if files[1] > hard:
            raise MachineError(
                f"{files[1]} open files were asked for (--nofile, --nofile-hard); the hard limit here is {hard}",
                f"use {hard} or less",
            )
        about["nofile"] = files[0]
        self.manifest["status"] = "running"
        command = argv(entry, planned, self.ground.target, self.ground.server_port, http2=load.http2)
        log = self.partial.path / SERVER_LOG
        environment = allocators.preloading(about["preloaded"]) if about["preloaded"] else {}
        self.server = RunningServer(command, log, self.folder, self.ground.server_cpus, files, environment)
        about["pid"] = self.server.pid
        self.partial.write_manifest(self.manifest)
        _say(phase="waiting for the server")
        target, port = self.ground.target, self.ground.server_port
        self.server.wait_until_ready(planned.ready, target, port, load.path, http2=load.http2)
        self._read_backlog(self.server)
        about["version"] = about["version"] or self.server.announced_version()
        self._prove_allocator()
        self._set_listener_options()

    def _set_listener_options(self) -> None:
        """What no server's command line asks for, and how it was read back."""
        assert self.server is not None
        planned = self.trial.server
        asked = {"TCP_FASTOPEN": planned.fast_open_queue, "TCP_DEFER_ACCEPT": planned.defer_accept_s}
        options = {name: value for name, value in asked.items() if value is not None}
        if options:
            found = self.server.set_listener_options(self.ground.server_port, options)
            self.manifest["server"]["listener_options"] = found

    def _start_front(self) -> None:
        """On the server's CPUs; from here on the storm's port is that of the load balancer."""
        front = self.trial.front
        if not front.asked:
            return
        ground = self.ground
        hops = Hops(ground.target, ground.port, ground.server_port, f"stormlab-{self.partial.run_id}")
        self.front = RunningFront(front, hops, self.partial.path, ground.server_cpus, host.files_limit())
        self.manifest["front"] = self.front.to_json()
        self.partial.write_manifest(self.manifest)
        _say(phase=f"waiting for {front.name}")
        self.front.wait_until_ready(self.trial.server.ready, ground.target, ground.port, self.trial.load.path)
        self._read_backlog(self.front)

    @property
    def _running(self) -> list[tuple[RunningServer, dict[str, Any], int]]:
        """The server, and what is before it: the process, what the manifest says of it, its port."""
        assert self.server is not None
        found: list[tuple[RunningServer, dict[str, Any], int]] = [
            (self.server, self.manifest["server"], self.ground.server_port)
        ]
        return found if self.front is None else [*found, (self.front, self.manifest["front"], self.ground.port)]

    def _prove_allocator(self) -> None:
        """Before the storm: a run whose server has not what was asked for would say something of another."""
        assert self.server is not None
        about, asked = self.manifest["server"], self.trial.server.allocator
        found = self.server.allocator(asked)
        about |= {"allocator": found.allocator, "allocator_evidence": found.evidence}
        # Of a server of the user's, `system` asks for nothing: it has what it comes with.
        if found.allocator != asked and (asked != "system" or about["is_the_labs"]):
            raise ServerError(
                f"the allocator asked for is {asked}; the running server shows {found.allocator}: {found.evidence}",
                "unset LD_PRELOAD" if asked == "system" else "what is linked statically must be built with it",
            )

    def _read_backlog(self, whose: RunningServer) -> None:
        """Ask the kernel; a server that was not waited for may not listen before the storm."""
        (about, port) = next((about, port) for process, about, port in self._running if process is whose)
        listening = whose.listeners(port)
        if listening:
            about["backlog_effective"] = listening[0].backlog
            # With SO_REUSEPORT each has a queue of its own; an address of the other family is not called.
            about["listeners"] = sum(one.address == listening[0].address for one in listening)

    def _start_agents(self) -> None:
        self.agents.start(files=self.trial.faults.client_nofile)
        self.manifest["agent_pids"] = self.agents.pids
        self.partial.write_manifest(self.manifest)
        self.agents.wait_until_ready()

    def _start_probe(self) -> None:
        """Where there is a listener to watch; on the clients' CPUs. The samples are of the one that the storm meets."""
        met = self._running[-1][0]
        for process, _, port in self._running:
            if self.trial.probe and process.listeners(port):
                samples = PROBE_SAMPLES if process is met else PROBE_SERVER_SAMPLES
                self.witnesses.start_probe(
                    port, self.ground.target, process.pid, self.ground.client_cpus, samples=samples
                )

    def _open_ledger(self) -> None:
        slices = self.ground.slices
        why_not = "it was not asked for" if not self.trial.ledger else None
        why_not = why_not or Ledger.impossible(slices, self.manifest["kernel"]["isolated"])
        self.manifest["no_ledger_because"] = why_not
        if why_not is None:
            _say(phase="preparing to count packets")
            self.witnesses.open_ledger(self.ground.port, slices)

    def _lose_packets(self) -> None:
        share = self.trial.faults.syn_loss
        if share is not None:
            loss = PathLoss(self.ground.port, share, self.ground.slices, children.keep_network_rights)
            loss.open()
            self.path_loss = loss

    def _storm(self) -> None:
        assert self.server is not None
        stall_ms = self.trial.faults.stall_ms
        if self.front is not None:
            self.front.begin_counting()
        before, used_before = counters.read_counters(), [process.usage() for process, *_ in self._running]
        if stall_ms is not None and self.trial.faults.stall_at_s is None:
            self.server.stall()
        if self.trial.faults.stall_loop_ms is not None:
            self.server.block_loop()
        start_ns = time.monotonic_ns() + int(START_IN_S * 1e9)
        self.manifest["start_ns"] = start_ns
        self.begun = True
        self.partial.write_manifest(self.manifest)
        try:
            self.agents.begin(start_ns)
            self._watch(start_ns, self._disturbances(start_ns))
        finally:
            self.manifest["kernel"]["counters"] = counters.deltas(before, counters.read_counters())
            for (process, about, _), earlier in zip(self._running, used_before, strict=True):
                self._note_usage(process, about, earlier)
            if self.front is not None:
                self.manifest["front"]["counters"] = self.front.counted()
        for process, about, _ in self._running:
            if about["ended"] is not None:
                raise ServerError(
                    f"{process.called} ended during the storm: {about['ended']}",
                    f"its output is in {self.partial.run_id}/{process.log_name}",
                )

    def _note_usage(self, process: RunningServer, about: dict[str, Any], before: Usage) -> None:
        """What it used in the storm, and whether it is still there."""
        used = process.usage()
        if used.cpu_s is not None and before.cpu_s is not None:
            about["storm_cpu_s"] = used.cpu_s - before.cpu_s
        about["peak_rss_bytes"] = used.peak_rss_bytes
        about["ended"] = process.exit_status
        if about["backlog_effective"] is None:
            self._read_backlog(process)

    def _settle(self) -> None:
        """Watch the server for a while longer, with nothing to do but give memory back."""
        if not self.trial.settle_s:
            return
        assert self.server is not None
        _say(phase=f"watching the server for {self.trial.settle_s:g} s more")
        until = time.monotonic() + self.trial.settle_s
        while (left_s := until - time.monotonic()) > 0 and self.server.exit_status is None:
            time.sleep(min(left_s, 0.1))
        self.manifest["server"]["settled_rss_bytes"] = self.server.usage().rss_bytes
        if (ended := self.server.exit_status) is not None:
            self.manifest["server"]["ended"] = ended
            raise ServerError(
                f"the server ended after the storm: {ended}", f"its output is in {self.partial.run_id}/server.log"
            )

    def _disturbances(self, start_ns: int) -> list[Disturbance]:
        assert self.server is not None
        load, faults = self.trial.load, self.trial.faults
        found: list[Disturbance] = []
        if faults.stall_ms is not None and faults.stall_at_s is not None:
            stop, resume = self.server.stall, self.server.resume
            found.append(Outage(stop, resume, start_ns, faults.stall_ms, "stalled_us", at_s=faults.stall_at_s))
        elif faults.stall_ms is not None:
            found.append(
                Stall(self.server.resume, start_ns, faults.stall_ms, wait_for=load.places if load.is_burst else 0)
            )
        if faults.hold_ms is not None and faults.hold_at_s is not None:
            slices, rules = self.ground.slices, Nft(children.keep_network_rights, "--hold-ms", "leave it out")
            one = HeldConnection(self.ground.port, slices[0], rules)
            self.manifest["held_connection"] = list(one.pair)
            found.append(Outage(one.hold, one.let_go, start_ns, faults.hold_ms, "held_us", at_s=faults.hold_at_s))
        if faults.stall_loop_ms is not None:
            released = self.server.release_loop
            found.append(Stall(released, start_ns, faults.stall_loop_ms, 0, noted_as="loop_stalled_until_us"))
        if faults.client_pause_ms is not None:
            stop, resume, half = self.agents.pause, self.agents.resume, load.places // 2
            found.append(Outage(stop, resume, start_ns, faults.client_pause_ms, "clients_paused_us", wait_for=half))
        return found

    def _watch(self, start_ns: int, disturbances: list[Disturbance]) -> None:
        """Follow the storm to its end, and disturb it when that is due."""
        next_report_ns = start_ns
        try:
            while self.agents.running:
                now_ns = time.monotonic_ns()
                for disturbance in disturbances:
                    if not disturbance.over:
                        self.manifest |= disturbance.step(now_ns, self.agents.attempted)
                if now_ns >= next_report_ns:
                    next_report_ns = now_ns + int(REPORT_EVERY_S * 1e9)
                    _say(
                        elapsed_s=(now_ns - start_ns) / 1e9,
                        planned=self.trial.load.planned,
                        **self.agents.progress(),
                    )
                if now_ns - start_ns > (2 * MAX_SECONDS) * 1e9:
                    raise MachineError(
                        f"the storm was not over after {2 * MAX_SECONDS:g} s and was ended", "plan fewer requests"
                    )
                time.sleep(0.02 if all(disturbance.over for disturbance in disturbances) else 0.001)
        finally:
            for disturbance in disturbances:
                disturbance.end()
        self.agents.check_exits()

    # ---- the end --------------------------------------------------------------------------------------------

    def _end_everything(self) -> None:
        self.agents.ask_to_stop()
        if self.begun:
            self.agents.wait_until_stopped()
        self.manifest |= self.witnesses.end()
        for process in (self.front, self.server):
            if process is not None:
                process.end()
        self.agents.end()
        if self.witnesses.has_ledger and self.begun:
            _say(phase="reading the packet counts")
            try:
                self.witnesses.write_ledger_into(self.agents.rows)
            except MachineError as error:  # the rows are there without it
                self.manifest["no_ledger_because"] = error.message
        if self.path_loss is not None and self.begun:
            with contextlib.suppress(MachineError):
                self.path_loss.write_into(self.partial.path)
        children.end_descendants(spared=self.witnesses.survivors)

    def _note_outcome(self, error: StormLabError | None) -> None:
        self.manifest["agents"] = self.agents.reports()
        self.manifest["error"] = None if error is None else error.to_json()


def _say(**fields: Any) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(fields), flush=True)


def main() -> int:
    folder, cwd, caller = sys.argv[1:]
    partial = Partial(Path(folder))
    children.die_with_parent(signal.SIGTERM)
    children.adopt_orphans()
    children.interrupt_once()
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
