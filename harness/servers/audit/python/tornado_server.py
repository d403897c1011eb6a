"""Tornado, as its documentation writes a server."""

import asyncio
import sys

from tornado.web import Application, RequestHandler


class Answer(RequestHandler):
    def get(self) -> None:
        self.write("ok")


async def main() -> None:
    Application([("/", Answer)]).listen(int(sys.argv[1]))
    await asyncio.Event().wait()


asyncio.run(main())
