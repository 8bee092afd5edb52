"""What holds for all tests."""

import signal

pytest_plugins = ["tests.alone", "tests.groups", "tests.matrices"]

# A shell starts what runs in the background without SIGINT, and every process that we start would
# inherit that: `flask run` could not be ended as by Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
