"""Answers as literal bytes, whole and in pieces."""

from __future__ import annotations

import httptools
import pytest

from harness.load.python.http1 import Answer, request_bytes

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def fed(*pieces: bytes) -> Answer:
    answer = Answer()
    for piece in pieces:
        answer.feed(memoryview(piece))
    return answer


@pytest.mark.parametrize("answer_bytes", [WHOLE, CHUNKED, EARLY_HINTS + WHOLE], ids=["length", "chunked", "1xx"])
def test_complete_with_the_last_byte_and_not_before(answer_bytes: bytes) -> None:
    for cut in range(1, len(answer_bytes)):
        answer = fed(answer_bytes[:cut])
        assert not answer.complete
        answer.feed(memoryview(answer_bytes[cut:]))
        assert answer.complete
        assert answer.status == 200


def test_an_answer_without_length_ends_with_the_stream() -> None:
    answer = fed(b"HTTP/1.1 200 OK\r\n\r\nhello")
    assert not answer.complete
    assert answer.ends_with_stream


@pytest.mark.parametrize("cut_short", [WHOLE[:-1], CHUNKED[:-2], b"HTTP/1.1 200 OK\r\nContent-"])
def test_a_cut_answer_does_not_end_with_the_stream(cut_short: bytes) -> None:
    answer = fed(cut_short)
    assert not answer.complete
    assert not answer.ends_with_stream


def test_no_body_no_wait() -> None:
    assert fed(b"HTTP/1.1 204 No Content\r\n\r\n").complete


@pytest.mark.parametrize("garbage", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\x01\x02", b"HTTP/9.9 huh\r\n\r\n"])
def test_what_is_not_http_is_an_error(garbage: bytes) -> None:
    with pytest.raises(httptools.HttpParserError):
        fed(garbage)


def test_one_parser_reads_answer_after_answer() -> None:
    answer = Answer()
    for _ in range(3):
        answer.feed(memoryview(WHOLE))
        assert answer.complete
        assert answer.keep_alive
        answer.next()
        assert not answer.complete


def test_connection_close_is_seen() -> None:
    assert not fed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").keep_alive
    assert not fed(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").keep_alive


@pytest.mark.parametrize(
    ("value", "accepted_ns"), [(b"123456789012345", 123456789012345), (b"", 0), (b"-1", 0), (b"9" * 40, 0), (b"x", 0)]
)
def test_the_accept_stamp_is_read_where_it_is_one(value: bytes, accepted_ns: int) -> None:
    answer = fed(b"HTTP/1.1 200 OK\r\nX-Accept-Ns: " + value + b"\r\nContent-Length: 0\r\n\r\n")
    assert answer.accepted_ns == accepted_ns
    assert answer.complete


def test_the_request() -> None:
    assert request_bytes("127.0.0.1", 8080, "/x", close=True) == (
        b"GET /x HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: stormlab\r\nConnection: close\r\n\r\n"
    )
    assert b"Host: [::1]:81\r\n" in request_bytes("::1", 81, "/", close=False)
