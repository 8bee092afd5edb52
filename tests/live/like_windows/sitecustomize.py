"""Python as it is on Windows, as far as names go. Imported before all else, by its name."""

import asyncio  # noqa: F401  # it takes this for the Unix that it is, and asks for what goes
import os
import select
import selectors
import signal
import socket
import sys
import time

#: What the names that are missing begin with.
ABSENT = {
    select: "poll epoll POLL EPOLL kqueue kevent KQ_ devpoll PIPE_BUF",
    socket: """
        AF_UNIX AF_NETLINK AF_PACKET MSG_DONTWAIT MSG_NOSIGNAL SCM_ SO_PEERCRED SO_REUSEPORT
        TCP_USER_TIMEOUT TCP_QUICKACK CMSG_ sethostname send_fds recv_fds
    """,
    os: """
        geteuid getuid getegid getgid getgroups setuid setgid fork register_at_fork eventfd EFD_
        set_blocking get_blocking sysconf O_NOFOLLOW O_CLOEXEC O_NONBLOCK O_DIRECTORY mkfifo uname
        killpg getpgid getpgrp setsid chown fchown fchmod sched_ getloadavg pipe2 pread pwrite
        sendfile posix_spawn statvfs wait3 nice openpty
    """,
    signal: """
        SIGHUP SIGQUIT SIGUSR SIGALRM SIGCHLD SIGPIPE SIGKILL SIGSTOP SIGTSTP SIGTTIN SIGTTOU
        SIGWINCH setitimer getitimer alarm pthread_ sigwait siginterrupt pause
    """,
    time: "tzset pthread_getcpuclockid clock_settime",
}

for module, beginnings in ABSENT.items():
    for name in dir(module):
        if name.startswith(tuple(beginnings.split())):
            delattr(module, name)
for name in ("fcntl", "grp", "pwd", "resource", "termios", "syslog", "readline"):
    sys.modules[name] = None


def socketpair(family=socket.AF_INET, type=socket.SOCK_STREAM, proto=0):
    """Two TCP sockets, as Python has it there."""
    with socket.socket(family, type, proto) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        ours = socket.socket(family, type, proto)
        ours.connect(listener.getsockname())
        return ours, listener.accept()[0]


socket.socketpair = socketpair

# It has looked already what there is.
del selectors.EpollSelector, selectors.PollSelector
selectors.DefaultSelector = selectors.SelectSelector

_select = select.select


def select_sockets(*lists):
    """Takes sockets only, at least one, and 512 of them at once."""
    *kinds, _seconds = lists if len(lists) == 4 else (*lists, None)
    assert any(kinds)
    assert max(map(len, kinds)) <= 512
    for each in {each for kind in kinds for each in kind}:
        number = each if isinstance(each, int) else each.fileno()
        socket.socket(fileno=os.dup(number)).close()  # raises OSError for what is none
    return _select(*lists)


select.select = select_sockets
