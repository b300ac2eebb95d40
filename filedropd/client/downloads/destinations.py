"""Where a download goes: into a file under its own name, or piece by piece to whoever wants it."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias

from filedropd.client.downloads.notes import Claimed
from filedropd.client.downloads.partial import PartFile
from filedropd.client.errors import Damaged, Local
from filedropd.client.threads import Thread

#: Takes a piece; the next one comes when it has.
Taker: TypeAlias = Callable[[bytes], Awaitable[None]]


class Destination(Protocol):
    """Takes the bytes of one file, in order.

    :ivar claimed: what is known of it; ``None`` until it is claimed.
    :ivar done: how many of its bytes are here.
    :ivar whole: whether all were here before anything was asked for.
    """

    whole: bool

    @property
    def claimed(self) -> Claimed | None:
        """See above."""

    @property
    def done(self) -> int:
        """See above."""

    async def remember(self, claimed: Claimed) -> None:
        """Keep what is known, as durably as the bytes."""

    async def write(self, pieces: Sequence[bytes]) -> None:
        """Take some more bytes, at least one.

        :raises Local: they cannot be kept.
        """

    async def finish(self) -> Path | None:
        """Check that all is here, and give it its name; returns that.

        :raises Damaged: it is not what it should be.
        :raises Local: it cannot be kept.
        """

    async def restart(self) -> bool:
        """Throw away what is here; returns whether that can be done."""

    async def close(self, *, keep: bool) -> None:
        """Let go. The last call.

        :param keep: what is here may be gone on with.
        """


class Saved:
    """Into a file: see :mod:`filedropd.client.downloads.partial`.

    :param overwrite: whatever has its name then.
    """

    def __init__(self, part: PartFile, thread: Thread, *, overwrite: bool) -> None:
        self._part = part
        self._thread = thread
        self._overwrite = overwrite
        self.whole = False

    @property
    def claimed(self) -> Claimed | None:
        """See Destination."""
        return self._part.claimed

    @property
    def done(self) -> int:
        """See Destination."""
        return self._part.done

    async def open(self, link: str) -> None:
        """See :meth:`PartFile.open`."""
        await self._thread.run(self._part.open, link)
        self.whole = self.claimed is not None and 0 < self.done == self.claimed.size

    async def remember(self, claimed: Claimed) -> None:
        """See Destination."""
        await self._thread.run(self._part.remember, claimed)

    async def write(self, pieces: Sequence[bytes]) -> None:
        """See Destination."""
        hashing = self.claimed is not None and self.claimed.digest is not None
        await self._thread.run(self._part.write, pieces, hashing=hashing)

    async def finish(self) -> Path | None:
        """See Destination."""
        await self._thread.run(self._part.check)
        return await self._thread.run(self._part.publish, overwrite=self._overwrite)

    async def restart(self) -> bool:
        """See Destination."""
        self.whole = False
        await self._thread.run(self._part.restart)
        return True

    async def close(self, *, keep: bool) -> None:
        """See Destination."""
        if not keep:
            await self._thread.run(self._part.discard)
        await self._thread.stop(self._part.close)


class Streamed:
    """To a file that is open for writing, or to a coroutine function.

    :param to: it; a file stays open.
    """

    whole = False

    def __init__(self, to: IO[bytes] | Taker, reactor: Any) -> None:
        self.claimed: Claimed | None = None
        self.done = 0
        self._to = to
        self._thread = Thread(reactor)
        self._hash = hashlib.sha256()

    async def remember(self, claimed: Claimed) -> None:
        """See Destination."""
        self.claimed = claimed

    async def write(self, pieces: Sequence[bytes]) -> None:
        """See Destination."""
        to = self._to
        for piece in pieces:
            if callable(to):
                await to(piece)
                self._hash.update(piece)
            else:
                await self._thread.run(self._write, to, piece)
            self.done += len(piece)

    def _write(self, to: IO[bytes], piece: bytes) -> None:
        view = memoryview(piece)
        try:
            while view:
                view = view[to.write(view) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Local(f"The output cannot be written: {error.strerror}.") from error
        self._hash.update(piece)

    async def finish(self) -> Path | None:
        """See Destination."""
        if self.claimed is None or self.done != self.claimed.size:
            raise Damaged
        if self.claimed.digest not in {None, self._hash.hexdigest()}:
            raise Damaged("What arrived is not what was sent: its digest is another one. Do not use it.")
        if not callable(self._to):
            await self._thread.run(self._to.flush)
        return None

    async def restart(self) -> bool:
        """See Destination."""
        return not self.done

    async def close(self, *, keep: bool) -> None:
        """See Destination."""
        await self._thread.stop()
