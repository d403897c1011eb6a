"""The pages of the kernel's ring buffer, as records: plain Python, and only after the storm.

A page is a time, the number of bytes that follow, and entries whose times are steps from the one before
(include/linux/ring_buffer.h, and ``events/header_page`` and ``events/header_event`` of tracefs).
"""

from __future__ import annotations

import heapq
import json
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, make_dataclass
from operator import attrgetter
from typing import Any, NamedTuple

from harness.witness.tracing.tracefs import Format

BLOCK = struct.Struct("=iI")
"""Before each page: number of the CPU, bytes of the page."""
PADDING, TIME_EXTEND, TIME_STAMP = 29, 30, 31
"""Values of an entry's type_len that are no data; up to 28 it is the data's length in words, 0 says a word follows."""
_DELTA_BITS = 27
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_WORD = struct.Struct("=I")
_LONG = struct.Struct("=Q")
_MISSED, _MISSED_STORED = 1 << 31, 1 << 30
"""Flags of ``commit``: events were overwritten before this page, and how many stands behind its data."""
_COMMIT_BITS = (1 << 30) - 1
_ABSOLUTE_BITS = (1 << 59) - 1
"""What an absolute time stamp can hold."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first line of the file of pages: what is needed to read the rest, anywhere and at any time."""

    port: int
    formats: dict[str, Format]
    page: dict[str, tuple[int, int]]
    """(offset, size) of ``timestamp``, ``commit`` and ``data``."""

    def to_line(self) -> bytes:
        formats = {name: layout.to_json() for name, layout in self.formats.items()}
        return json.dumps({"port": self.port, "formats": formats, "page": self.page}).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Head:
        document = json.loads(line)
        formats = {name: Format.from_json(layout) for name, layout in document["formats"].items()}
        page = {name: (offset, size) for name, (offset, size) in document["page"].items()}
        return cls(document["port"], formats, page)


class Record(NamedTuple):
    """An event: when (CLOCK_MONOTONIC, ns), on which CPU, and where its fields begin in the file."""

    time_ns: int
    cpu: int
    number: int
    """Of the event's format."""
    offset: int


class Pages:
    """The pages of a file behind its first line; a page cut short at the end is left out."""

    def __init__(self, data: bytes, head: Head, start: int) -> None:
        self._data = data
        self._head = head
        self._start = start
        self.missed = 0
        """Events that the kernel says were overwritten unread; known when all records have been read."""

    def records(self) -> Iterator[Record]:
        """All records in order of time; those of one CPU in the order in which they happened there."""
        of_cpus: dict[int, list[int]] = {}
        at = self._start
        while at + BLOCK.size <= len(self._data):
            cpu, size = BLOCK.unpack_from(self._data, at)
            at += BLOCK.size
            if at + size <= len(self._data):
                of_cpus.setdefault(cpu, []).append(at)
            at += size
        streams = [self._of_cpu(cpu, pages) for cpu, pages in of_cpus.items()]
        return heapq.merge(*streams, key=attrgetter("time_ns"))  # a storm's records need not be in memory together

    def _of_cpu(self, cpu: int, pages: Iterable[int]) -> Iterator[Record]:
        for at in pages:
            yield from self._page(cpu, at)

    def _page(self, cpu: int, at: int) -> Iterator[Record]:
        data, page = self._data, self._head.page
        (time_ns,) = _LONG.unpack_from(data, at + page["timestamp"][0])
        commit_at, commit_size = page["commit"]
        commit = int.from_bytes(data[at + commit_at : at + commit_at + commit_size], sys.byteorder)
        position = at + page["data"][0]
        end = position + (commit & _COMMIT_BITS)
        if commit & _MISSED:
            self.missed += _LONG.unpack_from(data, end)[0] if commit & _MISSED_STORED else 1
        while position < end:
            (entry,) = _WORD.unpack_from(data, position)
            kind, delta = entry & 31, entry >> 5
            if kind == PADDING:
                if delta == 0:  # the rest of the page is empty
                    return
                position += 4 + _WORD.unpack_from(data, position + 4)[0]
            elif kind == TIME_EXTEND:
                time_ns += (_WORD.unpack_from(data, position + 4)[0] << _DELTA_BITS) + delta
                position += 8
            elif kind == TIME_STAMP:
                absolute = (_WORD.unpack_from(data, position + 4)[0] << _DELTA_BITS) + delta
                time_ns = (time_ns & ~_ABSOLUTE_BITS) | absolute
                position += 8
            else:
                time_ns += delta
                begin = position + (4 if kind else 8)
                length = 4 * kind if kind else _WORD.unpack_from(data, position + 4)[0]
                yield Record(time_ns, cpu, data[begin] | data[begin + 1] << 8, begin)
                position += 4 + length


class Reader:
    """Reads some fields of an event by name; arrays come as bytes."""

    def __init__(self, layout: Format, names: Iterable[str]) -> None:
        present = sorted((layout.fields[name], name) for name in names if name in layout.fields)
        text, at = "=", 0
        for (offset, size), name in present:
            text += f"{offset - at}x" + (f"{size}s" if name.startswith(("saddr", "daddr")) else _CODES[size])
            at = offset + size
        self._struct = struct.Struct(text)
        self._make = make_dataclass("Fields", [name for _, name in present], slots=True)

    def __call__(self, data: bytes, offset: int) -> Any:
        return self._make(*self._struct.unpack_from(data, offset))
