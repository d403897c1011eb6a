"""Servers whose sockets or processes change while a storm goes on: ``sockets.py --port N --do CHANGE``.

They log as ``server.py`` does, a line each that is written at once: some of these processes are stopped, or end.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
CHANGES = ("late", "reopen", "shrink", "one-stops", "come-and-go")
PROCESSES = 4
SERVED_EACH = 40
"""After so many a worker ends and another takes its place."""
SMALLER_BACKLOG = 32


class Served:
    """Accepts and answers, one connection after the other."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.accepted = 0

    def listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.options.host else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((self.options.host, self.options.port))
        listener.listen(self.options.backlog)
        return listener

    def serve_one(self, listener: socket.socket) -> None:
        connection, peer = listener.accept()
        self.accepted += 1
        with connection:
            log("accepted", time.monotonic_ns(), *peer[:2])
            busy_until = time.thread_time_ns() + self.options.work_us * 1000
            while time.thread_time_ns() < busy_until:
                pass
            try:
                connection.recv(4096)
                connection.sendall(ANSWER)
            except OSError:
                return
            log("did", time.monotonic_ns(), *peer[:2])

    def serve(self, listener: socket.socket, until: int | None = None) -> None:
        while until is None or self.accepted < until:
            self.serve_one(listener)


def late(served: Served) -> None:
    """A second socket appears, and nobody accepts from it."""
    first = served.listen()
    served.serve(first, until=served.options.after)
    second = served.listen()
    log("changed", time.monotonic_ns())
    served.serve(first)
    second.close()


def reopen(served: Served) -> None:
    """Let connections pile up in the queue, close the socket, which resets them, and open it again."""
    listener = served.listen()
    served.serve(listener, until=served.options.after)
    time.sleep(served.options.pause_ms / 1000)
    listener.close()
    log("changed", time.monotonic_ns())
    served.serve(served.listen())


def shrink(served: Served) -> None:
    """Let connections pile up in the queue, and listen anew with a smaller backlog than they are."""
    listener = served.listen()
    served.serve(listener, until=served.options.after)
    time.sleep(served.options.pause_ms / 1000)
    listener.listen(SMALLER_BACKLOG)
    log("changed", time.monotonic_ns())
    served.serve(listener)


def one_stops(served: Served) -> None:
    """A socket and a process each; one of these is stopped by a signal and never goes on."""
    for _ in range(PROCESSES - 1):
        if os.fork() == 0:
            served.serve(served.listen())
    listener = served.listen()
    served.serve(listener, until=served.options.after)
    log("changed", time.monotonic_ns())
    os.kill(os.getpid(), signal.SIGSTOP)


def come_and_go(served: Served) -> None:
    """One socket, and workers that end after so many and are replaced."""
    listener = served.listen()
    while True:
        while os.fork():  # the parent; it waits for one to end before it starts the next, once all are there
            served.accepted += 1
            if served.accepted >= PROCESSES:
                os.wait()
        served.accepted = 0
        served.serve(listener, until=SERVED_EACH)
        os._exit(0)


def log(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--backlog", type=int, default=4096)
    parser.add_argument("--do", choices=CHANGES, required=True)
    parser.add_argument("--after", type=int, default=100, help="change when so many were accepted")
    parser.add_argument("--pause-ms", type=float, default=300)
    parser.add_argument("--work-us", type=int, default=0)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
    changes = {"late": late, "reopen": reopen, "shrink": shrink, "one-stops": one_stops, "come-and-go": come_and_go}
    changes[options.do](Served(options))


if __name__ == "__main__":
    main()
