"""The ledger: for each connection, how many SYNs left, how many reached TCP, how many SYN-ACKs were sent, and how many
copies of its request reached TCP.

nftables counts packets in the trial's own namespace, in sets that are filled with the assigned (address, port) pairs
beforehand. What left and did not arrive was lost in this host's input queue or by a firewall; what arrived and was not
answered was dropped by the listener; a request that arrived and was sent again was ignored. No root is needed inside a
namespace of one's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from harness.events.rows import LEDGER_COLUMNS, NOT_READ, Rows
from harness.machine import nft
from harness.plan.slices import Pair, Slice

MOST_PAIRS = 500_000
"""Each takes some 300 bytes of kernel memory and 40 µs of preparation."""
RECONNECTIONS = 8
"""A client with keep-alive may make as many as it has requests; preparing for all of them would take seconds."""
LAST = 2**31 - 1
"""The priority of the last that sees a packet: whatever else may drop it has let it pass."""


class Ledger:
    """Counts for the pairs of ``slices``, towards ``port``; to be used inside the trial's private namespace."""

    def __init__(self, port: int, slices: Iterable[Slice]) -> None:
        self._port = port
        self._slices = list(slices)
        self._nft = nft.Nft("the ledger", "use --no-ledger")
        # A request is one segment; with Fast Open it may be within the SYN.
        has_requests = all(slice_.carries_one and not slice_.fast_open for slice_ in self._slices)
        self._columns = LEDGER_COLUMNS if has_requests else LEDGER_COLUMNS[:-1]

    @staticmethod
    def impossible(slices: list[Slice], isolated: bool) -> str | None:
        """Why there can be no ledger of this trial, or None."""
        if (why_not := nft.impossible(isolated)) is not None:
            return why_not
        if any(slice_.source is None for slice_ in slices):
            return "the source ports are the kernel's choice, so no pair is known beforehand"
        if sum(_counted(slice_) for slice_ in slices) > MOST_PAIRS:
            return f"more than {MOST_PAIRS} connections are possible"
        return None

    def open(self) -> None:
        """Make the sets and begin to count.

        Raises:
            MachineError: nftables refused.
        """
        known = [pair for _, _, pair in pairs(self._slices)]
        self._nft.load(self._script(len(known)))
        for name in self._columns:
            self._nft.fill("storm", name, known)

    def write_into(self, agents: Sequence[Rows]) -> None:
        """Read the counts into the rows of the agents, in the order of the slices."""
        for name in LEDGER_COLUMNS:
            counted = name in self._columns
            for slice_, rows in zip(self._slices, agents, strict=True):
                column = rows.connection[name]
                for row in range(_counted(slice_) if counted else 0, slice_.connection_rows):
                    column[row] = NOT_READ
            counts = self._nft.counts("storm", name) if counted else {}
            for number, row, pair in pairs(self._slices) if counted else ():
                agents[number].connection[name][row] = min(counts.get(pair, 0), NOT_READ - 1)
        for rows in agents:
            rows.header["ledger"][0] = 1

    def _script(self, size: int) -> str:
        family = nft.family(self._slices[0].target)
        syn, synack = "tcp flags & (syn | ack) == syn", "tcp flags & (syn | ack) == (syn | ack)"
        client, answered = f"{family} saddr . tcp sport", f"{family} daddr . tcp dport"
        sets = "".join(nft.counting_set(name, size, family) for name in self._columns)
        # Nearly all packets are let go by the first rule, which is what makes counting cheap.
        arriving, request = "syn", ""
        if "requests_arrived" in self._columns:
            # What ends what was asked is pushed (tcp_push).
            arriving, request = (
                "(syn | psh)",
                f"tcp dport {self._port} tcp flags & psh == psh {client} @requests_arrived\n",
            )
        return (
            "table inet storm {\n"
            f"{sets}"
            f"chain leave {{ type filter hook postrouting priority {LAST}; policy accept;\n"
            "tcp flags & syn == 0 accept\n"
            f"tcp dport {self._port} {syn} {client} @syns_left\n"
            f"tcp sport {self._port} {synack} {answered} @synacks_sent\n}}\n"
            f"chain arrive {{ type filter hook input priority {LAST}; policy accept;\n"
            f"tcp flags & {arriving} == 0 accept\n"
            f"{request}"
            f"tcp dport {self._port} {syn} {client} @syns_arrived\n}}\n"
            "}\n"
        )


def pairs(slices: Iterable[Slice]) -> Iterator[tuple[int, int, Pair]]:
    """(number of the slice, row, pair) of every connection that is counted."""
    for number, slice_ in enumerate(slices):
        assert slice_.source is not None
        for row in range(_counted(slice_)):
            index, port = slice_.pair(row)
            yield number, row, (slice_.source.addresses[index], port)


def _counted(slice_: Slice) -> int:
    """How many of a slice's connections are counted: all, but of kept ones only the first few of each client."""
    return min(slice_.connection_rows, RECONNECTIONS * slice_.places)
