"""What holds for all tests."""

import gc
import signal

import pytest

pytest_plugins = ["tests.matrices", "tests.groups", "tests.alone"]

# A shell starts what runs in the background without SIGINT, and every process that we start would
# inherit that: `flask run` could not be ended as by Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Find the tests without looking for garbage, and keep what they are out of later looks.

    They are half a million objects, which stay to the end: to look through them again and again
    takes a third of the time, and half a second whenever a test asks for it.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()
