"""aiohttp, as its documentation writes a server."""

import sys

from aiohttp import web


async def answer(request: web.Request) -> web.Response:
    return web.Response(text="ok")


app = web.Application()
app.router.add_get("/", answer)
web.run_app(app, port=int(sys.argv[1]))
