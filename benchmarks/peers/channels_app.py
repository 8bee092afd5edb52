"""Django Channels, on an ASGI server."""
# ruff: noqa: E402  # Channels wants Django's settings before it is imported

import django.conf

django.conf.settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF="channels_app",
    CHANNEL_LAYERS={
        # The default holds 100 messages of a channel and drops the rest.
        "default": {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 1000}}
    },
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.http import HttpResponse
from django.urls import path


class Echo(AsyncWebsocketConsumer):
    """Answers a message with the same."""

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data)


class Broadcast(AsyncWebsocketConsumer):
    """Sends a message to all of its group."""

    groups = ("clients",)

    async def receive(self, text_data=None, bytes_data=None):
        await self.channel_layer.group_send("clients", {"type": "said", "text": text_data})

    async def said(self, event):
        await self.send(event["text"])


async def index(request):
    """A page."""
    return HttpResponse("ok", headers={"Content-Length": "2"})


urlpatterns = [path("", index)]
app = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": URLRouter(
            [path("echo", Echo.as_asgi()), path("broadcast", Broadcast.as_asgi())]
        ),
    }
)
