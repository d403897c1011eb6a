"""Both engines make the same of the same bytes, however strange: thousands of answers, mutated by lot."""

from __future__ import annotations

import random
import re
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.events.rows import Outcome, Rows
from harness.plan import Load
from harness.plan.slices import cut, source_pool
from harness.servers import build
from tests.driving import drive_slice, driven_by

CORPUS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nX-Accept-Ns: 123456\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nTrailer: X\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"\r\nHTTP/1.1 200 \r\nServer: x\r\nDate: Sat, 28 Nov 2026 00:00:00 GMT\r\nContent-Length: 3\r\n\r\nend",
)
PIECES = (
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b":",
    b"\0",
    b"0",
    b"9",
    b"HTTP/1.1 ",
    b"Content-Length: 1\r\n",
    b"chunked",
    b",",
)


def mutated(chance: random.Random) -> bytes:
    """An answer of the corpus after one to three changes."""
    answer = bytearray(chance.choice(CORPUS))
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(answer) + 1)
        match chance.randrange(5):
            case 0:
                del answer[at : at + chance.randint(1, 4)]
            case 1:
                answer[at:at] = chance.choice(PIECES)
            case 2:
                answer[at : at + 1] = bytes([chance.randrange(256)])
            case 3:
                answer[at:at] = answer[at : at + chance.randint(1, 40)]
            case _:
                answer = answer[:at] or answer
    return bytes(answer)


@contextmanager
def answering(answer_to: Callable[[tuple[str, int]], bytes]) -> Iterator[int]:
    """A server on the port given: each client gets the bytes for its address, and then the end of the stream."""
    over = threading.Event()

    def serve() -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            while not over.is_set():
                for key, _ in selector.select(0.1):
                    if key.fileobj is listener:
                        connection, peer = listener.accept()
                        selector.register(connection, selectors.EVENT_READ, peer)
                        continue
                    assert isinstance(key.fileobj, socket.socket)
                    selector.unregister(key.fileobj)
                    with key.fileobj as connection:
                        connection.recv(4096)
                        connection.sendall(answer_to(key.data))

    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        serving = threading.Thread(target=serve)
        serving.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            serving.join()


Came = tuple[str, tuple[int, int] | None]
"""The outcome of a request and, where it was answered, its status and accept stamp."""
STRANGE = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f-\xff](?<!\r)|\r(?!\n)")
"""Bytes that no line should have (RFC 9110, section 5.5), and the end of a line that does not end it."""


def explained(answer: bytes, python: Came, native: Came) -> bool:
    """Whether the engines may differ: docs/engines.md says in what."""
    if "answered" in (python[0], native[0]):
        return STRANGE.search(answer) is not None
    return {python[0], native[0]} == {"bad_answer", "closed_early"}


def outcomes(answers: list[bytes], folder: Path) -> list[Came]:
    """What came of each client, each of which gets one of the answers."""
    load = Load(clients=len(answers), concurrency=50, timeout_s=30)

    def answer_to(peer: tuple[str, int]) -> bytes:
        return answers[rows_by_pair[peer]]

    with answering(answer_to) as port:
        source = source_pool("127.0.0.1", load, [port], first_address=random.randrange(2**20))
        (slice_,) = cut(load, 1, target="127.0.0.1", port=port, source=source, cpus=(0,), folder=str(folder))
        pairs = (slice_.pair(row) for row in range(load.clients))
        rows_by_pair = {(source.addresses[address], local): row for row, (address, local) in enumerate(pairs)}
        with Rows(Path(slice_.rows_path), slice_.connection_rows, slice_.request_rows, create=True) as rows:
            drive_slice(slice_, rows)
            table = rows.connection
            columns = zip(table["outcome"], table["status"], table["accepted_ns"], strict=True)
            return [
                (Outcome(outcome).name, (status, stamp) if outcome == Outcome.answered else None)
                for outcome, status, stamp in columns
            ]


@pytest.mark.skipif(build.NATIVE.missing is not None, reason="the native engine is not built")
def test_the_same_answers_have_the_same_outcomes(tmp_path: Path) -> None:
    chance = random.Random(1)  # the same each time
    answers = [*CORPUS, *(mutated(chance) for _ in range(3_000))]
    found = {}
    for engine in ("python", "native"):
        folder = tmp_path / engine
        folder.mkdir()
        with driven_by(engine):
            found[engine] = outcomes(answers, folder)
    assert {outcome for outcome, _ in found["python"]} == {"answered", "bad_answer", "closed_early"}
    three = zip(answers, found["python"], found["native"], strict=True)
    differences = [(answer, *both) for answer, *both in three if both[0] != both[1]]
    assert len(differences) < 0.02 * len(answers)
    assert not [difference for difference in differences if not explained(*difference)]
