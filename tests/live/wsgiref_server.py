"""A server that does not give its socket away."""

from wsgiref.simple_server import make_server

from .app import app

server = make_server("127.0.0.1", 0, app)
print(f"Listening at: http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
