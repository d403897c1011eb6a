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


@pytest.mark.parametrize("coding", [b"gzip", b"chunked, gzip", b"xchunked"])
def test_a_coding_that_is_not_chunked_at_last_ends_with_the_stream(coding: bytes) -> None:
    answer = fed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + coding + b"\r\n\r\nhello")
    assert not answer.complete
    assert answer.ends_with_stream


@pytest.mark.parametrize("coding", [b"Chunked", b"gzip, chunked ", b"gzip\r\nTransfer-Encoding: chunked"])
def test_a_coding_that_is_chunked_at_last_does_not(coding: bytes) -> None:
    answer = fed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + coding + b"\r\n\r\n5\r\nhello")
    assert not answer.ends_with_stream
    assert answer.take(memoryview(b"\r\n0\r\n\r\n"))
    assert answer.complete


@pytest.mark.parametrize("code", [b"204 No Content", b"304 Not Modified"])
@pytest.mark.parametrize("field", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
def test_an_answer_without_a_body_is_complete_whatever_its_headers_say_of_one(code: bytes, field: bytes) -> None:
    assert fed(b"HTTP/1.1 " + code + b"\r\n" + field + b"\r\n\r\n").complete


@pytest.mark.parametrize(
    "code", [b"101 Switching Protocols", b"000 None", b"099 None", b"20 OK", b"2000 OK", b"+20 OK"]
)
def test_what_is_no_final_status_is_no_answer_and_none_is_skipped(code: bytes) -> None:
    with pytest.raises(httptools.HttpParserError):
        fed(b"HTTP/1.1 " + code + b"\r\nContent-Length: 0\r\n\r\n" + WHOLE)


@pytest.mark.parametrize(
    "surplus",
    [
        b"x",
        b"\r\nx",
        b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        b"x" * 300_000,
    ],
    ids=["byte", "after a line", "500", "101", "flood"],
)
@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"], ids=["kept", "closed"])
def test_what_comes_after_the_answer_changes_nothing_of_it(surplus: bytes, close: bytes) -> None:
    """In the same read: in a later one the connection has ended, or is idle and ended for speaking unasked."""
    answer = fed(b"HTTP/1.1 200 OK\r\nX-Accept-Ns: 7\r\n" + close + b"Content-Length: 2\r\n\r\nok" + surplus)
    assert (answer.complete, answer.status, answer.accepted_ns) == (True, 200, 7)
    assert not answer.keep_alive, "no other request may use it"


def test_an_error_is_not_made_good_by_an_answer_that_nobody_asked_for() -> None:
    assert fed(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n" + WHOLE).status == 500


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"], ids=["at once", "1xx"])
def test_a_length_that_is_said_twice_alike_is_one(before: bytes) -> None:
    """Wherever the reads happen to end."""
    twice = before + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length: 5\r\nX-Accept-Ns: 7\r\n\r\nhello"
    differing = twice.replace(b"content-length: 5", b"content-length: 6")
    for cut in range(len(twice)):
        answer = fed(*filter(None, (twice[:cut], twice[cut:])))
        assert (answer.complete, answer.status, answer.accepted_ns) == (True, 200, 7)
        with pytest.raises(httptools.HttpParserError):
            fed(*filter(None, (differing[:cut], differing[cut:])))


@pytest.mark.parametrize("piece", [1_000, 250_000], ids=["in pieces", "at once"])
@pytest.mark.parametrize("fill", [b"X-Endless: and on it goes\r\n", b"x"], ids=["headers", "one header"])
@pytest.mark.parametrize("before", [b"", EARLY_HINTS * 10], ids=["at once", "1xx"])
def test_a_head_may_have_so_many_bytes_and_not_one_more(before: bytes, fill: bytes, piece: int) -> None:
    def taken(size: int) -> bool:
        start, end = b"HTTP/1.1 200 OK\r\nX: ", b"\r\nContent-Length: 0\r\n\r\n"
        room = size - len(start + end)
        whole = before + start + (fill * (room // len(fill) + 1))[: room - 1] + b"x" + end
        assert len(whole) == len(before) + size
        answer = Answer()
        took = all(answer.take(memoryview(whole[at : at + piece])) for at in range(0, len(whole), piece))
        assert len(answer.head) <= MOST_HEAD_BYTES
        return took and answer.complete

    assert taken(MOST_HEAD_BYTES)
    assert not taken(MOST_HEAD_BYTES + 1)


def test_of_a_head_without_end_no_more_than_that_is_kept() -> None:
    answer = fed(b"HTTP/1.1 200 OK\r\n")
    pieces = [memoryview(b"X-Endless: and on it goes\r\n" * 40)] * 1_000
    taken = sum(len(piece) for piece in takewhile(answer.take, pieces))
    assert taken <= MOST_HEAD_BYTES
    assert len(answer.head) <= MOST_HEAD_BYTES


def test_of_interim_answers_without_end_nothing_is_kept() -> None:
    answer = Answer()
    assert all(answer.take(memoryview(EARLY_HINTS * 5_000)) for _ in range(5))
    assert not answer.head


def test_trailers_without_end_are_none_either() -> None:
    answer = fed(CHUNKED[:-2])
    assert sum(answer.take(memoryview(b"X-Endless: on\r\n" * 100)) for _ in range(100)) < 60


def test_a_large_body_is_no_large_head() -> None:
    answer = fed(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    assert all(answer.take(memoryview(b"x" * 250_000)) for _ in range(4))
    assert answer.complete
