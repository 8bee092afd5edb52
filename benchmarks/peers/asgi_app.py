"""No framework: what an ASGI server itself takes."""

clients = set()


async def echo(receive, send):
    """Answer a message with the same."""
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


async def broadcast(receive, send):
    """Send a message to all that are here."""
    clients.add(send)
    try:
        while (event := await receive())["type"] == "websocket.receive":
            for client in list(clients):
                await client({"type": "websocket.send", "text": event["text"]})
    finally:
        clients.discard(send)


async def index(receive, send):
    """A page."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


async def app(scope, receive, send):
    """The entrance."""
    if scope["type"] == "http":
        await index(receive, send)
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await (broadcast if scope["path"] == "/broadcast" else echo)(receive, send)
    else:
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
