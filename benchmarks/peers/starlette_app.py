"""Starlette, on an ASGI server."""

import time

from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

clients = set()


class Echo(WebSocketEndpoint):
    """Answers a message with the same."""

    encoding = "text"

    async def on_receive(self, websocket, data):
        await websocket.send_text(data)


class Broadcast(WebSocketEndpoint):
    """Sends a message to all that are here."""

    encoding = "text"

    async def on_connect(self, websocket):
        await websocket.accept()
        clients.add(websocket)

    async def on_receive(self, websocket, data):
        for client in list(clients):
            await client.send_text(data)

    async def on_disconnect(self, websocket, close_code):
        clients.discard(websocket)


class Slow(WebSocketEndpoint):
    """Waits as a driver without async does, before it answers."""

    encoding = "text"

    async def on_receive(self, websocket, data):
        time.sleep(0.01)
        await websocket.send_text(data)


async def index(request):
    """A page."""
    return PlainTextResponse("ok")


app = Starlette(
    routes=[
        WebSocketRoute("/echo", Echo),
        WebSocketRoute("/broadcast", Broadcast),
        WebSocketRoute("/slow", Slow),
        Route("/", index),
    ]
)
