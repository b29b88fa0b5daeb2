"""How long whoever asked has waited."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass
class Timing:
    """Middleware that tells for each request how long it took until its answer began, in seconds."""

    app: ASGIApp
    note: Callable[[float], None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()

        async def send_timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.note(time.perf_counter() - start)
            await send(message)

        await self.app(scope, receive, send_timed)
