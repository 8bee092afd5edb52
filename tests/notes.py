"""What an app under test notes down for the test that has started it."""

import json
import os


def note(event, **details):
    """Write a line that the test reads."""
    line = json.dumps({"event": event, **details}) + "\n"
    descriptor = os.open(os.environ["EVENTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)
