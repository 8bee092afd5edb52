"""The way in: what the site shows, and its four stations."""

from flask import Blueprint, render_template

bp = Blueprint("home", __name__)


@bp.get("/")
def page() -> str:
    """Show the four stations."""
    return render_template("home.html")
