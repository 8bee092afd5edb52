"""Subdomains: SERVER_NAME, and a blueprint whose subdomain is a variable."""

from flask import Blueprint, Flask, url_for

from flask_wshandler import WebSocketHandler, WebSockets

HOST = "acme.subdomains.zoo"
ANSWER = "hello http://acme.subdomains.zoo/ http://other.subdomains.zoo/"

sockets = WebSockets()
tenants = Blueprint("tenants", __name__, subdomain="<tenant>")


def answer(message, tenant):
    pages = (url_for(".page", tenant=each, _external=True) for each in (tenant, "other"))
    return " ".join([message, *pages])


@tenants.get("/")
def page(tenant):
    return tenant


@sockets.route("/handler", tenants)
class OfTenant(WebSocketHandler):
    def __init__(self, tenant):
        self.tenant = tenant

    def on_message(self, message):
        self.send(answer(message, self.tenant))


@sockets.route("/function", tenants)
def function(ws, tenant):
    while True:
        ws.send(answer(ws.receive(), tenant))


def create_app():
    app = Flask(__name__, subdomain_matching=True)
    app.config["SERVER_NAME"] = "subdomains.zoo"
    sockets.init_app(app)
    app.register_blueprint(tenants)
    return app


def promise(site):
    """No tenant, no page and no WebSocket."""
    assert site.get("/", host="subdomains.zoo").status == 404
    assert site.knock("/handler", host="subdomains.zoo").status == 404
