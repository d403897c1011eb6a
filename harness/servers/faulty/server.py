"""A server that fails on purpose, and says so: ``server.py --port N --do FAULT``. Standard library only.

Every connection that it accepts is a line of its output, ``accepted NANOSECONDS ADDRESS PORT``, and what it then did
another, ``did …``: the truth against which ``stormlab calibrate`` holds the lab's own conclusions.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
import struct
import sys
import time

import firewall  # type: ignore[import-not-found]  # beside this file

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
SAYS = {
    "garbage": b"\x16\x03\x01 this is no HTTP \xff\xfe\r\n\r\n",
    "error": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "half": ANSWER[:20],
    "wrong-length": ANSWER.replace(b"Length: 2", b"Length: 99"),
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "until-close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
    "coded-until-close": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nConnection: close\r\n\r\nok",
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER,
    "early-hints": b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" + ANSWER,
    "surplus": ANSWER + b"x",
    "two-answers": ANSWER + ANSWER.replace(b"200 OK", b"500 No"),
    "error-then-answer": ANSWER.replace(b"200 OK", b"500 No") + ANSWER,
    "length-twice": ANSWER.replace(b"Content-Length: 2\r\n", b"Content-Length: 2\r\ncontent-length: 2\r\n"),
    "two-lengths": ANSWER.replace(b"Content-Length: 2\r\n", b"Content-Length: 2\r\nContent-Length: 3\r\n"),
}
"""What these say before they close."""
FAULTS = ("nothing-wrong", "never", "delay", "close", "reset", "endless", "leave", "slow-accept", *SAYS)
ENDLESS_LINE, ENDLESS_EVERY_S = b"X-Endless: and on it goes\r\n", 0.1


class Faulty:
    """One way of failing, for all connections alike."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.accepted = 0
        self.has_left = False
        self.server: asyncio.Server | None = None

    async def serve(self) -> None:
        family = socket.AF_INET6 if ":" in self.options.host else socket.AF_INET
        listener = socket.create_server(
            (self.options.host, self.options.port), family=family, backlog=self.options.backlog
        )
        self.server = await asyncio.start_server(self.converse, sock=listener, backlog=self.options.backlog)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)  # type: ignore[union-attr]
        if self.options.stall_every_ms:
            await self.stall_now_and_then()
        await asyncio.get_running_loop().create_future()

    async def stall_now_and_then(self) -> None:
        """Do nothing at all for a while, again and again."""
        while True:
            await asyncio.sleep((self.options.stall_every_ms - self.options.stall_for_ms) / 1000)
            log("stalls", time.monotonic_ns())
            time.sleep(self.options.stall_for_ms / 1000)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address, port = writer.get_extra_info("peername")[:2]
        log("accepted", time.monotonic_ns(), address, port)
        self.accepted += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self.misbehave(reader, writer)
            log("did", time.monotonic_ns(), address, port)
        writer.close()

    async def misbehave(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self.options.do
        if fault == "reset":
            # Lingering for no time at all makes close() a reset (socket(7), SO_LINGER).
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        await reader.readuntil(b"\r\n\r\n")
        if fault == "never":
            await asyncio.sleep(3600)
        if fault == "endless":
            writer.write(b"HTTP/1.1 200 OK\r\n")
            while not writer.is_closing():
                writer.write(ENDLESS_LINE)
                await writer.drain()
                await asyncio.sleep(ENDLESS_EVERY_S)
        if fault == "delay":
            await asyncio.sleep(self.options.delay_ms / 1000)
        if fault == "leave" and self.accepted >= self.options.leave_after and not self.has_left:
            self.leave()
        if fault != "close":
            writer.write(SAYS.get(fault, ANSWER))
            await writer.drain()

    def leave(self) -> None:
        """Let connections pile up in the queue, then close the listening socket, which resets them."""
        self.has_left = True
        time.sleep(self.options.stall_for_ms / 1000)
        assert self.server is not None
        self.server.close()
        log("left", time.monotonic_ns())


def accept_slowly(options: argparse.Namespace) -> None:
    """Accept one connection every ``--delay-ms`` and never answer; its lines date accept() itself."""
    listener = socket.create_server((options.host, options.port), backlog=options.backlog)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
    kept = []
    while True:
        connection, (address, port) = listener.accept()
        log("accepted", time.monotonic_ns(), address, port)
        kept.append(connection)
        time.sleep(options.delay_ms / 1000)


def log(*words: object) -> None:
    print(*words)  # buffered: writing a line at a time would be a fault of its own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--backlog", type=int, default=4096)
    parser.add_argument("--do", choices=FAULTS, default="nothing-wrong")
    parser.add_argument("--delay-ms", type=float, default=0)
    parser.add_argument("--leave-after", type=int, default=0)
    parser.add_argument("--stall-every-ms", type=float, default=0)
    parser.add_argument("--stall-for-ms", type=float, default=0)
    sys.stdout.reconfigure(write_through=False, line_buffering=False)  # type: ignore[union-attr]
    parser.add_argument("--lose", choices=firewall.WHAT, help="packets that a firewall before it loses")
    parser.add_argument("--lose-share", type=float, default=0.3)
    parser.add_argument("--lose-at", choices=firewall.WHERE, default="input")
    options = parser.parse_args()
    if options.do == "slow-accept":
        accept_slowly(options)
    before = None
    if options.lose:
        before = firewall.Firewall(options.port, options.lose, options.lose_share, options.lose_at)
        before.begin()
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(Faulty(options).serve())
    for address, port in before.lost() if before is not None else ():
        log("lost", 1, address, port)


if __name__ == "__main__":
    main()
