"""The site's pages: one blueprint per module, with its WebSocket handler beside it."""

from example_site.pages import chat, echo, game, home, live

BLUEPRINTS = (home.bp, echo.bp, chat.bp, game.bp, live.bp)
