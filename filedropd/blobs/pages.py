"""Which bytes of a file the kernel has in memory, and how they get there."""

from __future__ import annotations

import errno
import os
from typing import Final

#: Bytes between two that are asked for: they come and go in larger stretches than that. To touch one is some 10 µs.
STEP: Final = 2 * 1024 * 1024
#: Bytes that one piece of advice is about. The kernel takes no notice of what goes far beyond (force_page_cache_ra
#: in mm/readahead.c).
ADVICE: Final = 128 * 1024

_NOWHERE: Final = "/dev/null"
#: What a file system, or a kernel, answers that does not know how to tell.
_UNKNOWN: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


def resident(file: int, first: int, length: int) -> bool | None:
    """Tell whether these bytes are in memory, as far as can be seen without waiting; ``None``: nothing can be seen.

    :param file: a descriptor.
    :raises OSError: they cannot be read, or end too early.
    """
    last = first + length - 1
    octet = bytearray(1)
    for offset in (*range(first, last, STEP), last):
        try:
            count = os.preadv(file, [octet], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _UNKNOWN:
                return None
            raise
        if not count:
            raise too_short()
    return True


def bring_in(file: int, first: int, length: int) -> None:
    """Read these bytes from the disk into the kernel's memory. It blocks: use it on a thread.

    :raises OSError: they cannot be read, or end too early.
    """
    end = first + length
    for offset in range(first, end, ADVICE):
        os.posix_fadvise(file, offset, min(ADVICE, end - offset), os.POSIX_FADV_WILLNEED)
    nowhere = os.open(_NOWHERE, os.O_WRONLY | os.O_CLOEXEC)
    try:
        # What is sent to nowhere has been read, by the same way as for a socket, and copied nowhere.
        while first < end:
            octets = os.sendfile(nowhere, file, first, end - first)
            if not octets:
                raise too_short()
            first += octets
    finally:
        os.close(nowhere)


def too_short() -> OSError:
    """Return the error of a file that ends before it should."""
    return OSError(errno.EIO, "the file ends too early")
