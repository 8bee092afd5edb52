"""The example site: ASP.NET's WebSocketHandler article as four pages on one Flask app.

`create_app` puts it together; `wsgi.py` is what a server imports.
"""

import os
import secrets

from flask import Flask

from example_site import security_headers
from example_site.extensions import game_store, sockets
from example_site.pages import BLUEPRINTS

#: The pages on the dial, each with the frequency it is found at.
STATIONS = (("echo", "88.1"), ("chat", "94.5"), ("game", "101.2"), ("live", "106.8"))

#: Settings that the environment may give.
VARIABLES = ("GAME_DATABASE", "WSHANDLER_BUS", "WSHANDLER_BUS_NAME")


def create_app() -> Flask:
    """Build the site, with the settings that the environment has (see VARIABLES), and SECRET_KEY.

    A key made up here differs from worker to worker; `run` therefore sets the variable.
    """
    app = Flask(__name__)
    app.config["SECRET_KEY"] = os.environ.get("SECRET_KEY") or secrets.token_hex(32)
    app.config.update({name: os.environ[name] for name in VARIABLES if os.environ.get(name)})
    sockets.init_app(app)
    game_store.init_app(app)
    security_headers.init_app(app)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    app.jinja_env.globals["stations"] = STATIONS
    return app
