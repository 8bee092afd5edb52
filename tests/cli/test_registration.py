"""That `flask websockets` is there, whatever the app is, and is the app's."""

import subprocess
import sys

import pytest

WITH_WEBSOCKETS = """
from flask import Flask
from flask_wshandler import WebSockets
app = Flask(__name__)
app.config["WSHANDLER_BUS"] = "none"
WebSockets(app)
"""


def test_an_app_that_can_not_be_imported(tmp_path, commands):
    """The last that one reads is why."""
    (tmp_path / "site_app.py").write_text("import not_installed")
    done = commands.run("list")
    assert done.returncode == 2
    assert "While importing 'site_app', an ImportError was raised" in done.stderr
    assert done.stderr.rstrip().endswith("No module named 'not_installed'")


def test_an_app_that_fails(tmp_path, commands):
    """With its traceback, as of all commands."""
    (tmp_path / "site_app.py").write_text("1 / 0")
    done = commands.run("list")
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("ZeroDivisionError: division by zero")


def test_no_app(commands, tmp_path):
    """What to do is Flask's to say."""
    done = commands.run_flask("websockets", "list")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: Could not locate a Flask application.")
    assert "No such command" not in done.stderr


def test_help_needs_no_app(commands):
    """Whoever reads what there is may not have one yet."""
    assert "doctor" in commands.run_flask("websockets", "--help").stdout
    assert (
        "websockets close [OPTIONS] ID"
        in commands.run_flask("websockets", "close", "--help").stdout
    )


@pytest.mark.parametrize("arguments", [["list"], ["doctor"], ["--help"], []])
def test_an_app_without_websockets(tmp_path, commands, arguments):
    """It is named, with what is missing in it."""
    (tmp_path / "site_app.py").write_text("from flask import Flask\napp = Flask(__name__)\n")
    done = commands.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: the app 'site_app' has no WebSockets: call WebSockets(app)\n"


def test_it_is_listed_once(tmp_path, commands):
    """By Flask's entry point and by the app it is the same."""
    (tmp_path / "site_app.py").write_text(WITH_WEBSOCKETS)
    done = commands.run_flask("--app", "site_app", "--help")
    [line] = [line for line in done.stdout.splitlines() if "websockets" in line]
    assert line.split(maxsplit=1) == ["websockets", "Routes, connections, and what is wrong."]


def test_usage_names_the_command_as_it_was_called(tmp_path, commands):
    """Though another has stood for it."""
    (tmp_path / "site_app.py").write_text(WITH_WEBSOCKETS)
    assert "flask websockets [OPTIONS] COMMAND [ARGS]..." in commands.run("--help").stdout
    assert "flask websockets close [OPTIONS] ID" in commands.run("close", "--help").stdout


def test_an_apps_own_command_of_that_name_stays(tmp_path, commands):
    """It runs with its arguments, in the app's context, as any of the app's."""
    (tmp_path / "site_app.py").write_text(
        "import click\n"
        "from flask import current_app\n"
        "@click.command('websockets')\n"
        "@click.argument('what', callback=lambda *given: f'{given[-1]} of {current_app.name}')\n"
        "def own(what):\n"
        "    print('the own', what)\n"
        f"{WITH_WEBSOCKETS.replace('WebSockets(app)', 'app.cli.add_command(own); WebSockets(app)')}"
    )
    done = commands.run("one")
    assert (done.stdout, done.stderr) == ("the own one of site_app\n", "")


def test_flasks_other_commands_do_not_import_the_package():
    """Not even those of apps that don't use it: that would take them a tenth of a second."""
    program = (
        "import sys\n"
        "from flask.cli import FlaskGroup\n"
        "FlaskGroup()._load_plugin_commands()\n"
        "assert 'flask_wshandler_command' in sys.modules\n"
        "assert 'flask_wshandler' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
