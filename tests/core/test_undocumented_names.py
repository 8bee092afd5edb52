"""Flask's and Werkzeug's undocumented names: one module has them, so another Flask is its matter.

`DOCUMENTED` was compared with their documentation; whoever needs a name more looks it up there, and
puts it here, or into the one module if it is not found.
"""

import ast
from pathlib import Path

from flask import Flask

from flask_wshandler.handlers.callback_context import CallbackContext

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "flask_wshandler"
[THE_ONE] = PACKAGE.rglob("flask_internals.py")
TREES = {
    str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8"))
    for path in [*PACKAGE.rglob("*.py"), *ROOT.glob("*flask_wshandler*.py")]
}
OTHERS = {name: tree for name, tree in TREES.items() if ROOT / name != THE_ONE}

DOCUMENTED = {
    "flask": {
        "Blueprint", "Flask", "Request", "Response", "abort", "appcontext_popped",
        "appcontext_tearing_down", "current_app", "g", "got_request_exception",
        "has_request_context", "jsonify", "request",
        "request_started", "request_tearing_down", "session",
    },
    # NoAppException is on no page, but public.
    "flask.cli": {"AppGroup", "NoAppException", "ScriptInfo", "with_appcontext"},
    "flask.ctx": {"AppContext", "RequestContext", "_AppCtxGlobals"},
    "flask.json": set(),
    "flask.sessions": {"SecureCookieSessionInterface", "SessionMixin"},
    # EnvironBuilder and ResponseReturnValue are on no page, but public.
    "flask.testing": {"EnvironBuilder", "FlaskClient"},
    "flask.typing": {"ResponseReturnValue"},
    "flask.views": {"View"},
    "werkzeug.datastructures": {
        "EnvironHeaders", "Headers", "ImmutableDict", "ImmutableList", "ImmutableMultiDict",
        "MultiDict", "RequestCacheControl",
    },
    "werkzeug.exceptions": {
        "BadRequest", "BadRequestKeyError", "Forbidden", "HTTPException", "NotFound",
        "ServiceUnavailable", "TooManyRequests", "default_exceptions",
    },
    "werkzeug.routing": {"BuildError", "MapAdapter", "Rule", "WebsocketMismatch"},
    "werkzeug.test": {"TestResponse"},
    "werkzeug.utils": {"cached_property"},
    "werkzeug.wsgi": {"ClosingIterator", "get_host"},
}  # fmt: skip
"""What may be imported, by the address."""

PARTS = {
    "app", "copy", "g", "match_request", "pop", "push", "request", "session", "url_adapter",
}  # fmt: skip
"""What a context has according to the documentation."""

UNDOCUMENTED = {
    "_after_request_functions", "_cached_data", "_cached_json", "_cv_app", "_cv_request",
    "_flashes", "_parsed_content_type", "flashes", "werkzeug.debug.preserve_context",
}  # fmt: skip
"""What the one module has; its `_request` and `_session` are also others' own names."""

UNDERSCORED = {
    "_get_current_object",  # of Werkzeug's LocalProxy, documented
    "_current_frames", "_getframe",  # of sys
    "_load_user", "_login_user",  # of Flask-Login
    "_sock",  # of redis-py
}  # fmt: skip
"""Attributes with an underscore that the package itself does not define."""


def imports_of(tree):
    """(module, name) of each import from Flask or Werkzeug; the name is None for a module's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found = [(node.module, alias.name) for alias in node.names]
        else:
            continue
        yield from (each for each in found if each[0].split(".")[0] in ("flask", "werkzeug"))


def names_in(tree):
    """Whatever is named, also in a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.alias):
            yield node.name


def defined_in(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def test_others_import_what_is_documented():
    """From where the documentation has it."""
    unknown = [
        (name, module, imported)
        for name, tree in OTHERS.items()
        for module, imported in imports_of(tree)
        if module not in DOCUMENTED or imported not in {None, *DOCUMENTED[module]}
    ]
    assert not unknown


def test_others_name_nothing_undocumented():
    """Neither as an attribute nor in a string."""
    found = {name: UNDOCUMENTED & set(names_in(tree)) for name, tree in OTHERS.items()}
    assert not {name: names for name, names in found.items() if names}


def test_the_list_is_that_of_the_one_module():
    """Nothing stays in it that is not needed any more."""
    assert set(names_in(TREES[str(THE_ONE.relative_to(ROOT))])) >= UNDOCUMENTED


def test_no_other_package_is_looked_into():
    """An attribute with an underscore is the package's own, or has its reason above."""
    own = {name for tree in TREES.values() for name in defined_in(tree)}
    used = {
        node.attr
        for tree in OTHERS.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr.startswith("_")
    }
    assert {name for name in used - own if not name.endswith("__")} == UNDERSCORED


def test_a_callbacks_context_overrides_only_documented_parts():
    """A name of its own that Flask's context has too would change what Flask does."""
    app = Flask(__name__)
    flasks = {*dir(app.app_context()), *dir(app.test_request_context())}
    own = {name for name in vars(CallbackContext) if not name.endswith("__")}
    assert own & flasks <= PARTS
