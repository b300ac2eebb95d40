"""How many connections the process can hold: each needs a file descriptor, and a transfer a second one."""

from __future__ import annotations

import resource

from twisted.logger import Logger

#: Descriptors that are neither connections nor files that they send or store: stores, log, listeners, the pipes of uploads.
RESERVED = 160
#: Descriptors that a connection may need: its own, and that of the file that it sends or stores.
EACH = 2

_log = Logger()


def connections_within(wanted: int) -> int:
    """Return how many connections of ``wanted`` the process may hold, having asked for as many as it can get.

    The soft limit of open files (RLIMIT_NOFILE, getrlimit(2)) is raised as far as needed and allowed.
    """
    needed = wanted * EACH + RESERVED
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    possible = max(1, (soft - RESERVED) // EACH)
    _log.warn(
        "with {files} open files allowed there can be {possible} connections at most, not {wanted}: raise LimitNOFILE=",
        files=soft,
        possible=possible,
        wanted=wanted,
    )
    return possible
