"""Print the lowest versions that setup.cfg allows its users, as constraints for pip.

Of what the tests themselves need, the newest will do.
"""

import configparser
import re
from pathlib import Path

SETUP = Path(__file__).resolve().parents[1] / "setup.cfg"
OURS = {"apps", "docs", "suite", "tests"}
"""Extras for work on the project."""


def lowest_versions():
    setup = configparser.ConfigParser()
    setup.read(SETUP, encoding="utf-8")
    extras = setup["options.extras_require"]
    listed = [setup["options"]["install_requires"]]
    listed += [extras[name] for name in extras if name not in OURS]
    for requirement in "\n".join(listed).split("\n"):
        if requirement:
            yield lowest_version(requirement)


def lowest_version(requirement):
    """`flask==3.0` for `flask>=3.0,<3.3`, with the Pythons that it is for."""
    found = re.fullmatch(r"([\w-]+)(?:\[[\w,]+\])?>=([\d.]+)(,<[\d.]+)?(;.*)?", requirement)
    if found is None:
        raise SystemExit(f"{SETUP}: no lowest version in {requirement!r}")
    return f"{found[1]}=={found[2]}{found[4] or ''}"


if __name__ == "__main__":
    print("\n".join(dict.fromkeys(lowest_versions())))  # extras may share one
