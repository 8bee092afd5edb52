"""What the fuzzing tests share."""

import logging

import pytest


@pytest.fixture(scope="module")
def caplog_at_error():
    """The errors that have been logged since the last call."""
    records = []

    class Keep(logging.Handler):
        def emit(self, record):
            records.append(self.format(record))

    handler = Keep(logging.ERROR)
    logger = logging.getLogger("flask_wshandler")
    logger.addHandler(handler)

    def taken():
        found, records[:] = records[:], []
        return found

    yield taken
    logger.removeHandler(handler)
