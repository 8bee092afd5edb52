"""What the pages share; `create_app` binds it to the app."""

from example_site.game_store import GameStore
from flask_wshandler import WebSockets

sockets = WebSockets()
game_store = GameStore()
