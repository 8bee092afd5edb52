"""The Python client of this package: `ours_client.py PORT COUNT RATE`."""

import sys
import threading

from returning.stream import Ends, talk

from flask_wshandler.client import connect

port, count, rate = sys.argv[1:]
end = Ends()


def receive(connection):
    """Until the end of the program."""
    for number in connection:
        end.came.append(int(number))


connection = connect(f"ws://127.0.0.1:{port}/stream", proxy=None)
threading.Thread(target=receive, args=(connection,), daemon=True).start()
talk(end, int(count), float(rate), lambda number: connection.send(str(number)))
connection.close()
