"""One attack, in a private network with a private /etc/hosts: ``python -m harness.trial.foreign.chamber``.

A job in, what was seen out, both JSON. The tool's results stay in the job's folder. Whatever happens, what was started
is ended.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from harness.errors import MachineError
from harness.events.samples import LO_RX_DROPPED
from harness.machine import children, counters, host, namespace
from harness.machine.chamber import answer
from harness.machine.listeners import ListenersWatch
from harness.machine.nft import Nft, nft_path
from harness.machine.ports import PRIVATE_PORT
from harness.plan import MAX_SECONDS
from harness.plan.attack import Attack
from harness.servers import catalogue
from harness.servers.audit.asking import has_ipv6
from harness.servers.process import RunningServer
from harness.trial.foreign import tools

HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
"""The two lines that most systems have; this machine's own file is left alone."""
RESULTS, OUTPUT, TYPED, SERVER_LOG = "results.bin", "output", "typed", "server.log"
MARGIN_S = 120.0
"""What a tool may take beyond the seconds of its attack: to wait for its last answers, or where it counts requests."""
LOOKS_EVERY_S = 0.002
COUNTERS = (
    "ActiveOpens",
    "PassiveOpens",
    "AttemptFails",
    "EstabResets",
    "OutRsts",
    "ListenOverflows",
    "ListenDrops",
    "TCPSynRetrans",
    "TCPTimeouts",
    "SyncookiesSent",
    "TCPReqQFullDrop",
    LO_RX_DROPPED,
)
"""Those of the namespace that are kept, where they moved."""
_SYNS = """\
table inet attack {{
 counter syns_ipv4 {{ }}
 counter syns_ipv6 {{ }}
 chain leaving {{
  type filter hook output priority 0; policy accept;
  tcp dport {port} tcp flags & (syn | ack) == syn meta nfproto ipv4 counter name syns_ipv4
  tcp dport {port} tcp flags & (syn | ack) == syn meta nfproto ipv6 counter name syns_ipv6
 }}
}}
"""


class Chamber:
    """The phases of an attack, in the order of :meth:`run`."""

    def __init__(self, attack: Attack, folder: Path) -> None:
        self.attack, self.folder = attack, folder
        self.tool = tools.find(attack.tool)
        self.url = f"http://{attack.target}:{PRIVATE_PORT}/"
        self.server: RunningServer | None = None
        self.backlog: int | None = None
        self.addresses: tuple[str, ...] = ()
        self.deepest = self.looks = 0

    def run(self) -> dict[str, Any]:
        """What was seen from outside of server and tool, as the record has it; None is what could not be.

        ``ipv6``: whether loopback had such an address; ``deepest_queue``: most connections seen in the accept queue in
        so many ``looks``; ``syns``: SYN packets that left for the server's port, by address family, None without
        nftables; ``counters``: those of :data:`COUNTERS` that moved.

        Raises:
            MachineError, ServerError.
        """
        try:
            ipv6 = self._isolate()
            if self.attack.late_s is None:
                self._start_server()
            counting = self._count_syns()
            before, begun = counters.read_counters(), time.monotonic()
            tool_ended = self._attack()
            wall_s, after = time.monotonic() - begun, counters.read_counters()
            moved = counters.deltas(before, after)
            return {
                "ipv6": ipv6,
                "backlog": self.backlog,
                "addresses": self.addresses,
                "deepest_queue": self.deepest,
                "looks": self.looks,
                "syns": None if counting is None else counting.counters("attack"),
                "counters": {name: moved[name] for name in COUNTERS if moved.get(name)},
                "announced": "" if self.server is None else self.server.announced_version(),
                "server_ended": None if self.server is None else self.server.exit_status,
                "tool_ended": tool_ended,
                "wall_s": wall_s,
            }
        finally:
            if self.server is not None:
                self.server.end()
            children.end_descendants()

    def _isolate(self) -> bool:
        isolation = namespace.enter()
        if not isolation.isolated:
            raise MachineError(isolation.reason, "allow user namespaces or run as root; see `stormlab doctor`")
        hosts = self.folder / "hosts"
        hosts.write_text(HOSTS)
        hosts.chmod(0o644)
        namespace.use_hosts(hosts)
        return has_ipv6()

    def _count_syns(self) -> Nft | None:
        if nft_path() is None:
            return None
        counting = Nft("counting the SYNs of an attack", "see `stormlab doctor`")
        counting.load(_SYNS.format(port=PRIVATE_PORT))
        return counting

    def _start_server(self) -> None:
        planned = self.attack.server
        command = catalogue.argv(catalogue.find(planned), planned, self.attack.listen, PRIVATE_PORT)
        limits = host.files_limit() if planned.nofile is None else (planned.nofile, planned.nofile)
        self.server = RunningServer(command, self.folder / SERVER_LOG, self.folder, host.usable_cpus(), limits)
        if self.attack.late_s is None:
            self.server.wait_until_ready("answered", "127.0.0.1", PRIVATE_PORT, "/")

    def _attack(self) -> str:
        """Let the tool run to its end, and watch; how it ended. Raises: MachineError: it did not, in its time."""
        command = self.tool.command(self.attack.typed_options, self.url, self.folder / RESULTS)
        limit = self.attack.tool_nofile
        files = host.files_limit() if limit is None else (limit, limit)
        typed = self.folder / TYPED
        typed.write_text(self.tool.stdin(self.url))
        with typed.open() as stdin, (self.folder / OUTPUT).open("w") as output:
            prepared = children.prepare(host.usable_cpus(), files)
            tool = children.start(
                command, stdin=stdin, stdout=output, stderr=subprocess.STDOUT, cwd=self.folder, prepared=prepared
            )
        begun, limit_s = time.monotonic(), self.attack.seconds + MARGIN_S
        while tool.poll() is None:
            gone_s = time.monotonic() - begun
            if self.server is None and self.attack.late_s is not None and gone_s >= self.attack.late_s:
                self._start_server()
            if gone_s > limit_s:
                children.end(tool)
                raise MachineError(
                    f"{self.attack.tool} was given {self.attack.seconds} s and {MARGIN_S:g} more; it had not ended",
                    f"give it more with `seconds` (up to {MAX_SECONDS:g}), or fewer requests",
                )
            self._look()
            time.sleep(LOOKS_EVERY_S)
        return f"exit status {tool.returncode}"

    def _look(self) -> None:
        """At the accept queue; the listener is looked for until there is one."""
        if self.server is None:
            return
        if not self.addresses:
            found = self.server.listeners(PRIVATE_PORT)
            self.addresses = tuple(sorted({one.address for one in found}))
            if not found:
                return
            self.backlog = found[0].backlog
            self._watch = ListenersWatch(PRIVATE_PORT, found[0].address)
        if (seen := self._watch.read()) is not None:
            self.looks += 1
            self.deepest = max(self.deepest, seen[0])


def observe(document: dict[str, Any]) -> dict[str, Any]:
    os.environ["HOME"] = document["folder"]
    return Chamber(Attack.from_json(document["attack"]), Path(document["folder"])).run()


if __name__ == "__main__":
    answer(observe)
