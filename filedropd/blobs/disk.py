"""Bytes in a folder: written aside, synced, renamed.

All that touches the disk runs on threads of the store's own; :mod:`filedropd.blobs.journal` says
what is done there, this module in which order and what comes of a failure.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from filedropd.blobs import pages
from filedropd.blobs.journal import CLOSED, IncomingFile, Journal
from filedropd.blobs.system import SystemCalls
from filedropd.deferreds import Gathering, background, in_thread, shielded
from filedropd.errors import FiledropError, InsufficientStorage, Unavailable
from filedropd.interfaces import IBlob, IBlobs, IIncomingBlob, Unfinished
from filedropd.tokens import Randomness

#: Bytes that are read at a time; up to twice as many are held for each reader.
PIECE = 256 * 1024

#: Bytes that are read while opening, so that a small file is there after one trip to a thread.
HEAD = 64 * 1024

#: How many calls to the disk are under way at once.
THREADS = 8

#: There is no room: on the disk, in a quota, in the largest file that may be made here.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

#: What is told by a store that is asked whether it can take files.
_FULL: Final = "No files are taken: less room is left on the disk than is to stay free (--reserve)."

T = TypeVar("T")
P = ParamSpec("P")

_log = Logger()


class DiskThreads:
    """The store's own threads: a slow disk delays nothing else, and stopping waits for what is under way."""

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._pool: ThreadPool | None = None
        self._under_way = Gathering()

    def start(self) -> None:
        """Take calls from now on."""
        self._pool = ThreadPool(0, THREADS, name="blobs")
        self._pool.start()

    async def stop(self, last: Callable[[], None]) -> None:
        """Take no more calls, let those under way end, run ``last``. A second call does nothing."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        await self._under_way.empty()
        try:
            await in_thread(self._reactor, pool, last)
        finally:
            pool.stop()

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``call`` on a thread and return what it returns.

        Callers shield this: only then does it end when the thread has, and not before.

        :raises Unavailable: the threads are not running.
        """
        if self._pool is None:
            raise Unavailable(CLOSED)
        with self._under_way:
            return await in_thread(self._reactor, self._pool, call, *args, **kwargs)

    async def give_back(self, call: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run a ``call`` that gives something back: on a thread, or at once if the threads have stopped."""
        if self._pool is None:
            call(*args, **kwargs)
        else:
            await self.run(call, *args, **kwargs)


def _for_clients(error: OSError, doing: str, no_room: str = "") -> FiledropError:
    """Return what a client is told of ``error``; what it says itself is for the log alone."""
    _log.error("{doing} failed: {reason}", doing=doing, reason=str(error))
    if error.errno in _NO_ROOM:
        return InsufficientStorage(no_room)
    return Unavailable("Files cannot be kept or fetched here now. Try again later.")


@implementer(IIncomingBlob)
class DiskIncomingBlob:
    """The bytes of an upload, on their way to the disk.

    One call reaches the disk at a time.  A call whose caller has left still runs to its end, and the
    next one waits for it: nothing is ever written through the number of a descriptor that is closed,
    which by then may be another file's.
    """

    def __init__(self, threads: DiskThreads, file: IncomingFile, target: Path) -> None:
        self.blob = file.path.name
        self.size = 0
        self._threads = threads
        self._file = file
        self._target = target
        self._turn = DeferredLock()
        self._failure: FiledropError | None = None

    async def create(self) -> None:
        """Make the file. Nothing stays behind when that fails, or when its caller leaves."""
        try:
            await shielded(self._step("making a file", self._file.create))
        except BaseException:
            await self.discard()
            raise

    async def write(self, data: bytes) -> None:
        """Append ``data``; all that was written before must have returned."""
        await shielded(self._write(data))

    async def _write(self, data: bytes) -> None:
        await self._step("writing a file", self._file.write, data)
        self.size += len(data)

    async def splice(self, pipe: int, size: int) -> None:
        """Append ``size`` bytes that are in ``pipe``; all that was written before must have returned."""
        await shielded(self._splice(pipe, size))

    async def _splice(self, pipe: int, size: int) -> None:
        # A caller that leaves may close his pipe: the thread reads from a descriptor of its own.
        try:
            own = os.dup(pipe)
        except OSError as error:
            raise _for_clients(error, "writing a file") from error
        try:
            await self._step("writing a file", self._file.splice, own, size)
        finally:
            os.close(own)
        self.size += size

    async def seal(self) -> None:
        """Sync the file and its folder."""
        await shielded(self._step("syncing a file", self._file.seal))

    async def publish(self) -> None:
        """Rename the file to where ``open`` looks. It may be tried again when it fails.

        :raises Unavailable: it was not renamed.
        :raises InsufficientStorage: nor was there room for the name.
        """
        await shielded(self._publish())

    async def _publish(self) -> None:
        async with self._turn:
            if self._failure is not None:
                raise self._failure
            try:
                await self._threads.run(self._file.publish, self._target)
            except OSError as error:
                raise _for_clients(error, "publishing a file") from error

    async def discard(self) -> None:
        """Close and delete the file. It may be tried again when it fails.

        :raises Unavailable: it is still there.
        """
        await shielded(self._discard())

    async def _discard(self) -> None:
        async with self._turn:
            try:
                await self._threads.give_back(self._file.discard)
            except OSError as error:
                raise _for_clients(error, "discarding a file") from error

    async def _step(self, doing: str, call: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        async with self._turn:
            if self._failure is not None:
                # The kernel tells of a lost page once; a sync tried again would say that all is well.
                raise self._failure
            try:
                await self._threads.run(call, *args, **kwargs)
            except OSError as error:
                self._failure = _for_clients(error, doing)
                raise self._failure from error


@implementer(IBlob)
class DiskBlob:
    """A published file, open for reading: its bytes stay, even when its name is gone."""

    def __init__(self, threads: DiskThreads) -> None:
        self.size = 0
        self._threads = threads
        self._fd: int | None = None
        self._head = b""
        self._users = 0
        self._closed = False

    async def load(self, path: Path) -> None:
        """Open ``path`` and read its head. Nothing stays open when that fails, or when its caller leaves."""
        try:
            await shielded(self._using(self._load, path))
        except BaseException:
            self.close()
            raise

    def _load(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self.size = os.fstat(self._fd).st_size
        self._head = os.pread(self._fd, HEAD, 0)

    @property
    def descriptor(self) -> int | None:
        """The file's descriptor; ``None`` once it is closed."""
        return None if self._closed else self._fd

    async def ready(self, first: int, length: int) -> None:
        """Return when these bytes are in the kernel's memory: at once where they are, after a trip to a thread where not."""
        self._check(first, length)
        if length and self._fd is not None and not pages.resident(self._fd, first, length):
            await shielded(self._using(self._bring_in, first, length))

    def _bring_in(self, first: int, length: int) -> None:
        pages.bring_in(self._open_fd(), first, length)

    async def read(self, first: int, length: int) -> AsyncGenerator[bytes, None]:
        """Iterate over ``length`` bytes from ``first``; the next piece is read while one is consumed.

        It may be left at any point: nothing is waited for then, and nothing is left behind.
        """
        self._check(first, length)
        end = first + length
        # Many downloads are one piece that starts at 0. Who reads on has no more use for the head.
        head, self._head = self._head, b""
        piece = head[first:end]
        first += len(piece)
        ahead = self._fetch(first, end)
        try:
            if piece:
                yield piece
            while ahead is not None:
                waiting, ahead = ahead, None
                piece = await waiting
                first += len(piece)
                ahead = self._fetch(first, end)
                yield piece
        finally:
            # No await here: a generator that is dropped unfinished gets no turn to wait in.
            if ahead is not None:
                ahead.addErrback(lambda _: None)

    def _check(self, first: int, length: int) -> None:
        """Return if these bytes are in the file, and it is open."""
        if first < 0 or length < 0:
            raise ValueError("a range of bytes is not negative")
        if first + length > self.size or self._closed:
            raise OSError(errno.EIO, "the blob is closed" if self._closed else "the range ends behind the file")

    def _fetch(self, first: int, end: int) -> Deferred[bytes] | None:
        if first == end:
            return None
        return shielded(self._using(self._pread, first, min(PIECE, end - first)))

    def _pread(self, first: int, length: int) -> bytes:
        file = self._open_fd()
        data = os.pread(file, length, first)
        while len(data) < length:
            more = os.pread(file, length - len(data), first + len(data))
            if not more:
                raise pages.too_short()
            data += more
        return data

    def _open_fd(self) -> int:
        if self._fd is None:
            raise OSError(errno.EBADF, "the blob is closed")
        return self._fd

    def close(self) -> None:
        """Close the file, once no thread reads it any more. A second call does nothing."""
        self._closed = True
        self._head = b""
        self._close_unused()

    async def _using(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self._users += 1
        try:
            return await self._threads.run(call, *args, **kwargs)
        finally:
            self._users -= 1
            self._close_unused()

    def _close_unused(self) -> None:
        if self._closed and self._users == 0 and self._fd is not None:
            fd, self._fd = self._fd, None
            # On a thread: closing the last descriptor of a deleted file frees its blocks.
            background(self._threads.give_back(os.close, fd), "closing a file")


@implementer(IBlobs)
class DiskBlobs:
    """Blobs in the folder ``root``, which several daemons may share.

    :param reactor: brings back the results of threads.
    :param root: the folder that holds ``blobs/`` and ``incoming/``; made where it is missing.
    :param durable: whether a sealed upload survives a power cut; ``False`` saves every sync.
    :param reserve: bytes of the disk that uploads leave free; ``None``: a twentieth of it, at most 1 GiB.
    :param randomness: names blobs, and the daemon's own folder where it has no name.
    :param daemon: the daemon's name, which no other has or had.
    :param calls: what is asked of the system.
    """

    def __init__(
        self,
        reactor: IReactorFromThreads,
        root: Path,
        *,
        durable: bool = True,
        reserve: int | None = None,
        randomness: Randomness = secrets.token_bytes,
        daemon: str = "",
        calls: SystemCalls | None = None,
    ) -> None:
        calls = calls or SystemCalls()
        self._threads = DiskThreads(reactor)
        calls = calls if durable else calls.unsynced()
        self._journal = Journal(root, calls, randomness, reserve, daemon)
        self._recovery = DeferredLock()

    async def open_store(self) -> None:
        """Make and lock what is needed.

        :raises StoreUnusable: it cannot be used; says why.
        """
        self._threads.start()
        try:
            await shielded(self._threads.run(self._journal.open))
        except BaseException:
            await self.close_store()
            raise

    async def close_store(self) -> None:
        """Wait for what is under way, then give back the daemon's folder and all locks."""
        await shielded(self._threads.stop(self._journal.close))

    async def ping(self) -> None:
        """Make a small file, sync and delete it.

        :raises Unavailable: that failed.
        :raises InsufficientStorage: less room is left than is to stay free.
        """
        try:
            await shielded(self._threads.run(self._journal.try_out))
        except OSError as error:
            raise _for_clients(error, "trying to write", _FULL) from error

    async def receive(self) -> DiskIncomingBlob:
        """Begin a new blob.

        :raises InsufficientStorage: there is no room.
        :raises Unavailable: it cannot be begun for another reason.
        """
        file = self._journal.new_file()
        incoming = DiskIncomingBlob(self._threads, file, self._journal.published(file.path.name))
        await incoming.create()
        return incoming

    async def open(self, blob: str) -> DiskBlob:
        """Open a published blob and read its first bytes, in one go.

        :raises FileNotFoundError: there is none of that name.
        :raises Unavailable: there is, but it cannot be opened.
        """
        stored = DiskBlob(self._threads)
        try:
            await stored.load(self._journal.published(blob))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _for_clients(error, "opening a file") from error
        return stored

    async def delete(self, blob: str) -> None:
        """Delete a published blob; it stays deleted after a power cut.

        :raises OSError: it may still be there.
        """
        await shielded(self._threads.run(self._journal.delete, blob))

    async def unfinished(self) -> Unfinished:
        """Return what dead daemons left, and hold it against other daemons until it is settled.

        :raises OSError: the folders cannot be read.
        """
        return await shielded(self._recover(self._journal.unfinished))

    async def finish(self, blob: str) -> None:
        """Publish an unfinished blob. To finish what is published is success.

        :raises FileNotFoundError: it is neither unfinished nor published.
        :raises OSError: it is still unfinished.
        """
        await shielded(self._recover(self._journal.finish, blob))

    async def abandon(self, blob: str) -> None:
        """Delete an unfinished blob. To abandon what is absent is success.

        :raises OSError: it is still there.
        """
        await shielded(self._recover(self._journal.abandon, blob))

    async def _recover(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        async with self._recovery:
            return await self._threads.run(call, *args, **kwargs)
