"""Storm Lab's Python server: asyncio streams, no HTTP library; only HTTP/2 takes one (frames.py)."""

from __future__ import annotations

import argparse
import asyncio
import functools
import ipaddress
import multiprocessing
import os
import platform
import re
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_INT = 2**31 - 1  # listen(2) takes a C int
SOMAXCONN = Path("/proc/sys/net/core/somaxconn")
CLOSE = re.compile(rb" HTTP/1\.0\r\n|\r\nconnection:[^\r]*\bclose\b", re.IGNORECASE)
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Options:
    """The command line; None stands for what asyncio does by itself."""

    host: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int
    backlog: int | None
    body_bytes: int
    work_us: int
    workers: int | None
    stamps: bool
    http: str


def number(least: int, most: int = MAX_INT) -> Callable[[str], int]:
    """Make an argparse type for an integer of least..most."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of {least}..{most}")
        return int(text)

    return parse


def number_or_default(least: int) -> Callable[[str], int | None]:
    """Make an argparse type for an integer from `least` on, or the word `default`."""
    parse = number(least)
    return lambda text: None if text == "default" else parse(text)


def parse_options() -> Options:
    """Read the command line; a mistake in it ends the process with status 2."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--host", type=ipaddress.ip_address, default="127.0.0.1", metavar="IP")
    add("--port", type=number(1, 65535), required=True)
    add("--backlog", type=number_or_default(0), metavar="N|default")
    add("--body-bytes", type=number(0), default=12, metavar="N")
    add("--work-us", type=number(0), default=0, metavar="N")
    add("--workers", type=number_or_default(1), metavar="N|default")
    add("--stamps", choices=("on", "off"), default="on")
    add("--http", choices=("1", "2"), default="1")
    given = parser.parse_args()
    given.stamps = given.stamps == "on"
    options = Options(**vars(given))
    if options.backlog == 0:
        parser.error("--backlog 0: asyncio accepts `backlog` connections a turn, so none; use 1 or more")
    return options


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers every request of every connection alike: the head, the connection's stamp, one of the two tails."""

    head: bytes
    keeping: bytes
    closing: bytes
    body_bytes: int
    work_ns: int
    stamps: bool

    @classmethod
    def of(cls, options: Options) -> Answers:
        """Write the two answers there are, but for the stamp: to a client that stays, to one that leaves."""
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {options.body_bytes}\r\n"
        body = b"x" * options.body_bytes
        return cls(
            head=head.encode(),
            keeping=b"\r\n" + body,
            closing=b"Connection: close\r\n\r\n" + body,
            body_bytes=options.body_bytes,
            work_ns=options.work_us * 1000,
            stamps=options.stamps,
        )

    def connection(self) -> asyncio.StreamReaderProtocol:
        """Make what asyncio.start_server would make for a new connection, stamped.

        asyncio calls this one turn of its loop after accept(), its callback for a new client two, converse() three.
        """
        stamp = b"X-Accept-Ns: %d\r\n" % time.monotonic_ns() if self.stamps else b""
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), functools.partial(self.converse, self.head + stamp))

    async def converse(self, begin: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests, one after the other."""
        try:
            closing = False
            while not closing:
                head = await reader.readuntil(b"\r\n\r\n")
                if sent := CONTENT_LENGTH.search(head):
                    await reader.readexactly(int(sent[1]))
                if self.work_ns:
                    end_ns = time.monotonic_ns() + self.work_ns
                    while time.monotonic_ns() < end_ns:
                        pass
                closing = CLOSE.search(head) is not None
                answer = begin + (self.closing if closing else self.keeping)
                if head.startswith(b"HEAD "):
                    answer = answer[: len(answer) - self.body_bytes]
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass  # The client left or gave up: its side of the storm counts it.
        finally:
            writer.close()


def accept_failures_once_a_second() -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """Make an exception handler that is asyncio's own, but for failed accepts.

    Before the fix of python/cpython#151615 asyncio repeats a failed accept() as often as the backlog is long,
    logs each time, and starts as many again a second later: 100 MB of log in the first minute.
    """
    silent_until_s = 0.0

    def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal silent_until_s
        if not context["message"].startswith("socket.accept()"):
            loop.default_exception_handler(context)
        elif loop.time() >= silent_until_s:
            silent_until_s = loop.time() + 1
            print(f"server.py: {context['message']}: {context['exception']}", file=sys.stderr, flush=True)

    return report


def leave(*_: object) -> None:
    """End this process and its forked workers, leaving unfinished what is unfinished.

    A handler of asyncio's would wait its turn behind the requests that are ready: seconds, in a storm.
    """
    workers = multiprocessing.active_children()
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join()
    os._exit(0)


async def serve(options: Options, listener: socket.socket | None, announcing: bool) -> None:
    """Serve until SIGTERM, on `listener` or, without one, on a socket of asyncio's own."""
    signal.signal(signal.SIGTERM, leave)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(accept_failures_once_a_second())

    connection: Callable[[], asyncio.BaseProtocol] = Answers.of(options).connection
    library = ""
    if options.http == "2":
        from frames import LIBRARY, FramedConnection  # type: ignore[import-not-found] # beside this script

        body, work_ns = b"x" * options.body_bytes, options.work_us * 1000
        connection = functools.partial(FramedConnection, body, work_ns, options.stamps)
        library = f", {LIBRARY}"
    backlog: dict[str, Any] = {}
    if options.backlog is not None:
        # The kernel cuts it to this too; asyncio, out of descriptors, would try to accept 2**31 times.
        backlog["backlog"] = min(options.backlog, int(SOMAXCONN.read_text()))
    if listener is not None:
        server = await loop.create_server(connection, sock=listener, **backlog)
    else:
        server = await loop.create_server(connection, str(options.host), options.port, **backlog)

    if announcing:
        host = f"[{options.host}]" if options.host.version == 6 else options.host
        print(f"ready {host}:{options.port} python {platform.python_version()}{library}", flush=True)
    await server.serve_forever()


def run(options: Options, listener: socket.socket | None, announcing: bool) -> None:
    """Serve with an event loop of this process's own."""
    asyncio.run(serve(options, listener, announcing))


def main() -> None:
    """Serve in this process, and in `workers - 1` forked ones on the same socket."""
    options = parse_options()
    listener = None
    try:
        if options.workers is not None and options.workers > 1:
            family = socket.AF_INET6 if options.host.version == 6 else socket.AF_INET
            listener = socket.create_server((str(options.host), options.port), family=family)
            process = multiprocessing.get_context("fork").Process
            for _ in range(options.workers - 1):
                process(target=run, args=(options, listener, False), daemon=True).start()
        run(options, listener, announcing=True)
    except OSError as error:
        sys.exit(f"server.py: cannot listen on {options.host} port {options.port}: {error}")


if __name__ == "__main__":
    main()
