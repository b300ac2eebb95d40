"""Kill a process as it enters its n-th system call of a name, counted over all of its threads.

``strace -e inject=…:signal=SIGKILL:when=N`` counts the calls of each thread on their own.  A pool of threads gives its work to whichever thread is idle, so with that most points could be met
by chance only.  This counts them as the process makes them, with ptrace(2); the call at which it kills
is not made any more.

As a program (:func:`main`), because only the thread that attached may ask: it is started by
:mod:`tests.crash_calls`, says ``attached`` when it is, and then each call's name as it is entered.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import sys
from pathlib import Path
from typing import Final

#: By the kernel's own tables (asm/unistd_64.h, asm-generic/unistd.h): what changes the disk, or tells somebody something.
CALLS: Final[dict[str, dict[int, str]]] = {
    "x86_64": {
        1: "write",
        18: "pwrite64",
        20: "writev",
        44: "sendto",
        46: "sendmsg",
        74: "fsync",
        75: "fdatasync",
        77: "ftruncate",
        82: "rename",
        83: "mkdir",
        84: "rmdir",
        87: "unlink",
        258: "mkdirat",
        263: "unlinkat",
        264: "renameat",
        316: "renameat2",
    },
    "aarch64": {
        34: "mkdirat",
        35: "unlinkat",
        38: "renameat",
        46: "ftruncate",
        64: "write",
        66: "writev",
        68: "pwrite64",
        82: "fsync",
        83: "fdatasync",
        206: "sendto",
        211: "sendmsg",
        276: "renameat2",
    },
}
# linux/ptrace.h
_DETACH, _SYSCALL, _SEIZE, _INTERRUPT, _SYSCALL_INFO = 17, 24, 0x4206, 0x4207, 0x420E
_SYSGOOD, _CLONE = 1, 8
_WALL = 0x40000000
_SYSCALL_STOP = signal.SIGTRAP | 0x80
_ENTRY = 1
_NUMBER = slice(24, 32)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, thread: int, address: int = 0, data: int = 0) -> None:
    if _libc.ptrace(request, thread, address, data) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _entered(thread: int) -> int | None:
    """Return the number of the call that a stopped thread enters; ``None`` where it returns from one."""
    info = ctypes.create_string_buffer(88)
    _ptrace(_SYSCALL_INFO, thread, len(info), ctypes.addressof(info))
    return int.from_bytes(info.raw[_NUMBER], sys.byteorder) if info.raw[0] == _ENTRY else None


class Tracer:
    """Follows one process.

    :param calls: the names of those that count, by number.
    :param at: the count at which it is killed; 0 for never.
    """

    def __init__(self, process: int, calls: dict[int, str], at: int) -> None:
        self._process = process
        self._calls = calls
        self._at = at
        self._count = 0
        self._threads: set[int] = set()
        self._leaving = False

    def attach(self) -> None:
        """Follow all threads, and those that they make.

        :raises OSError: that is not permitted.
        """
        for path in Path(f"/proc/{self._process}/task").iterdir():
            thread = int(path.name)
            _ptrace(_SEIZE, thread, 0, _SYSGOOD | _CLONE)
            _ptrace(_INTERRUPT, thread)
            self._threads.add(thread)

    def leave(self, *_: object) -> None:
        """Let go, at the next stop of each thread: whom a tracer leaves by ending may die of its SIGTRAP."""
        self._leaving = True
        for thread in self._threads:
            with contextlib.suppress(ProcessLookupError):
                _ptrace(_INTERRUPT, thread)

    def run(self) -> None:
        """Count, until the process ends or is left."""
        while self._threads:
            thread, status = os.waitpid(-1, _WALL)
            self._threads.add(thread)
            if not os.WIFSTOPPED(status):
                self._threads.discard(thread)
                continue
            with contextlib.suppress(ProcessLookupError):  # it was killed meanwhile
                self._go_on(thread, status)

    def _go_on(self, thread: int, status: int) -> None:
        stopped, event = os.WSTOPSIG(status), status >> 16
        passed = 0 if event or stopped == _SYSCALL_STOP else stopped
        if self._leaving:
            self._threads.discard(thread)
            _ptrace(_DETACH, thread, 0, passed)
            return
        if stopped == _SYSCALL_STOP:
            self._note(_entered(thread))
        _ptrace(_SYSCALL, thread, 0, passed)

    def _note(self, call: int | None) -> None:
        if call not in self._calls:
            return
        self._count += 1
        if self._count == self._at:
            os.kill(self._process, signal.SIGKILL)
        if not self._at or self._count <= self._at:
            _say(self._calls[call])


def _say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main() -> None:
    """Follow the process that is the first argument, of the calls named by the others, and kill it at the second.

    The second is a number, or 0 for not at all.
    """
    process, at, *names = sys.argv[1:]
    calls = {number: name for number, name in CALLS[platform.machine()].items() if name in names}
    tracer = Tracer(int(process), calls, int(at))
    tracer.attach()
    signal.signal(signal.SIGTERM, tracer.leave)
    _say("attached")
    tracer.run()


if __name__ == "__main__":
    main()
