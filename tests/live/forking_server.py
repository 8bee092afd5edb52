"""Werkzeug's server that forks for each request: `app.run(threaded=False, processes=4)`."""

from .app import app

app.run("127.0.0.1", 0, threaded=False, processes=4)
