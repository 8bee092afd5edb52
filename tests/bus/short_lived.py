"""A program whose children broadcast and are gone at once: `short_lived.py URL NAME HOW BYTES`.

Each says its number to the collection "t", in so many bytes.
"""

import concurrent.futures
import multiprocessing
import os
import sys
import threading

import flask_wshandler.bus
from flask_wshandler import WebSocketCollection

COUNT = 2


def broadcast(bus, number, size):
    text = f"{number} ".ljust(size, "x")
    WebSocketCollection("t", bus=bus).broadcast(text)


def say(arguments):
    """Broadcast by a bus of its own, as a task does."""
    url, name, number, size = arguments
    broadcast(flask_wshandler.bus.connect(url, name), number, size)


def inherited(bus, size):
    """Broadcast in children, by the bus of their parent, which is 0 and has used it before."""
    broadcast(bus, 0, size)
    for number in range(1, COUNT):
        child = os.fork()
        if not child:
            broadcast(bus, number, size)
            os._exit(0)
        os.waitpid(child, 0)


def in_a_thread(arguments):
    thread = threading.Thread(target=say, args=[arguments])
    thread.start()
    thread.join()
    os._exit(0)


def main(url, name, how, size):
    tasks = [(url, name, number, size) for number in range(COUNT)]
    if how == "os.fork":
        inherited(flask_wshandler.bus.connect(url, name), size)
    elif how == "os._exit":
        for task in tasks[:1]:
            in_a_thread(task)
    elif how.startswith("Pool"):
        with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
            pool.map(say, tasks, chunksize=1)
    elif how == "futures":
        with concurrent.futures.ProcessPoolExecutor(2) as executor:
            list(executor.map(say, tasks))
    else:
        context = multiprocessing.get_context(how)
        children = [context.Process(target=say, args=[task]) for task in tasks]
        for child in children:
            child.start()
        for child in children:
            child.join()


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
