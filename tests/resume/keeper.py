"""A process with a door, told what to do by its parent: a JSON list a line, and an answer each."""

import concurrent.futures
import json
import logging
import os
import socket
import sys
import time

from flask_wshandler.protocol.carrier import Carrier
from flask_wshandler.resume.door import Door
from flask_wshandler.resume.endpoint import Return
from flask_wshandler.resume.passing import Passed

READ_S = 10.0


def passed(path="/ws", data=b"early"):
    """What goes with a socket."""
    returns = Return("0123abcd~secret", 12, 3, 1)
    return Passed(
        returns,
        path,
        "shop.chat.Chat",
        "7",
        "chat.v2",
        Carrier(window_bits=(15, 12)),
        data,
        "192.0.2.7",
    )


class Keeper:
    """One door. What it takes is told who has it, and what has come with it."""

    def __init__(self, app_name):
        self.door = Door(app_name, self._take)
        self.kept = []
        self.hoard = []
        self.taken_count = 0
        self.child = None

    def _take(self, sock, client):
        if client.path == "/refused":
            return False
        if client.path == "/raises":
            raise SystemExit("of a handler")
        self.taken_count += 1
        if client.path == "/forks":
            self.child = self.fork()
        sock.setblocking(True)
        sock.sendall(f"{os.getpid()} {client.path} ".encode() + client.data)
        if client.path == "/kept":
            self.kept.append(sock)
        else:
            sock.close()
        return True

    def open(self):
        return self.door.open()

    def count(self):
        return self.taken_count

    def name(self):
        return self.door.name

    def pass_on(self, owner, path="/ws"):
        """The answer, the seconds until it, and what the client was told then."""
        client, ours = socket.socketpair()
        with client, ours:
            begin_s = time.monotonic()
            answer = self.door.pass_on(owner, ours, passed(path))
            taken_s = time.monotonic() - begin_s
            ours.close()
            client.settimeout(READ_S)
            return [answer.name, taken_s, read_all(client).decode()]

    def pass_on_without_descriptors(self, owner):
        """The same where there is none for anything else."""
        client, ours = socket.socketpair()
        with client, ours:
            self.run_out(0)
            answer = self.door.pass_on(owner, ours, passed())
            self.have_again()
            ours.close()
            return [answer.name, 0, read_all(client).decode()]

    def pass_until_gone(self, owner, threads):
        """The same for many, in so many threads, until the other process is gone."""

        def pass_on():
            answers = [self.pass_on(owner)]
            while answers[-1][0] != "GONE":
                answers.append(self.pass_on(owner))
            return answers

        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            running = [pool.submit(pass_on) for _ in range(threads)]
            return [answer for each in running for answer in each.result()]

    def pass_at_once(self, owner, count):
        """The same for many, each in a thread of its own."""
        with concurrent.futures.ThreadPoolExecutor(count) as threads:
            return list(threads.map(self.pass_on, [owner] * count))

    def sockets(self):
        """How many descriptors are sockets."""
        return sum(is_socket(number) for number in os.listdir("/proc/self/fd"))

    def threads(self):
        return len(os.listdir("/proc/self/task"))

    def run_out(self, left):
        """Use up all descriptors but so many."""
        import resource  # which Windows lacks

        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        try:
            while True:
                self.hoard.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            for _ in range(left):
                os.close(self.hoard.pop())

    def have_again(self):
        while self.hoard:
            os.close(self.hoard.pop())

    def fork(self):
        """A child with a door: its process id, the door's name, its sockets before that."""
        reading, writing = os.pipe()
        if os.fork() == 0:
            try:
                sockets = self.sockets()
                is_open = self.door.open()
                told = [os.getpid(), self.door.name, sockets, is_open]
                os.write(writing, json.dumps(told).encode())
                time.sleep(3600)
            finally:
                os._exit(1)
        os.close(writing)
        with open(reading) as file:
            return json.loads(os.read(file.fileno(), 1000))

    def last_child(self):
        return self.child

    def become(self, user_id):
        os.setgid(user_id)
        os.setuid(user_id)

    def stop(self):
        self.door.stop()


def read_all(sock):
    data = b""
    while part := sock.recv(65536):
        data += part
    return data


def is_socket(number):
    try:
        return os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    except FileNotFoundError:
        return False


def main():
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    keeper = Keeper(sys.argv[1])
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        print(json.dumps(getattr(keeper, method)(*arguments)), flush=True)


if __name__ == "__main__":
    main()
