"""picows, on uvloop: `python picows_app.py PORT`."""

import sys

import uvloop
from picows import WSListener, WSMsgType, ws_create_server

clients = set()


class Echo(WSListener):
    """Answers a message with the same."""

    def on_ws_frame(self, transport, frame):
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_bytes())


class Broadcast(WSListener):
    """Sends a message to all that are here."""

    def on_ws_connected(self, transport):
        clients.add(transport)

    def on_ws_frame(self, transport, frame):
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
            return
        payload = frame.get_payload_as_bytes()
        for client in clients:
            client.send(frame.msg_type, payload)

    def on_ws_disconnected(self, transport):
        clients.discard(transport)


def listener(request):
    """Who serves a client."""
    return Broadcast() if request.path == b"/broadcast" else Echo()


async def main():
    """Serve for ever."""
    server = await ws_create_server(listener, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


uvloop.run(main())
