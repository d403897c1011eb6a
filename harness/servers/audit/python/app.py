"""The smallest applications there are, one for each interface."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


async def asgi(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[dict[str, Any]], Any]) -> None:
    """For uvicorn, hypercorn, granian."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def wsgi(environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], Any]) -> Iterable[bytes]:
    """For gunicorn, waitress."""
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
