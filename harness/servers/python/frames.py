"""HTTP/2 with prior knowledge for the lab's Python server: an asyncio protocol around the library h2."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import cast

import h2
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, RequestReceived, StreamReset, WindowUpdated
from h2.exceptions import H2Error

LIBRARY = f"h2 {h2.__version__}"
Headers = list[tuple[bytes, bytes]]


class FramedConnection(asyncio.Protocol):
    """One connection and its streams. Every request is answered alike, as soon as it is there."""

    def __init__(self, body: bytes, work_ns: int, stamps: bool) -> None:
        self.body = body
        self.work_ns = work_ns
        self.headers: Headers = [
            (b":status", b"200"),
            (b"content-type", b"text/plain"),
            (b"content-length", b"%d" % len(body)),
        ]
        if stamps:  # asyncio makes this object one turn of its loop after accept()
            self.headers.append((b"x-accept-ns", b"%d" % time.monotonic_ns()))
        self.frames = H2Connection(
            H2Configuration(
                client_side=False, header_encoding=None, validate_outbound_headers=False, validate_inbound_headers=False
            )
        )
        self.unsent: dict[int, int] = {}
        """Stream → how much of its body has been sent: what the client's windows did not take yet."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what every connection begins with."""
        self.transport = cast(asyncio.Transport, transport)
        self.frames.initiate_connection()
        self.transport.write(self.frames.data_to_send())

    def data_received(self, data: bytes) -> None:
        """Answer what has come."""
        try:
            events = self.frames.receive_data(data)
        except H2Error:  # no HTTP/2: the client's side of the storm counts it
            self.transport.write(self.frames.data_to_send())
            self.transport.close()
            return
        for event in events:
            if isinstance(event, RequestReceived):
                self.on_stream(event.stream_id, self.answer)
            elif isinstance(event, StreamReset):
                self.unsent.pop(event.stream_id, None)
            elif isinstance(event, WindowUpdated):
                for stream in list(self.unsent):
                    self.on_stream(stream, self.send_body)
            elif isinstance(event, ConnectionTerminated):
                self.transport.close()
                return
        self.transport.write(self.frames.data_to_send())

    def on_stream(self, stream: int, do: Callable[[int], None]) -> None:
        """Do something with a stream that the same read may have brought the end of, which is not its connection's."""
        try:
            do(stream)
        except H2Error:
            self.unsent.pop(stream, None)

    def answer(self, stream: int) -> None:
        """Work, then send headers and as much of the body as the client takes."""
        if self.work_ns:
            end_ns = time.monotonic_ns() + self.work_ns
            while time.monotonic_ns() < end_ns:
                pass
        self.frames.send_headers(stream, self.headers, end_stream=not self.body)
        if self.body:
            self.unsent[stream] = 0
            self.send_body(stream)

    def send_body(self, stream: int) -> None:
        """Send what the windows of connection and stream allow."""
        sent = self.unsent[stream]
        while sent < len(self.body):
            room = min(self.frames.local_flow_control_window(stream), self.frames.max_outbound_frame_size)
            if room <= 0:
                self.unsent[stream] = sent
                return
            piece = self.body[sent : sent + room]
            sent += len(piece)
            self.frames.send_data(stream, piece, end_stream=sent == len(self.body))
        del self.unsent[stream]
