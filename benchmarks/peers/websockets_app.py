"""The package `websockets`, on uvloop: `python websockets_app.py PORT`."""

import http
import sys

import uvloop
from websockets.asyncio.server import broadcast, serve

clients = set()


async def handle(websocket):
    """Answer a message with the same; or send it to all of /broadcast."""
    if websocket.request.path != "/broadcast":
        async for message in websocket:
            await websocket.send(message)
        return
    clients.add(websocket)
    try:
        async for message in websocket:
            broadcast(clients, message)
    finally:
        clients.discard(websocket)


def index(connection, request):
    """A page."""
    return connection.respond(http.HTTPStatus.OK, "ok") if request.path == "/" else None


async def main():
    """Serve for ever."""
    async with serve(handle, "127.0.0.1", int(sys.argv[1]), process_request=index) as server:
        await server.serve_forever()


uvloop.run(main())
