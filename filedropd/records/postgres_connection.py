"""One connection to PostgreSQL, on txpostgres and psycopg2: the one file that knows txpostgres.

What it lacks is here.  libpq closes its socket by itself, in the middle of any call, when the server has; the
reactor would go on watching a number that by then may be somebody else's connection.  So the reactor is given a
descriptor of our own for the same socket (``dup(2)``), and that is closed when the reactor has let go of it.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import psycopg2
from psycopg2.extensions import parse_dsn
from psycopg2.extras import RealDictCursor
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from txpostgres.txpostgres import Connection, Cursor

from filedropd.deferreds import Happening
from filedropd.records.rows import Row, Value

#: Seconds for which a connection is being made.
CONNECT: Final = 5.0
#: Seconds that the server gives a statement, and a lock; and for which we wait for any answer of its.
STATEMENT: Final = 10.0
LOCK: Final = 5.0
ANSWER: Final = STATEMENT + 2.0
#: What the server is told of that, in the words of its command line.
_LIMITS: Final = (
    f"-c statement_timeout={STATEMENT:.0f}s -c lock_timeout={LOCK:.0f}s -c idle_in_transaction_session_timeout=60s"
)
#: What a connection has unless its URL says otherwise: a name (PGAPPNAME may say otherwise, too), and what
#: tells the kernel to find out, in a minute, that the server's machine is gone; see tcp(7).
_DEFAULTS: Final[Mapping[str, str]] = {
    "fallback_application_name": "filedropd",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}

_NAME: Final = re.compile(r"(?<!:):([a-z_][a-z0-9_]*)")


class ConnectionBroken(Exception):
    """The server, or the way to it, is gone; whether what was under way is committed is not known."""


class Session:
    """One connection, with at most one statement under way."""

    def __init__(self, connection: Watched, clock: IReactorTime) -> None:
        self.connection = connection
        self._clock = clock
        self._patience: float | None = ANSWER

    @contextlib.contextmanager
    def patient(self) -> Iterator[None]:
        """Wait for the answers to what is asked within as long as the connection stands."""
        self._patience = None
        try:
            yield
        finally:
            self._patience = ANSWER

    async def roll_back(self) -> None:
        """Leave no trace of what was begun: where that cannot be said, close the connection, which does it."""
        try:
            await self.execute("ROLLBACK")
        except Exception:  # noqa: BLE001 - what went wrong first is what is told
            self.close()

    async def execute(self, statement: str, values: Mapping[str, Value] | None = None) -> Sequence[Row]:
        """Send one statement and return its rows.

        :raises ConnectionBroken: there is no answer, nor will there be.
        :raises psycopg2.Error: the server refused it.
        """
        return await self._execute(lambda cursor: cursor.mogrify(_positional(statement), _given(values)))

    async def execute_all(self, steps: Iterable[tuple[str, Mapping[str, Value]]]) -> None:
        """Send several statements at once; raises what :meth:`execute` does.

        psycopg2 puts the values in, and PostgreSQL's simple query protocol takes them one after the other.
        """
        await self._execute(
            lambda cursor: b";".join(cursor.mogrify(_positional(text), _given(values)) for text, values in steps)
        )

    async def execute_each(self, steps: Sequence[tuple[str, Mapping[str, Value]]]) -> list[list[Row]]:
        """Send several statements on different rows as one, and return a row for each that one of them returned.

        :raises psycopg2.Error: as :meth:`execute`.
        """

        def text(cursor: Any) -> bytes:
            parts = [cursor.mogrify(_positional(statement), _given(values)) for statement, values in steps]
            named = b", ".join(b"step_%d AS (%b)" % (number, part) for number, part in enumerate(parts))
            all_of_them = b" UNION ALL ".join(b"SELECT %d AS step FROM step_%d" % (n, n) for n in range(len(parts)))
            return b"WITH %b %b" % (named, all_of_them)

        found: list[list[Row]] = [[] for _ in steps]
        for row in await self._execute(text):
            found[row["step"]].append(row)
        return found

    async def _execute(self, text: Callable[[Any], bytes]) -> Sequence[Row]:
        raw = self.connection.pollable().cursor(cursor_factory=RealDictCursor)
        cursor = self.connection.cursorFactory(raw, self.connection)
        timer = None if self._patience is None else self._clock.callLater(self._patience, self.close)
        try:
            await cursor.execute(text(raw))
            rows: Sequence[Row] = cursor.fetchall() if cursor.description is not None else ()
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            if not self.usable:
                self.close()
                raise ConnectionBroken(str(error).strip()) from error
            raise
        except psycopg2.Error:
            raise
        except Exception as error:  # Twisted's and txpostgres's words for a connection that was closed
            if self.usable:
                raise
            self.close()
            raise ConnectionBroken(str(error)) from error
        finally:
            if timer is not None and timer.active():
                timer.cancel()
        return rows

    @property
    def usable(self) -> bool:
        """Whether the connection stands, as far as is known."""
        return not self.connection.pollable().closed

    def close(self) -> None:
        """Close the connection, whatever is under way."""
        self.connection.close()


def _given(values: Mapping[str, Value] | None) -> dict[str, Value] | None:
    return None if values is None else dict(values)


@lru_cache(maxsize=256)
def _positional(statement: str) -> str:
    """Return ``statement`` with its placeholders as psycopg2 has them."""
    return _NAME.sub(r"%(\1)s", statement)


class WatchedCursor(Cursor):  # type: ignore[misc]  # txpostgres has no types
    """A statement under way, which the reactor watches as it does its connection."""

    def fileno(self) -> int:
        """See ``IFileDescriptor``."""
        number: int = self._connection.fileno()
        return number

    def _handleCancellation(self, failure: Failure) -> Failure:
        """Leave an error what it is, where txpostgres takes a statement that was cancelled for one that we cancelled.

        We cancel none: it was the server (``statement_timeout``) or its operator, and whoever asked is there to be told.
        """
        return failure


class Watched(Connection):  # type: ignore[misc]  # likewise
    """A connection that may be lost at any time, whether something is asked of it or not.

    :ivar lost: it is.
    """

    cursorFactory = WatchedCursor

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor=reactor)
        self.lost = Happening()
        self._descriptor = -1
        self._socket = -1  # the inode of the socket that it is of
        self._made = False

    def made(self) -> None:
        """Note that it is made: from now on libpq keeps to one socket."""
        self._made = True

    def fileno(self) -> int:
        """Return the descriptor that the reactor watches."""
        if not self._made:
            self._follow()
        return self._descriptor

    def _follow(self) -> None:
        """Have a descriptor of our own for libpq's socket, of which it may try several."""
        libpq = self.pollable()
        number = -1 if libpq is None or libpq.closed else libpq.fileno()
        if number < 0:
            return
        socket = os.fstat(number).st_ino
        if socket != self._socket:
            self._release()
            self._descriptor, self._socket = os.dup(number), socket

    def _release(self) -> None:
        descriptor, self._descriptor, self._socket = self._descriptor, -1, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _unwatch(self) -> None:
        """Let the reactor let go of it, as long as the number is still the one that it knows."""
        for watched in (self, *self._cursors):
            self.reactor.removeReader(watched)
            self.reactor.removeWriter(watched)

    def continuePolling(self, swallowErrors: bool = False) -> None:
        """Let libpq go on; see txpostgres."""
        if not self._made and self._descriptor >= 0:
            self._made = True  # libpq may change its socket: let go of this one first
            self._unwatch()
            self._made = False
        super().continuePolling(swallowErrors)

    def doRead(self) -> None:
        """See ``IReadDescriptor``."""
        try:
            super().doRead()
        except psycopg2.Error:  # nobody waits for an answer: else he would have been told
            self.close()

    def connectionLost(self, reason: Any) -> None:
        """See ``IReadDescriptor``."""
        super().connectionLost(reason)
        self.lost.happen()

    def close(self) -> None:
        """Close it, whatever is under way. A second call does nothing."""
        self._made = True  # no other socket any more
        if self.pollable() is None:
            return
        if self._descriptor >= 0:
            self._unwatch()
        super().close()
        self._release()


def parameters(url: str) -> dict[str, str]:
    """Return what libpq is given to connect to ``url``: all that it says, and what is ours.

    Of its ``options`` only the limits are not its own: the server takes the last word, which is ours.
    """
    given: dict[str, str] = parse_dsn(url)
    options = " ".join(filter(None, (given.get("options"), _LIMITS)))
    return {**_DEFAULTS, **given, "options": options}


async def connected(reactor: Any, url: str) -> Watched:
    """Return a new connection.

    :raises ConnectionBroken: there is none to be had in time.
    """
    connection = Watched(reactor)
    made = connection.connect(**parameters(url))
    timer = reactor.callLater(CONNECT, connection.close)
    try:
        await made
    except Exception as error:
        connection.close()
        raise ConnectionBroken(str(error).strip() or "it does not answer") from error
    finally:
        if timer.active():
            timer.cancel()
    connection.made()
    return connection
