"""So many clients of this package: `ours_client.py PORT COUNT`."""

import json
import sys
import threading

from flask_wshandler.client import connect

port, count = map(int, sys.argv[1:])
came = [[] for _ in range(count)]


def receive(connection, messages):
    """Until the end of the program."""
    for message in connection:
        messages.append(message)


for messages in came:
    connection = connect(f"ws://127.0.0.1:{port}/stream", proxy=None)
    threading.Thread(target=receive, args=(connection, messages), daemon=True).start()
for _ in sys.stdin:
    print(json.dumps(came), flush=True)
