"""Leaving files with filedropd, fetching them, and looking after them: the library, on treq.

Everything is ``async def`` and runs on Twisted's reactor. ``docs/client.md`` has examples.
``filedrop``, the command, is :mod:`filedropd.client.command`.
"""

from filedropd.client.errors import (
    ClientError,
    Damaged,
    Exists,
    Gone,
    InTheWay,
    Later,
    Local,
    Locked,
    NoRoom,
    NotADrop,
    NotFound,
    NotReadable,
    OwnerRequired,
    PasswordRequired,
    Redirected,
    Refused,
    Stalled,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    Unreachable,
    Untrusted,
)
from filedropd.client.owning import revoke, status, watch
from filedropd.client.transfer import download, upload
from filedropd.client.values import Event, Progress, Receipt, Received, Status
from filedropd.client.wire.connections import Reach

__all__ = [
    "ClientError",
    "Damaged",
    "Event",
    "Exists",
    "Gone",
    "InTheWay",
    "Later",
    "Local",
    "Locked",
    "NoRoom",
    "NotADrop",
    "NotFound",
    "NotReadable",
    "OwnerRequired",
    "PasswordRequired",
    "Progress",
    "Reach",
    "Receipt",
    "Received",
    "Redirected",
    "Refused",
    "Stalled",
    "Status",
    "TooLarge",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "Unreachable",
    "Untrusted",
    "download",
    "revoke",
    "status",
    "upload",
    "watch",
]
