"""How bytes come and go: sockets and threads.

`wsgi_server` and `handoff` know the servers, `channel` serves one socket in one of two ways,
`epoll` and `blocking`, `pollers` has the threads of the first, `engine` all of a process.
`capacity` says how many connections there may be, `stats` counts what they do, `shutdown` ends
them.
"""
