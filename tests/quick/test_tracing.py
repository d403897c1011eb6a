"""From the kernel's pages to events, on pages made by hand."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.errors import MachineError
from harness.witness.tracing import tracepoints
from harness.witness.tracing.decode import Decoder, Event
from harness.witness.tracing.pages import BLOCK, Head, Pages, Record
from harness.witness.tracing.table import trace_table
from harness.witness.tracing.tracefs import Format, parse_format
from harness.witness.tracing.tracepoints import DROP, RESET, RETRANSMIT, SET_STATE, SYNACK, filters

PORT = 10_007
_COMMON = """\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;
"""
_STATES = '__print_symbolic(REC->state, { 1, "TCP_ESTABLISHED" }, { 2, "TCP_SYN_SENT" })'
_LAYOUTS = {
    SET_STATE: "skaddr:8 oldstate:4 newstate:4 sport:2 dport:2 family:2 saddr:4 daddr:4 saddr_v6:16 daddr_v6:16",
    RETRANSMIT: "skbaddr:8 skaddr:8 state:4 sport:2 dport:2 family:2 saddr:4 daddr:4 saddr_v6:16 daddr_v6:16 err:4",
    SYNACK: "skaddr:8 req:8 sport:2 dport:2 family:2 saddr:4 daddr:4 saddr_v6:16 daddr_v6:16",
    RESET: "skbaddr:8 skaddr:8 state:4 reason:4 saddr:28 daddr:28",
    DROP: "skbaddr:8 location:8 rx_sk:8 protocol:2 reason:4",
}
_WORDS = {
    RESET: '__print_symbolic(REC->reason, { 1, "NO_SOCKET" }, { 11, "TCP_ABORT_ON_CLOSE" })',
    DROP: '__print_symbolic(REC->reason, { 3, "NO_SOCKET" }, { 40, "TCP_LISTEN_OVERFLOW" }, { 71, "CPU_BACKLOG" })',
}


def layouts() -> dict[str, Format]:
    made = {}
    for number, (name, fields) in enumerate(_LAYOUTS.items(), start=300):
        at, text = 8, f"name: {name}\nID: {number}\nformat:\n{_COMMON}\n"
        for field, size in (pair.split(":") for pair in fields.split()):
            text += f"\tfield:__u8 {field};\toffset:{at};\tsize:{size};\tsigned:0;\n"
            at += int(size)
        made[name] = parse_format(f'{text}\nprint fmt: "…", {_WORDS.get(name, _STATES)}')
    return made


LAYOUTS = layouts()
HEAD = Head(PORT, LAYOUTS, {"timestamp": (0, 8), "commit": (8, 8), "overwrite": (8, 1), "data": (16, 4080)})


def event(name: str, **values: Any) -> bytes:
    """The bytes of an event as they lie in a page."""
    layout = LAYOUTS[name]
    data = bytearray(max(offset + size for offset, size in layout.fields.values()))
    for field, value in {"common_type": layout.number, **values}.items():
        offset, size = layout.fields[field]
        data[offset : offset + size] = value if isinstance(value, bytes) else value.to_bytes(size, sys.byteorder)
    return bytes(data) + bytes(-len(data) % 4)


def v4(text: str) -> bytes:
    return bytes(int(part) for part in text.split("."))


def mapped(text: str) -> bytes:
    return bytes(10) + b"\xff\xff" + v4(text)


def pair(by_server: bool, client: str = "127.1.0.1", port: int = 5, family: int = 2) -> dict[str, Any]:
    ends = [(v4("127.0.0.1"), mapped("127.0.0.1"), PORT), (v4(client), mapped(client), port)]
    (saddr, saddr_v6, sport), (daddr, daddr_v6, dport) = ends if by_server else ends[::-1]
    words = {"saddr": saddr, "daddr": daddr, "saddr_v6": saddr_v6, "daddr_v6": daddr_v6}
    return {**words, "sport": sport, "dport": dport, "family": family}


def decode(*entries: tuple[int, int, bytes]) -> tuple[list[Event], int]:
    """Of (ns, CPU, event)."""
    data, records = b"", []
    for time_ns, cpu, entry in entries:
        records.append(Record(time_ns, cpu, int.from_bytes(entry[:2], sys.byteorder), len(data)))
        data += entry
    decoded = Decoder(HEAD, data).decode(records)
    return decoded.events, decoded.unclaimed_drops


def entry(data: bytes, delta: int) -> bytes:
    """In a page, with its head: data of up to 112 bytes has its length, in words, there."""
    return struct.pack("=I", (delta << 5) | len(data) // 4) + data


def page(cpu: int, time_ns: int, data: bytes, flags: int = 0, behind: bytes = b"") -> bytes:
    whole = (struct.pack("=QQ", time_ns, len(data) | flags) + data + behind).ljust(4096, b"\0")
    return BLOCK.pack(cpu, len(whole)) + whole


def test_a_format_is_read_as_the_kernel_writes_it() -> None:
    text = (
        "name: kfree_skb\nID: 2310\nformat:\n"
        "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
        "\n\tfield:void * skbaddr;\toffset:8;\tsize:8;\tsigned:0;\n"
        "\tfield:__u8 saddr_v6[16];\toffset:16;\tsize:16;\tsigned:0;\n"
        "\tfield:enum skb_drop_reason reason;\toffset:36;\tsize:4;\tsigned:0;\n"
        '\nprint fmt: "reason: %s", __print_symbolic(REC->reason, { 2, "NOT_SPECIFIED" }, { 71, "CPU_BACKLOG" })\n'
    )
    assert parse_format(text) == Format(
        2310,
        {"common_type": (0, 2), "skbaddr": (8, 8), "saddr_v6": (16, 16), "reason": (36, 4)},
        {"reason": {2: "NOT_SPECIFIED", 71: "CPU_BACKLOG"}},
    )


def test_the_head_survives_its_line() -> None:
    assert Head.from_line(HEAD.to_line()) == HEAD


def test_times_are_steps_from_the_pages_own() -> None:
    one = event(SYNACK, **pair(True))
    extend = struct.pack("=II", (7 << 5) | 30, 1)  # 2^27 + 7 ns
    absolute = struct.pack("=II", (9 << 5) | 31, 3)
    discarded = struct.pack("=II", (1 << 5) | 29, 8) + bytes(4)
    long = struct.pack("=II", 4 << 5, 4 + len(one)) + one  # a word of its own has the length, its own included
    empty = struct.pack("=I", 29)
    data = entry(one, 5) + extend + entry(one, 1) + discarded + long + absolute + entry(one, 2) + empty
    pages = Pages(page(3, 1000, data), HEAD, 0)
    times = [(record.time_ns, record.cpu, record.number) for record in pages.records()]
    number = LAYOUTS[SYNACK].number
    extended = 1005 + (1 << 27) + 7 + 1
    assert times == [
        (1005, 3, number),
        (extended, 3, number),
        (extended + 4, 3, number),
        ((3 << 27) + 9 + 2, 3, number),
    ]
    assert pages.missed == 0


def test_what_was_overwritten_is_counted() -> None:
    data = entry(event(SYNACK, **pair(True)), 1)
    counted = page(0, 10, data, flags=3 << 30, behind=struct.pack("=Q", 42))
    pages = Pages(counted + page(1, 10, data, flags=1 << 31), HEAD, 0)
    assert len(list(pages.records())) == 2
    assert pages.missed == 43, "42, and at least one more"


def test_a_page_cut_short_is_left_out() -> None:
    whole = page(0, 10, entry(event(SYNACK, **pair(True)), 1))
    assert len(list(Pages(whole + whole[:-1], HEAD, 0).records())) == 1


def test_both_sides_belong_to_the_client() -> None:
    events, _ = decode(
        (1, 0, event(SET_STATE, oldstate=2, newstate=1, **pair(False))),
        (2, 0, event(SET_STATE, oldstate=10, newstate=3, **pair(True, family=10))),  # a dual-stack server
        (3, 1, event(SYNACK, **pair(True))),
        (4, 1, event(RETRANSMIT, state=2, err=1, **pair(False))),
    )
    assert events == [
        Event(1, "inet_sock_set_state", "client", "127.1.0.1", 5, "SYN_SENT>ESTABLISHED"),
        Event(2, "inet_sock_set_state", "server", "127.1.0.1", 5, "LISTEN>SYN_RECV"),
        Event(3, "tcp_retransmit_synack", "server", "127.1.0.1", 5, ""),
        Event(4, "tcp_retransmit_skb", "client", "127.1.0.1", 5, "SYN_SENT not sent"),
    ]


def test_a_port_that_the_kernel_has_yet_to_find_is_filled_in() -> None:
    first, second = (
        event(SET_STATE, skaddr=77, oldstate=7, newstate=2, **pair(False, port=0)),
        event(SET_STATE, skaddr=77, oldstate=2, newstate=1, **pair(False, port=40_000)),
    )
    events, _ = decode((1, 0, first), (2, 1, second))
    assert [found.port for found in events] == [40_000, 40_000]


def test_a_socket_whose_connect_failed_lends_its_memory_not_its_port() -> None:
    begins = event(SET_STATE, skaddr=77, oldstate=7, newstate=2, **pair(False, port=0))
    fails = event(SET_STATE, skaddr=77, oldstate=2, newstate=7, **pair(False, port=0))
    another = event(SET_STATE, skaddr=77, oldstate=7, newstate=2, **pair(False, port=40_000))
    events, _ = decode((1, 0, begins), (2, 0, fails), (3, 0, another))
    assert [found.port for found in events] == [0, 0, 40_000]


def test_a_drop_belongs_to_the_retransmission_that_follows_it_on_its_cpu() -> None:
    drop, again = event(DROP, reason=71, skbaddr=0x10E0), event(RETRANSMIT, state=2, skbaddr=0x1000, **pair(False))
    other = event(SYNACK, **pair(True, port=6))
    events, unclaimed = decode((1, 0, drop), (2, 1, other), (3, 0, again))
    assert events[0] == Event(1, "kfree_skb", "client", "127.1.0.1", 5, "CPU_BACKLOG SYN_SENT")
    assert (len(events), unclaimed) == (3, 0)


@pytest.mark.parametrize("where", [0x1000, 0x0FFF, 0x9000])
def test_a_drop_elsewhere_may_be_another_trials(where: int) -> None:
    drop, again = event(DROP, reason=71, skbaddr=where), event(RETRANSMIT, state=2, skbaddr=0x1000, **pair(False))
    events, unclaimed = decode((1, 0, drop), (2, 0, again))
    assert [found.event for found in events] == ["tcp_retransmit_skb"]
    assert unclaimed == 1
    assert decode((1, 0, drop))[1] == 1, "also the last of a trace"


def test_ignored_acks_are_those_of_the_trials_own_listener() -> None:
    begins = event(SET_STATE, skaddr=0xABC, oldstate=7, newstate=10, **pair(True, client="0.0.0.0", port=0))
    overflow, cookie = event(DROP, reason=40, rx_sk=0xABC), event(DROP, reason=3, rx_sk=0xABC)
    of_another = event(DROP, reason=40, rx_sk=0xDEF)
    events, unclaimed = decode((1, 0, begins), (2, 0, overflow), (3, 0, cookie), (4, 0, of_another))
    assert [(found.detail, found.port) for found in events] == [
        ("CLOSE>LISTEN", 0),
        ("TCP_LISTEN_OVERFLOW", 0),
        ("NO_SOCKET", 0),
    ]
    assert unclaimed == 1


def test_resets_of_other_ports_are_not_the_trials() -> None:
    def sockaddr(port: int, address: str) -> bytes:
        return struct.pack("=H", 2) + struct.pack(">H4s20x", port, v4(address))

    ours = event(RESET, reason=11, saddr=sockaddr(5, "127.1.0.1"), daddr=sockaddr(PORT, "127.0.0.1"))
    theirs = event(RESET, reason=11, saddr=sockaddr(5, "127.1.0.1"), daddr=sockaddr(8080, "127.0.0.1"))
    events, _ = decode((1, 0, ours), (2, 0, theirs))
    assert events == [Event(1, "tcp_send_reset", "client", "127.1.0.1", 5, "TCP_ABORT_ON_CLOSE")]


def test_filters_name_the_port_and_this_kernels_numbers() -> None:
    made = filters(PORT, LAYOUTS)
    assert f"sport == {PORT} || dport == {PORT}" in made[SET_STATE]
    assert made[DROP] == "reason == 71 || reason == 40 || (reason == 3 && rx_sk != 0)"


def test_a_kernel_without_a_tracepoint_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracepoints, "read_format", lambda name: None if name == DROP else LAYOUTS[name])
    with pytest.raises(MachineError, match="skb/kfree_skb"):
        tracepoints.formats()


def test_the_table_begins_with_the_run(tmp_path: Path) -> None:
    opened, closed = (
        event(SET_STATE, oldstate=7, newstate=2, **pair(False)),
        event(SET_STATE, oldstate=2, newstate=7, **pair(False)),
    )
    listens = event(SET_STATE, skaddr=1, oldstate=10, newstate=7, **pair(True, client="0.0.0.0", port=0))
    data = entry(opened, 0) + entry(closed, 5_000) + entry(listens, 1_000)
    path = tmp_path / "trace.pages"
    path.write_bytes(HEAD.to_line() + page(0, 1_000_000, data))
    table, found = trace_table(path, 1_003_000)
    assert found == {"events": 2, "missed": 0, "unclaimed_drops": 0}
    assert table.to_pylist() == [
        {
            "time_us": 2,
            "event": "inet_sock_set_state",
            "client_address": "127.1.0.1",
            "client_port": 5,
            "side": "client",
            "detail": "SYN_SENT>CLOSE",
        },
        {
            "time_us": 3,
            "event": "inet_sock_set_state",
            "client_address": None,
            "client_port": None,
            "side": "server",
            "detail": "LISTEN>CLOSE",
        },
    ]


def test_a_trace_that_never_began_is_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "trace.pages").write_bytes(b'{"po')
    table, found = trace_table(tmp_path / "trace.pages", 0)
    assert (len(table), found["events"]) == (0, 0)


def test_the_tracing_process_is_small() -> None:
    code = "import sys, harness.witness.tracing.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"numpy", "pyarrow", "argparse"}
