"""Answers as literal bytes, whole and in pieces."""

from __future__ import annotations

from itertools import takewhile

import httptools
import pytest

from harness.load.python.http1 import MOST_HEAD_BYTES, Answer, request_bytes

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def fed(*pieces: bytes) -> Answer:
    answer = Answer()
    for piece in pieces:
        if not answer.take(memoryview(piece)):
            raise httptools.HttpParserError
    return answer


@pytest.mark.parametrize("answer_bytes", [WHOLE, CHUNKED, EARLY_HINTS + WHOLE], ids=["length", "chunked", "1xx"])
def test_complete_with_the_last_byte_and_not_before(answer_bytes: bytes) -> None:
    for cut in range(1, len(answer_bytes)):
        answer = fed(answer_bytes[:cut])
        assert not answer.complete
        answer.take(memoryview(answer_bytes[cut:]))
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
        answer.take(memoryview(WHOLE))
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


@pytest.mark.parametrize("coding", [b"gzip", b"chunked, gzip"])
def test_a_coding_that_is_not_chunked_at_last_ends_with_the_stream(coding: bytes) -> None:
    answer = fed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + coding + b"\r\n\r\nhello")
    assert not answer.complete
    assert answer.ends_with_stream


@pytest.mark.parametrize("surplus", [b"x", b"\r\nx", b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"])
@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"], ids=["kept", "closed"])
def test_what_comes_after_the_answer_changes_nothing_of_it(surplus: bytes, close: bytes) -> None:
    """In the same read: in a later one the connection has ended, or is idle and ended for speaking unasked."""
    answer = fed(b"HTTP/1.1 200 OK\r\nX-Accept-Ns: 7\r\n" + close + b"Content-Length: 2\r\n\r\nok" + surplus)
    assert (answer.complete, answer.status, answer.accepted_ns) == (True, 200, 7)
    assert not answer.keep_alive, "no other request may use it"


def test_an_error_is_not_made_good_by_an_answer_that_nobody_asked_for() -> None:
    assert fed(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n" + WHOLE).status == 500


@pytest.mark.parametrize("cut", [0, 20, 45])
def test_a_length_that_is_said_twice_alike_is_one(cut: int) -> None:
    twice = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length: 5\r\nX-Accept-Ns: 7\r\n\r\nhello"
    answer = fed(*filter(None, (twice[:cut], twice[cut:])))
    assert (answer.complete, answer.status, answer.accepted_ns) == (True, 200, 7)
    with pytest.raises(httptools.HttpParserError):
        fed(twice.replace(b"content-length: 5", b"content-length: 6"))


@pytest.mark.parametrize("endless", [b"X-Endless: and on it goes\r\n", b"x" * 26], ids=["headers", "one header"])
def test_headers_without_end_are_no_answer(endless: bytes) -> None:
    answer = fed(b"HTTP/1.1 200 OK\r\n")
    pieces = [memoryview(endless * 40)] * 1_000
    taken = sum(len(piece) for piece in takewhile(answer.take, pieces))
    assert taken <= MOST_HEAD_BYTES
    assert len(answer.head) <= MOST_HEAD_BYTES + 40 * 26


def test_trailers_without_end_are_none_either() -> None:
    answer = fed(CHUNKED[:-2])
    assert sum(answer.take(memoryview(b"X-Endless: on\r\n" * 100)) for _ in range(100)) < 60


def test_a_large_body_is_no_large_head() -> None:
    answer = fed(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    assert all(answer.take(memoryview(b"x" * 250_000)) for _ in range(4))
    assert answer.complete
