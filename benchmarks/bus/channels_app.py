"""The same with Channels' redis layer, on uvicorn: two servers and a group."""
# ruff: noqa: E402  # Channels wants Django's settings before it is imported

import json
import os
import time
from urllib.parse import parse_qsl

import django.conf

django.conf.settings.configure(
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [os.environ["BUS_URL"]]},
        }
    }
)
django.setup()

from channels.generic.http import AsyncHttpConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from loops import summary


class Client(AsyncWebsocketConsumer):
    """Listens."""

    groups = ("clients",)

    async def connect(self):
        await self.accept()
        await self.send(text_data="ready")

    async def m(self, event):
        await self.send(text_data=event["text"])


class Emit(AsyncHttpConsumer):
    """Broadcast so many messages in one go; the seconds that the calls took."""

    async def handle(self, body):
        arguments = dict(parse_qsl(self.scope["query_string"].decode()))
        count, size = int(arguments["count"]), int(arguments["size"])
        layer = get_channel_layer()
        padding = "x" * size
        stamps_ns = []
        for _ in range(count):
            stamps_ns.append(time.monotonic_ns())
            text = f"{stamps_ns[-1]:020}{padding}"[:size]
            await layer.group_send("clients", {"type": "m", "text": text})
        stamps_ns.append(time.monotonic_ns())
        await self.send_response(200, json.dumps(summary(stamps_ns)).encode())


client, emitter = Client.as_asgi(), Emit.as_asgi()


async def app(scope, receive, send):
    """WebSockets to the one, requests to the other."""
    await (client if scope["type"] == "websocket" else emitter)(scope, receive, send)
