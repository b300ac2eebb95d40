"""What cannot be promised behind nginx: the cases whose promises are not kept there, and why.

Each is run all the same: what is seen must be the limit and nothing else, and there must be no copy too
many.  A limit that is not seen is reported, too, so that none stays here that is none any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from tests.conformance.adapters import Limit

# What is seen, as regular expressions.
_TAKEN_FOR_DONE: Final = "another recipient should be told that it is busy and got 410 "
_NOT_AGAIN: Final = "the first recipient should get all and got 410 "
_GOES_ON: Final = "a running download should be cut and came as all of it$"

_KERNEL: Final = (
    "nginx is done when its kernel has the last byte: what lies in there (`sndbuf`: half a MiB) cannot be told from "
    "what has arrived."
)
_UNSTOPPABLE: Final = "nginx cannot be told to stop sending."

_NEAR_THE_END: Final = Limit(
    "Who breaks off with less than half a MiB to go counts as having all of it: `410` for everybody, itself included.",
    _KERNEL,
    _TAKEN_FOR_DONE,
)
_LAST_BYTE: Final = Limit(
    "Who resets when the last byte is unread does not get it: `410`, and nobody else gets anything.",
    _KERNEL,
    "the first recipient has [0-9,]+ bytes, should get the rest and got 410 ",
)
_AFTER_ALL: Final = Limit(
    "Who has read all and resets is told `410` like everybody else, and cannot have it again.",
    "nginx does not pass on what its client does once its kernel has the last byte.",
    _NOT_AGAIN,
)
_HALF_CLOSED: Final = Limit(
    "Who closes its sending side right after the request gets no answer, and nobody gets the file by that.",
    "nginx takes an early FIN for a client that has left.",
    r"a download came as no answer \(the connection was closed\)$",
)
# How much nginx has taken when its client leaves depends on who was faster: now and then it is a probe.
_NEVER_READ: Final = Limit(
    "Its recipient can have the file at once; others wait for the window (15 minutes) and not for some seconds.",
    "What nginx took for a client that reads nothing is more than the 64 KiB of a probe, and counts as sent.",
    "(not over within 20 s|no answer comes|nothing comes): another recipient still gets 423 ",
    by_chance=True,
)
_READ_AGAIN: Final = Limit(
    "Without the token, what is asked for a second time is `423` as long as the first request for it runs.",
    "How much has arrived of a download that runs is not known: it goes to nginx over a UNIX socket.",
    "what was read is answered again with 423 ",
)
_TAKEN_OVER: Final = Limit(
    "The new request gets what it asks for; the old one is not cut, and goes on to its end for the same recipient.",
    _UNSTOPPABLE,
    _GOES_ON,
)

_BOTH: Final[Mapping[str, Limit]] = {
    "read-again": _READ_AGAIN,
    "abort-99-rst": _NEAR_THE_END,
    "abort-99-fin": _NEAR_THE_END,
    "abort-last-rst": _LAST_BYTE,
    "rst-after-all": _AFTER_ALL,
    "rst-after-quiet": _AFTER_ALL,
    "half-close": _HALF_CLOSED,
    "half-close-and-break": _HALF_CLOSED,
    "never-read": _NEVER_READ,
}

# nginx keeps its connections to the daemon, which waits a minute for a word on the one that it sent on: a next
# request there is one, a next request elsewhere is none.
_BY_CHANCE: Final = ("abort-last-rst", "rst-after-all", "rst-after-quiet")

#: The bytes go from the daemon through nginx.
THROUGH_NGINX: Final[Mapping[str, Limit]] = {
    name: attrs.evolve(limit, by_chance=limit.by_chance or name in _BY_CHANCE) for name, limit in _BOTH.items()
}

#: nginx sends the bytes.
BY_NGINX: Final[Mapping[str, Limit]] = {
    **_BOTH,
    "read-again": attrs.evolve(_READ_AGAIN, why="nginx tells nothing of a download before it is over."),
    "overtaken": _TAKEN_OVER,
    "token-supersedes": _TAKEN_OVER,
    "token-goes-on": _TAKEN_OVER,
    "revoke-meanwhile": Limit(
        "A download that nginx is sending goes on to its end; for everybody else the file is `410`, `revoked`, at once.",
        _UNSTOPPABLE,
        _GOES_ON,
    ),
    "kill-after-all": Limit(
        "Its client cannot have the file again: `410` for everybody.",
        "nginx has noted in its log that all was sent, and the daemon reads it when it starts.",
        _NOT_AGAIN,
    ),
    "expiry-limit": Limit(
        "A download that nginx is sending goes on to its end, however long it takes; nobody else gets the file.",
        _UNSTOPPABLE,
        _GOES_ON,
    ),
}
