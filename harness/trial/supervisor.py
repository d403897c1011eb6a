"""One storm from start to end, as a process of its own: ``python -m harness.trial.supervisor FOLDER CWD CALLER``.

It moves into a private network and takes along everything it starts there. While the storm runs it has a single thread,
so it may do what a notebook's kernel may not: enter a user namespace, run code between fork and exec. It reads the plan
from the partial run in FOLDER, starts the server in CWD, reports progress as JSON lines on standard output, and leaves
a finished run. Whatever happens, it ends what it started and keeps the rows; if CALLER is gone, it stops. Where it is
killed, its guard, which CALLER has as its child, ends what it leaves.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import INTERRUPTED, MachineError, ServerError, StormLabError
from harness.events.samples import PROBE_SAMPLES, PROBE_SERVER_SAMPLES
from harness.events.store import SERVER_LOG, Partial, Run
from harness.load.agents import Agents
from harness.machine import children, counters, host, nft
from harness.machine.children import Interrupted
from harness.machine.guard import guarded
from harness.plan import MAX_SECONDS, Trial
from harness.plan.slices import Slice
from harness.servers import allocators
from harness.servers.allocators import Found as Allocator
from harness.servers.catalogue import Entry, argv
from harness.servers.front.hops import Hops
from harness.servers.front.running import RunningFront
from harness.servers.process import RunningServer
from harness.trial import engine
from harness.trial.conclude import conclude
from harness.trial.disturbances import Disturbance, Outage, Stall
from harness.trial.findings import Counting, Findings, Running, Settled, Shown, Stormed
from harness.trial.ground import Ground, enter_network, lay_out
from harness.trial.lost_packets import HeldConnection, PathLoss
from harness.witness.ledger import Ledger
from harness.witness.witnesses import Witnesses

START_IN_S = 0.05
REPORT_EVERY_S = 0.25
LAST_LOOK_S = 0.02
"""A few samples: what the storm has left is seen before a stopped server goes on, and takes it."""


class Supervisor:
    """The phases of a trial, in the order of :meth:`run`. The server is started in ``folder``."""

    def __init__(self, partial: Partial, folder: Path) -> None:
        self.partial = partial
        self.folder = folder
        self.found = Findings(partial.read_manifest())
        self.trial = Trial.from_json(self.found.planned["plan"])
        self.agents = Agents([], partial.path)
        self.path_loss: PathLoss | None = None
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
            self._prepare()
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
        over = {"agents": self.agents.reports(), "error": None if error is None else error.to_json()}
        return conclude(self.partial, self.found.manifest() | over, self.agents.slices, self.agents.rows)

    def _prepare(self) -> None:
        """Everything until the storm can begin; what each phase finds is known to the next, and to the manifest."""
        trial, found = self.trial, self.found
        network = found.network = enter_network(trial)
        port = self._start_tracing(network.isolated)
        ground = found.ground = lay_out(trial, isolated=network.isolated, port=port, folder=self.partial.path)
        self.agents = Agents(ground.slices, self.partial.path, engine.program(found.planned["engine"]))
        self.witnesses.use_cpus(ground.client_cpus)
        self._refuse_what_cannot_be_lost(network.isolated, ground.slices)
        found.files = self._files()
        server = found.server = self._start_server(found.files, ground)
        self._announce("the server")
        server.process.wait_until_ready(
            trial.server.ready, ground.target, ground.server_port, trial.load.path, http2=trial.load.http2
        )
        found.server = server.looked_at()
        found.shown = Shown.of(server.process, trial.server.allocator, found.planned["server"]["version"])
        self._require_allocator(found.shown.allocator)
        found.listener_options = self._set_listener_options(server)
        if trial.front.asked:
            front = found.front = self._start_front(ground)
            self._announce(trial.front.name)
            front.process.wait_until_ready(trial.server.ready, ground.target, ground.port, trial.load.path)
            found.front = front.looked_at()
        self.agents.start(files=trial.faults.client_nofile)
        found.agent_pids = self.agents.pids
        self._write_manifest()
        self.agents.wait_until_ready()
        self._start_probes(ground)
        found.counting = self._open_ledger(network.isolated, ground)
        self._lose_packets(ground)

    def _write_manifest(self) -> None:
        self.partial.write_manifest(self.found.manifest())

    def _announce(self, whom: str) -> None:
        """A process was started: whoever finds this run later finds it too."""
        self._write_manifest()
        _say(phase=f"waiting for {whom}")

    # ---- phases ---------------------------------------------------------------------------------------------

    def _start_tracing(self, isolated: bool) -> int | None:
        """Before all else, as the server's listener is seen to begin; the port that is then the server's."""
        if not self.trial.trace:
            return None
        if not isolated:
            raise MachineError(
                "--trace was asked for; there is no private namespace, and the host's traffic would be traced too",
                "run it as root; see `stormlab doctor`",
            )
        return self.witnesses.start_tracing()

    def _refuse_what_cannot_be_lost(self, isolated: bool, slices: Sequence[Slice]) -> None:
        """Before anything is started."""
        faults = self.trial.faults
        held = None if faults.hold_ms is None else HeldConnection.impossible(slices, isolated)
        lost = None if faults.syn_loss is None else nft.impossible(isolated)
        for option, why_not in (("--hold-ms", held), ("--syn-loss", lost)):
            if why_not is not None:
                raise MachineError(f"{option} was asked for; {why_not}", "see `stormlab doctor`")

    def _files(self) -> tuple[int, int]:
        """The (soft, hard) limit of open files of the server."""
        planned = self.trial.server
        soft, hard = host.files_limit()
        files = (soft, hard) if planned.nofile is None else (planned.nofile, planned.nofile_hard or planned.nofile)
        if files[1] > hard:
            raise MachineError(
                f"{files[1]} open files were asked for (--nofile, --nofile-hard); the hard limit here is {hard}",
                f"use {hard} or less",
            )
        return files

    def _start_server(self, files: tuple[int, int], ground: Ground) -> Running[RunningServer]:
        about = self.found.planned["server"]
        entry = Entry(name=about["name"], title=about["title"], command=about["command"])
        command = argv(entry, self.trial.server, ground.target, ground.server_port, http2=self.trial.load.http2)
        environment = allocators.preloading(about["preloaded"]) if about["preloaded"] else {}
        log = self.partial.path / SERVER_LOG
        process = RunningServer(command, log, self.folder, ground.server_cpus, files, environment)
        return Running(process, ground.server_port)

    def _require_allocator(self, found: Allocator) -> None:
        """Before the storm: a run whose server has not what was asked for would say something of another."""
        asked = self.trial.server.allocator
        # Of a server of the user's, `system` asks for nothing: it has what it comes with.
        if found.allocator != asked and (asked != "system" or self.found.planned["server"]["is_the_labs"]):
            raise ServerError(
                f"the allocator asked for is {asked}; the running server shows {found.allocator}: {found.evidence}",
                "unset LD_PRELOAD" if asked == "system" else "what is linked statically must be built with it",
            )

    def _set_listener_options(self, server: Running[RunningServer]) -> Mapping[str, int] | None:
        """What no server's command line asks for, as it was read back; None where nothing is asked for."""
        planned = self.trial.server
        asked = {"TCP_FASTOPEN": planned.fast_open_queue, "TCP_DEFER_ACCEPT": planned.defer_accept_s}
        options = {name: value for name, value in asked.items() if value is not None}
        return server.process.set_listener_options(server.port, options) if options else None

    def _start_front(self, ground: Ground) -> Running[RunningFront]:
        """On the server's CPUs; from here on the storm's port is that of the load balancer."""
        hops = Hops(ground.target, ground.port, ground.server_port, f"stormlab-{self.partial.run_id}")
        cpus, files = ground.server_cpus, host.files_limit()
        return Running(RunningFront(self.trial.front, hops, self.partial.path, cpus, files), ground.port)

    def _start_probes(self, ground: Ground) -> None:
        """Where there is a listener to watch; on the clients' CPUs. The samples are of the one that the storm meets."""
        if not self.trial.probe:
            return
        *behind, met = self.found.running
        for one, samples in ((met, PROBE_SAMPLES), *((other, PROBE_SERVER_SAMPLES) for other in behind)):
            if one.process.listeners(one.port):
                group, cpus = one.process.group, ground.client_cpus
                self.witnesses.start_probe(one.port, ground.target, group, cpus, samples=samples)

    def _open_ledger(self, isolated: bool, ground: Ground) -> Counting:
        why_not = Ledger.impossible(ground.slices, isolated) if self.trial.ledger else "it was not asked for"
        if why_not is None:
            _say(phase="preparing to count packets")
            self.witnesses.open_ledger(ground.port, ground.slices)
        return Counting(why_not)

    def _lose_packets(self, ground: Ground) -> None:
        share = self.trial.faults.syn_loss
        if share is not None:
            loss = PathLoss(ground.port, share, ground.slices)
            loss.open()
            self.path_loss = loss

    def _storm(self) -> None:
        found, faults = self.found, self.trial.faults
        assert found.server is not None and found.ground is not None
        server, front = found.server.process, None if found.front is None else found.front.process
        if front is not None:
            front.begin_counting()
        before, used_before = counters.read_counters(), [one.process.usage() for one in found.running]
        if faults.stall_ms is not None and faults.stall_at_s is None:
            server.stall()
        if faults.stall_loop_ms is not None:
            server.block_loop()
        start_ns = found.start_ns = time.monotonic_ns() + int(START_IN_S * 1e9)
        disturbances = self._disturbances(start_ns, server, found.ground)
        self.begun = True
        self._write_manifest()
        try:
            self.agents.begin(start_ns)
            self._watch(start_ns, disturbances)
        finally:
            counted = counters.deltas(before, counters.read_counters())
            found.server = found.server.after_storm(used_before[0], start_ns)
            if found.front is not None:
                found.front = found.front.after_storm(used_before[1], start_ns)
            disturbed = {key: value for one in disturbances for key, value in one.noted.items()}
            found.stormed = Stormed(counted, None if front is None else front.counted(), disturbed)
        for one in found.running:
            if one.used is not None:
                self._require_alive(one.process, one.used.ended, "during")

    def _require_alive(self, process: RunningServer, ended: str | None, when: str) -> None:
        if ended is not None:
            raise ServerError(
                f"{process.called} ended {when} the storm: {ended}{process.last_words()}",
                f"its output is in {self.partial.run_id}/{process.log_name}",
            )

    def _settle(self) -> None:
        """Watch the server for a while longer, with nothing to do but give memory back."""
        if not self.trial.settle_s:
            return
        assert self.found.server is not None
        server = self.found.server.process
        _say(phase=f"watching the server for {self.trial.settle_s:g} s more")
        until = time.monotonic() + self.trial.settle_s
        while (left_s := until - time.monotonic()) > 0 and server.exit_status is None:
            time.sleep(min(left_s, 0.1))
        self.found.settled = Settled(server.usage().rss_bytes, server.exit_status)
        self._require_alive(server, self.found.settled.ended, "after")

    def _disturbances(self, start_ns: int, server: RunningServer, ground: Ground) -> list[Disturbance]:
        load, faults = self.trial.load, self.trial.faults
        found: list[Disturbance] = []
        if faults.stall_ms is not None and faults.stall_at_s is not None:
            stop, resume = server.stall, server.resume
            found.append(Outage(stop, resume, start_ns, faults.stall_ms, "stalled_us", at_s=faults.stall_at_s))
        elif faults.stall_ms is not None:
            wait_for = load.places if load.is_burst else 0
            found.append(Stall(server.resume, start_ns, faults.stall_ms, wait_for))
        if faults.hold_ms is not None and faults.hold_at_s is not None:
            one = HeldConnection(ground.port, ground.slices[0])
            about = {"held_connection": list(one.pair)}
            found.append(
                Outage(one.hold, one.let_go, start_ns, faults.hold_ms, "held_us", at_s=faults.hold_at_s, about=about)
            )
        if faults.stall_loop_ms is not None:
            noted_as = "loop_stalled_until_us"
            found.append(Stall(server.release_loop, start_ns, faults.stall_loop_ms, noted_as=noted_as))
        if faults.client_pause_ms is not None:
            stop, resume, half = self.agents.pause, self.agents.resume, load.places // 2
            found.append(Outage(stop, resume, start_ns, faults.client_pause_ms, "clients_paused_us", wait_for=half))
        return found

    def _watch(self, start_ns: int, disturbances: Sequence[Disturbance]) -> None:
        """Follow the storm to its end, and disturb it when that is due."""
        next_report_ns = start_ns
        try:
            while self.agents.running:
                now_ns = time.monotonic_ns()
                left = [disturbance for disturbance in disturbances if not disturbance.over]
                for disturbance in left:
                    disturbance.step(now_ns, self.agents.attempted)
                for one in self.found.running:
                    _ = one.process.exit_status  # when it ends is noted as it is seen
                if now_ns >= next_report_ns:
                    next_report_ns = now_ns + int(REPORT_EVERY_S * 1e9)
                    elapsed_s = (now_ns - start_ns) / 1e9
                    _say(elapsed_s=elapsed_s, planned=self.trial.load.planned, **self.agents.progress())
                if now_ns - start_ns > (2 * MAX_SECONDS) * 1e9:
                    raise MachineError(
                        f"the storm was not over after {2 * MAX_SECONDS:g} s and was ended", "plan fewer requests"
                    )
                time.sleep(0.001 if left else 0.02)
            if any(not disturbance.over for disturbance in disturbances):
                time.sleep(LAST_LOOK_S)
        finally:
            for disturbance in disturbances:
                disturbance.end()
        self.agents.check_exits()

    # ---- the end --------------------------------------------------------------------------------------------

    def _end_everything(self) -> None:
        self.agents.ask_to_stop()
        if self.begun:
            self.agents.wait_until_stopped()
        self.found.witnesses = self.witnesses.end()
        for one in reversed(self.found.running):
            one.process.end()
        self.agents.end()
        if self.witnesses.has_ledger and self.begun:
            _say(phase="reading the packet counts")
            try:
                self.witnesses.write_ledger_into(self.agents.rows)
            except MachineError as error:  # the rows are there without it
                self.found.counting = Counting(error.message)
        if self.path_loss is not None and self.begun:
            with contextlib.suppress(MachineError):
                self.path_loss.write_into(self.partial.path)
        children.end_descendants(spared=self.witnesses.survivors)


def _say(**fields: Any) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(fields), flush=True)


def main() -> int:
    """The exit status, also of the guard, which is the process that the caller started."""
    folder, cwd, caller = sys.argv[1:]
    children.die_with_parent(signal.SIGTERM)
    is_orphan = os.getppid() != int(caller)
    return guarded(lambda: supervise(Partial(Path(folder)), Path(cwd), given_up=is_orphan))


def supervise(partial: Partial, cwd: Path, *, given_up: bool) -> int:
    os.environ[children.RUN] = partial.run_id
    children.adopt_orphans()
    children.interrupt_once()
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, children.STOPPING)  # blocked by the caller until here
        if given_up:
            raise Interrupted
        run = Supervisor(partial, cwd).run()
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
