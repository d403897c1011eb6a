"""The tracing process: ``python -m harness.witness.tracing OUTPUT``, for one trial.

It claims a port by making an instance of tracefs, says so on standard output, and copies the kernel's buffers into
OUTPUT until its standard input is closed, however the supervisor ended. Then it stops the tracing, copies the rest,
removes the instance and reports. It is deaf to the signals that end a run, as nothing but the removal may end it.

OUTPUT is a line of JSON (see :class:`pages.Head`) and then the buffers' pages as the kernel hands them
out, each behind the number of its CPU and its size. Nothing is decoded while the storm runs: a page costs one read and
one write, whatever it holds.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from harness.errors import MachineError, StormLabError
from harness.witness import tracing
from harness.witness.tracing.pages import BLOCK, Head
from harness.witness.tracing.tracefs import TRACEFS, Format, Instance, parse_fields, reach
from harness.witness.tracing.tracepoints import filters, formats

DEAF_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
BUFFERS_BYTES = 128 << 20
"""Of all CPUs together. 20,000 connections leave 10 MB, so a reader that gets no CPU for seconds loses nothing."""
LEAST_BUFFER_BYTES = 1 << 20
MOST_PAGE_BYTES = 1 << 16
READ_EVERY_S = 0.1
REMOVED_WITHIN_S = 5.0


def record(instance: Instance, output: Path) -> dict[str, Any]:
    """Copy everything that is traced until standard input ends; what was lost and what it cost."""
    layouts = formats()
    _set_up(instance, layouts)
    begun_s = time.monotonic()
    with output.open("wb") as file, _buffers(instance) as buffers:
        file.write(Head(instance.port, layouts, _page_header()).to_line())
        _say({"port": instance.port})
        while not select.select([sys.stdin], [], [], READ_EVERY_S)[0]:
            _copy(buffers, file)
        instance.write("tracing_on", "0")
        _copy(buffers, file)
        size = file.tell()
    stats = instance.stats()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "lost": sum(cpu.get(name, 0) for cpu in stats for name in ("overrun", "commit overrun", "dropped events")),
        "cpus": stats,
        "buffer_bytes": _buffer_bytes(),
        "pages_bytes": size,
        "cpu_s": used.ru_utime + used.ru_stime,
        "ran_s": time.monotonic() - begun_s,
    }


def _set_up(instance: Instance, layouts: Mapping[str, Format]) -> None:
    try:
        instance.write("trace_clock", "mono")  # CLOCK_MONOTONIC, as everywhere in the lab
        instance.write("buffer_size_kb", str(_buffer_bytes() // 1024))
        for name, text in filters(instance.port, layouts).items():
            instance.write(f"events/{name}/filter", text)
        for name in layouts:
            instance.write(f"events/{name}/enable", "1")
    except OSError as error:
        raise MachineError(
            f"--trace was asked for; the kernel refused to trace: {error.strerror}",
            "run it as root outside of containers, or without --trace",
        ) from error


def _buffer_bytes() -> int:
    """Of each CPU's."""
    return max(LEAST_BUFFER_BYTES, BUFFERS_BYTES // (os.cpu_count() or 1))


def _page_header() -> dict[str, tuple[int, int]]:
    """(offset, size) of the fields at the head of each page."""
    return parse_fields((TRACEFS / "events/header_page").read_text())


@contextlib.contextmanager
def _buffers(instance: Instance) -> Iterator[dict[int, int]]:
    """CPU → file descriptor of its buffer."""
    paths = instance.path.glob("per_cpu/cpu*/trace_pipe_raw")
    opened = {int(path.parent.name[3:]): os.open(path, os.O_RDONLY | os.O_NONBLOCK) for path in paths}
    try:
        yield opened
    finally:
        for descriptor in opened.values():
            os.close(descriptor)


def _copy(buffers: Mapping[int, int], file: BinaryIO) -> None:
    """Everything that is in the buffers now."""
    for cpu, descriptor in buffers.items():
        with contextlib.suppress(BlockingIOError):
            while page := os.read(descriptor, MOST_PAGE_BYTES):
                file.write(BLOCK.pack(cpu, len(page)))
                file.write(page)
    file.flush()


def _remove(instance: Instance) -> None:
    """A reader elsewhere may hold a file of the instance open for a moment."""
    deadline = time.monotonic() + REMOVED_WITHIN_S
    while True:
        try:
            return instance.remove()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _say(document: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # nobody may be there to hear it
        os.write(sys.stdout.fileno(), json.dumps(document).encode() + b"\n")


def main() -> int:
    for number in DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    output = Path(sys.argv[1])
    try:
        reach()
        instance = Instance.claim(tracing.PORTS, os.getpid())
        try:
            report = record(instance, output)
        finally:
            _remove(instance)
    except StormLabError as error:
        _say({"error": error.to_json()})
        return error.exit_code
    _say(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
