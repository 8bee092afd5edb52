"""flask-sock's own test suite, unchanged but for the import."""

import subprocess
import sys
import tarfile
import unittest

import pytest

VERSION = "0.7.0"


@pytest.fixture(scope="session")
def suite(request):
    """The tests of flask-sock's source distribution, in pytest's cache."""
    directory = request.config.cache.mkdir(f"flask-sock-{VERSION}")
    archive = directory / f"flask-sock-{VERSION}.tar.gz"
    if not archive.exists():
        command = ["pip", "download", "--no-deps", "--no-binary", ":all:", "--quiet"]
        command += ["--dest", str(directory), f"flask-sock=={VERSION}"]
        subprocess.run([sys.executable, "-m", *command], check=True)
    with tarfile.open(archive) as tar:
        members = [name for name in tar.getnames() if "/tests/test_" in name]
        return [tar.extractfile(name).read().decode() for name in members]


def test_passes_with_our_extension(suite):
    """`flask_sock.Sock` is `WebSockets`."""
    assert suite
    for source in suite:
        assert "import flask_sock" in source
        source = source.replace("import flask_sock", "import flask_wshandler as flask_sock")
        source = source.replace("flask_sock.Sock(", "flask_sock.WebSockets(")
        module = {"__name__": "tests_of_flask_sock"}
        exec(compile(source, "tests of flask-sock", "exec"), module)
        cases = [
            unittest.defaultTestLoader.loadTestsFromTestCase(case)
            for case in module.values()
            if isinstance(case, type) and issubclass(case, unittest.TestCase)
        ]
        result = unittest.TestResult()
        unittest.TestSuite(cases).run(result)
        assert result.testsRun >= 3
        assert result.wasSuccessful(), result.failures + result.errors
