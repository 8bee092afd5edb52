"""Python on a Unix without epoll and eventfd, such as macOS. Imported at the start, by its name."""

import os
import select
import selectors

for module, beginnings in ((select, ("epoll", "EPOLL")), (os, ("eventfd", "EFD_"))):
    for name in dir(module):
        if name.startswith(beginnings):
            delattr(module, name)

# It has looked already what there is.
del selectors.EpollSelector
selectors.DefaultSelector = selectors.PollSelector
