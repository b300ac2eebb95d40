"""Heads that are like one before: a client sends the same fields with each of its requests.

To read a head takes longer than to answer many a request.  What a head says beyond its first line is the same for
the same bytes, so it is remembered what came of them.
"""

from __future__ import annotations

import re
from typing import Final

from filedropd.http.head import Head, Limits

#: Fields that are remembered: so many sets of them, of so many bytes each.
SETS: Final = 512
LARGEST: Final = 1024

# Of the targets that a head may have (RFC 9112 section 3.2), those of which nothing has to be found out.
_LINE: Final = re.compile(rb"(GET|HEAD) (/[0-9A-Za-z/._~?=&-]*) HTTP/1\.1", re.ASCII)
# What is nobody's business once the request is answered.
_SECRET: Final = re.compile(rb"authorization|cookie|filedrop|password|token", re.IGNORECASE)


class FamiliarHeads:
    """Remembers fields by the bytes that they were sent as.

    :param limits: what a head may have.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: dict[bytes, Head] = {}

    def read(self, data: bytes) -> Head | None:
        """Return what :class:`HeadReader` would of ``data``, which is a whole head; ``None`` where it has to be asked."""
        found = self.recognise(data)
        if found is None:
            return None
        method, target, known = found
        # All of it by name: to have it worked out from `known` costs as much as half of the rest here.
        return Head(
            method=method,
            target=target,
            version=known.version,
            fields=known.fields,
            host=known.host,
            length=known.length,
            expects_continue=known.expects_continue,
            persistent=known.persistent,
        )

    def recognise(self, data: bytes) -> tuple[bytes, bytes, Head] | None:
        """Return what :meth:`read` would as a method, a target, and a head that is the same in all else."""
        line, _, fields = data.partition(b"\r\n")
        known = self._known.get(fields)
        if known is None or len(data) > self._limits.head or len(line) > self._limits.target:
            return None
        found = _LINE.fullmatch(line)
        return None if found is None else (found[1], found[2], known)

    def note(self, data: bytes, head: Head) -> None:
        """Remember what was read of ``data``, a whole head that brings no body."""
        line, _, fields = data.partition(b"\r\n")
        if len(fields) > LARGEST or _LINE.fullmatch(line) is None or head.length != 0 or _SECRET.search(fields):
            return
        if len(self._known) >= SETS:
            self._known.clear()
        self._known[fields] = head
