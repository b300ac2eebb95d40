"""Bytes in a folder: written aside, synced, renamed.

All that touches the disk runs on threads of the store's own; :mod:`filedropd.blobs.journal` says
what is done there, this module in which order and what comes of a failure.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from zope.interface import implementer

from filedropd.blobs.batches import Batches
from filedropd.blobs.incoming import IncomingFile
from filedropd.blobs.journal import Journal
from filedropd.blobs.stored import DiskBlob
from filedropd.blobs.system import SystemCalls
from filedropd.blobs.threads import DiskThreads
from filedropd.deferreds import shielded
from filedropd.errors import FiledropError, InsufficientStorage, Unavailable
from filedropd.interfaces import IBlobs, IIncomingBlob, Unfinished
from filedropd.tokens import Randomness

#: There is no room: on the disk, in a quota, in the largest file that may be made here.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

#: Threads that may delete at once: most are for those who wait for an answer.
_DELETING: Final = 2

#: What is told by a store that is asked whether it can take files.
_FULL: Final = "No files are taken: less room is left on the disk than is to stay free (--reserve)."

T = TypeVar("T")
P = ParamSpec("P")

_log = Logger()


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

    def __init__(self, threads: DiskThreads, file: IncomingFile, target: Path, folder_syncs: Batches[Path]) -> None:
        self.blob = file.path.name
        self.size = 0
        self._threads = threads
        self._file = file
        self._target = target
        self._folder_syncs = folder_syncs
        self._turn = DeferredLock()
        self._failure: FiledropError | None = None

    async def create(self) -> None:
        """Make the file. Nothing stays behind when that fails, or when its caller leaves."""
        try:
            await shielded(self._step("making a file", self._threads.run, self._file.create))
        except BaseException:
            await self.discard()
            raise

    async def keep(self, data: bytes) -> None:
        """Make the file, of all its bytes, and sync it and its folder. Nothing stays behind when that fails."""
        try:
            await shielded(self._keep(data))
        except BaseException:
            await self.discard()
            raise

    async def _keep(self, data: bytes) -> None:
        await self._step("keeping a file", self._threads.run, self._file.keep, data)
        self.size = len(data)
        await self._step("syncing a folder", self._folder_syncs.do, self._file.path.parent)

    async def write(self, data: bytes) -> None:
        """Append ``data``; all that was written before must have returned."""
        await shielded(self._write(data))

    async def _write(self, data: bytes) -> None:
        await self._step("writing a file", self._threads.run, self._file.write, data)
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
            await self._step("writing a file", self._threads.run, self._file.splice, own, size)
        finally:
            os.close(own)
        self.size += size

    async def seal(self) -> None:
        """Sync the file and its folder."""
        await shielded(self._seal())

    async def _seal(self) -> None:
        await self._step("syncing a file", self._threads.run, self._file.seal)
        await self._step("syncing a folder", self._folder_syncs.do, self._file.path.parent)

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

    async def _step(self, doing: str, step: Callable[P, Awaitable[None]], *args: P.args, **kwargs: P.kwargs) -> None:
        async with self._turn:
            if self._failure is not None:
                # The kernel tells of a lost page once; a sync tried again would say that all is well.
                raise self._failure
            try:
                await step(*args, **kwargs)
            except OSError as error:
                self._failure = _for_clients(error, doing)
                raise self._failure from error


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
        self._folder_syncs = Batches(self._threads, self._journal.sync)
        self._deletions = Batches(self._threads, self._journal.delete_all, lanes=_DELETING)
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
        incoming = self._new_blob()
        await incoming.create()
        return incoming

    async def receive_whole(self, data: bytes) -> DiskIncomingBlob:
        """Take a new blob of which all bytes are there, in one trip to a thread.

        :raises InsufficientStorage: there is no room.
        :raises Unavailable: it cannot be kept for another reason.
        """
        incoming = self._new_blob()
        await incoming.keep(data)
        return incoming

    def _new_blob(self) -> DiskIncomingBlob:
        file = self._journal.new_file()
        return DiskIncomingBlob(self._threads, file, self._journal.published(file.path.name), self._folder_syncs)

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
        await shielded(self._deletions.do(blob))

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
