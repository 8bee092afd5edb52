"""How bytes come and go: sockets and threads.

`handoff` knows the servers, `channel` one socket, `epoll` and `blocking` the two ways to serve
it, `pollers` the threads of the first, `engine` all of a process.
"""
