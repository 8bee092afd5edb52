"""aiohttp: `python aiohttp_app.py PORT`."""

import sys

from aiohttp import WSMsgType, web

clients = set()


async def echo(request):
    """Answer a message with the same."""
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for message in ws:
        if message.type == WSMsgType.TEXT:
            await ws.send_str(message.data)
    return ws


async def broadcast(request):
    """Send a message to all that are here."""
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    clients.add(ws)
    try:
        async for message in ws:
            for client in list(clients):
                await client.send_str(message.data)
    finally:
        clients.discard(ws)
    return ws


async def index(request):
    """A page."""
    return web.Response(text="ok")


app = web.Application()
app.add_routes([web.get("/echo", echo), web.get("/broadcast", broadcast), web.get("/", index)])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
