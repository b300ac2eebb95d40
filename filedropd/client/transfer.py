"""Leaving files, and fetching them.

    receipt = await upload(Path("report.pdf"), "https://drop.example", downloads=2)
    received = await download(receipt.url, Path("inbox"))

Both need memory for some megabytes, whatever the size of the file, and block nothing. Cancelling them ends them in
order: what was fetched so far can be gone on with, of what was left nothing is kept.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

from filedropd.client.downloads.destinations import Destination, Saved, Streamed, Taker
from filedropd.client.downloads.fetching import Fetch
from filedropd.client.downloads.partial import PartFile
from filedropd.client.errors import Damaged, Exists
from filedropd.client.pace import Pace
from filedropd.client.resuming import PATIENCE, Patience
from filedropd.client.threads import Thread
from filedropd.client.uploads.leaving import Leave, Wanted
from filedropd.client.uploads.sources import Leavable, opened
from filedropd.client.values import Link, Progress, Receipt, Received, Watcher, nobody
from filedropd.client.wire.connections import Connections, Reach

#: Where a download may go: a folder, a file's path, a file open for writing bytes, or a coroutine function that is
#: given each piece.
Target: TypeAlias = "str | Path | IO[bytes] | Taker"


# -- leaving ---------------------------------------------------------------------------------------


async def upload(
    source: Leavable,
    server: str,
    *,
    name: str | None = None,
    password: str | None = None,
    expires: str | None = None,
    downloads: int | None = None,
    digest: bool | None = None,
    progress: Watcher = nobody,
    patience: float = PATIENCE,
    rate: float | None = None,
    reach: Reach | None = None,
    reactor: Any = None,
) -> Receipt:
    """Leave ``source`` with ``server``.

    What can be read again is sent again where the connection breaks; a broken upload leaves nothing. Where only the
    answer is lost, a drop is there of which nobody knows, until its time is over.

    :param source: a path, a file open for reading bytes (from where it stands; it is left open), bytes, or an
        asynchronous iterator of bytes.
    :param server: its address: ``https://drop.example``.
    :param name: what the file is called; by default what ``source`` is.
    :param password: whoever fetches it must show it.
    :param expires: as in ``90s``, ``15m``, ``12h``, ``7d``.
    :param downloads: how many complete copies may be fetched.
    :param digest: compare what the server keeps with what was sent, and have it tell whoever fetches it; by default
        where that costs little: see :meth:`Wanted.asks_digest`.
    :param progress: is told how far it is.
    :param patience: seconds without progress after which it is given up.
    :param rate: bytes a second at most.
    :raises ClientError: it cannot be left.
    """
    wanted = Wanted(server=server, name=name, password=password, expires=expires, downloads=downloads, digest=digest)
    async with Connections(reach, reactor) as connections:
        opened_source = opened(source, connections.reactor)
        try:
            leave = Leave(connections, opened_source, wanted, tell=progress, rate=rate)
            return await leave.insist(Patience(connections.reactor, patience))
        finally:
            await opened_source.close()


# -- fetching --------------------------------------------------------------------------------------


async def download(
    url: str,
    to: Target,
    *,
    password: str | None = None,
    overwrite: bool = False,
    wait: bool = False,
    progress: Watcher = nobody,
    patience: float = PATIENCE,
    rate: float | None = None,
    reach: Reach | None = None,
    reactor: Any = None,
) -> Received:
    """Fetch what is behind ``url``.

    A file is filled as ``NAME.part`` and gets its name when it is whole, verified and on the disk; only then is the
    connection closed in order, which is what tells the server that it was delivered. What breaks is gone on with,
    and what was left half-way by an earlier process, too;
    where all was here already the server is told so, if it can be.

    :param url: the link.
    :param to: a folder (the file is called as the server says, made safe), a file's path, a file open for writing
        bytes (it is left open), or a coroutine function that is given each piece.
    :param password: of the file.
    :param overwrite: a file of that name.
    :param wait: while somebody else is downloading the last copy, instead of raising :class:`Locked`.
    :param progress: is told how far it is.
    :param patience: seconds without progress after which a download that had begun is given up.
    :param rate: bytes a second at most.
    :raises ClientError: it cannot be had. What has arrived in a file stays, to be gone on with.
    """
    link = Link.parse(url)
    async with Connections(reach, reactor) as connections:
        clock = connections.reactor
        fetch = Fetch(
            connections,
            link,
            password=password,
            patience=Patience(clock, patience),
            pace=Pace(clock, rate),
            wait=wait,
            tell=progress,
        )
        async with _destination(fetch, link, to, overwrite=overwrite, reactor=clock) as destination:
            try:
                path = await _brought(fetch, destination, progress)
            except BaseException:
                connections.abort()  # what is not safe here is not to count as delivered
                raise
        claimed = destination.claimed
        return Received(
            path=path,
            name=path.name if path is not None else fetch.name,
            size=destination.done,
            verified=claimed is not None and claimed.digest is not None,
        )


async def _brought(fetch: Fetch, to: Destination, progress: Watcher) -> Path | None:
    """Bring the file to its destination; returns its name there."""
    here = to.whole
    if not here:
        await fetch.pull(to)
    progress(Progress(to.done, to.done))
    try:
        path = await to.finish()
    except Damaged:
        # What an earlier process left, or what came in pieces, may have suffered on the way; once more from the start.
        if not await to.restart():
            raise
        await fetch.pull(to)
        return await to.finish()
    if here:
        await fetch.confirm(to)
    return path


@asynccontextmanager
async def _destination(
    fetch: Fetch, link: Link, to: Target, *, overwrite: bool, reactor: Any
) -> AsyncGenerator[Destination, None]:
    if isinstance(to, (str, Path)):
        destination: Destination = await _saved(fetch, link, Path(to), overwrite=overwrite, reactor=reactor)
    else:
        destination = Streamed(to, reactor)
    try:
        yield destination
    finally:
        await destination.close(keep=fetch.begun)


async def _saved(fetch: Fetch, link: Link, to: Path, *, overwrite: bool, reactor: Any) -> Saved:
    """Return the file into which the download goes, open; nothing is claimed yet.

    :raises Local: it cannot be made there.
    """
    thread = Thread(reactor)
    part: PartFile | None = None
    if not await thread.run(to.is_dir):
        part = PartFile(to)
    try:
        if part is None:
            part = await thread.run(PartFile.find, to, link.key)
        if part is None:
            part = PartFile(to / (await fetch.look()).name)
        if not overwrite:
            await thread.run(_must_be_free, part.target)
        saved = Saved(part, thread, overwrite=overwrite)
        await saved.open(link.key)
    except BaseException:
        await thread.stop(part.close if part is not None else lambda: None)
        raise
    return saved


def _must_be_free(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise Exists(path)
