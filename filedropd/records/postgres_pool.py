"""Connections to PostgreSQL: a pool that survives its server, on txpostgres and psycopg2.

txpostgres gives connections that do not block; the rest is ours, since what it has for it does not come
back by itself.  A connection is made when it is wanted, given up at its first error of its own, and made anew.
Nothing is ever cancelled: that would block the reactor (``PQcancel``); what takes too long is closed.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

import psycopg2
from psycopg2.extensions import TransactionRollbackError
from psycopg2.extras import RealDictCursor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from txpostgres.txpostgres import Connection

from filedropd.deferreds import Gathering, Happening, sleep
from filedropd.errors import FiledropError, InsufficientStorage, Unavailable
from filedropd.records.rows import Row, Value

T = TypeVar("T")

#: Seconds for which a connection is waited for that others use, and for which one is being made.
ACQUIRE: Final = 5.0
CONNECT: Final = 5.0
#: Seconds that the server gives a statement, and a lock; and for which we wait for any answer of its.
STATEMENT: Final = 10.0
LOCK: Final = 5.0
ANSWER: Final = STATEMENT + 2.0
#: What tells the kernel to find out, in a minute, that the server's machine is gone; see tcp(7).
_KEEP_ALIVE: Final[Mapping[str, int]] = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
#: Seconds for which nobody tries to connect after that has failed.
PAUSE: Final = 0.5

_NAME: Final = re.compile(r"(?<!:):([a-z_]+)")

#: What a client is told while the database is away.
AWAY: Final = "The service cannot reach its records. Try again in a moment."

_log = Logger()


class ConnectionBroken(Exception):
    """The server, or the way to it, is gone; whether what was under way is committed is not known."""


class Session:
    """One connection, with at most one statement under way."""

    def __init__(self, connection: QuietConnection, clock: IReactorTime) -> None:
        self.connection = connection
        self._clock = clock

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
        timer = self._clock.callLater(ANSWER, self.close)
        try:
            await cursor.execute(text(raw))
            rows: Sequence[Row] = cursor.fetchall() if cursor.description is not None else ()
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            if not self.usable:
                raise ConnectionBroken(str(error).strip()) from error
            raise
        except psycopg2.Error:
            raise
        except Exception as error:  # Twisted's and txpostgres's words for a connection that was closed
            if self.usable:
                raise
            raise ConnectionBroken(str(error)) from error
        finally:
            if timer.active():
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


class Pool:
    """At most ``size`` sessions.

    :param url: as libpq takes it.
    :ivar away: the server cannot be reached, as far as is known.
    """

    def __init__(self, reactor: Any, url: str, size: int) -> None:
        self._reactor = reactor
        self._url = url
        self._size = size
        self._idle: list[Session] = []
        self._open = 0
        self._waiting: deque[Deferred[None]] = deque()
        self._closed = True
        self._runs = Gathering()
        self._failed_at = float("-inf")
        self.away = False

    def start(self) -> None:
        """Let sessions be made."""
        self._closed = False

    async def stop(self) -> None:
        """Let every call that was made before end, and close all sessions."""
        self._closed = True
        await self._runs.empty()
        await sleep(self._reactor, 0)  # whoever waits for the last of them knows by then
        for session in self._idle:
            session.close()
        self._idle.clear()
        self._open = 0

    async def run(self, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        """Do ``work`` with a session of its own.

        :raises Unavailable: the server is away, or all sessions are in use for too long.
        """
        if self._closed:
            raise Unavailable(AWAY)
        with self._runs:
            session = await self._acquire()
            try:
                result = await work(session)
            except ConnectionBroken as error:
                self._note_away(str(error))
                raise Unavailable(AWAY) from error
            finally:
                self._release(session)
            self._note_back()
            return result

    async def _acquire(self) -> Session:
        until = self._reactor.seconds() + ACQUIRE
        while True:
            while self._idle:
                session = self._idle.pop()
                if session.usable:
                    return session
                self._open -= 1
            if self._open < self._size:
                return await self._connect()
            if not await self._come_back(until - self._reactor.seconds()):
                raise Unavailable

    async def _connect(self) -> Session:
        if self._reactor.seconds() < self._failed_at + PAUSE:
            raise Unavailable(AWAY)
        self._open += 1
        try:
            return Session(await connected(self._reactor, self._url), self._reactor)
        except BaseException as error:
            self._open -= 1
            self._wake()
            if isinstance(error, ConnectionBroken):
                self._failed_at = self._reactor.seconds()
                self._note_away(str(error))
                raise Unavailable(AWAY) from error
            raise

    def _release(self, session: Session) -> None:
        if session.usable:
            self._idle.append(session)
        else:
            self._open -= 1
        self._wake()

    async def _come_back(self, seconds: float) -> bool:
        """Wait for a session that somebody uses to come back; tell whether one did."""
        waiter: Deferred[None] = Deferred()
        self._waiting.append(waiter)
        timer = self._reactor.callLater(max(0.0, seconds), self._give_up, waiter)
        await waiter
        in_time: bool = timer.active()
        if in_time:
            timer.cancel()
        return in_time

    def _give_up(self, waiter: Deferred[None]) -> None:
        self._waiting.remove(waiter)
        waiter.callback(None)

    def _wake(self) -> None:
        if self._waiting:
            self._waiting.popleft().callback(None)

    def _note_away(self, reason: str) -> None:
        if not self.away:
            self.away = True
            _log.error("the database is away: {reason}", reason=reason.strip())

    def _note_back(self) -> None:
        if self.away:
            self.away = False
            _log.info("the database is back")


class QuietConnection(Connection):  # type: ignore[misc]  # txpostgres has no types
    """A connection that may be lost while nothing is asked of it: that is no error, but the end of it.

    :ivar lost: it is.
    """

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor=reactor)
        self.lost = Happening()

    def doRead(self) -> None:
        """See ``IReadDescriptor``."""
        try:
            super().doRead()
        except (psycopg2.Error, ValueError):
            # Nobody waits for an answer: else he would have been told.  libpq may have closed the socket by then, and
            # what has no number cannot be given back to the reactor: ValueError.
            self.close()

    def connectionLost(self, reason: Any) -> None:
        """See ``IReadDescriptor``."""
        super().connectionLost(reason)
        self.lost.happen()


async def connected(reactor: Any, url: str) -> QuietConnection:
    """Return a new connection.

    :raises ConnectionBroken: there is none to be had in time.
    """
    connection = QuietConnection(reactor)
    options = (
        f"-c statement_timeout={STATEMENT:.0f}s -c lock_timeout={LOCK:.0f}s -c idle_in_transaction_session_timeout=60s"
    )
    made = connection.connect(url, options=options, application_name="filedropd", **_KEEP_ALIVE)
    timer = reactor.callLater(CONNECT, _abandon, connection)
    try:
        await made
    except Exception as error:
        raise ConnectionBroken(str(error).strip() or "it does not answer") from error
    finally:
        if timer.active():
            timer.cancel()
    return connection


def _abandon(connection: Connection) -> None:
    if connection.pollable() is not None:
        connection.close()


def for_clients(error: psycopg2.Error) -> FiledropError | None:
    """Return what a client is told of ``error``, or ``None`` where it is a bug."""
    code = error.pgcode or ""
    # https://www.postgresql.org/docs/current/errcodes-appendix.html: disk full; resources, operator, system.
    if code == "53100":
        return InsufficientStorage(
            "There is no room to make a note of this, and nothing is done without. Try again later."
        )
    passing = code[:2] in {"53", "57", "58", "08"} or code in {"55P03", "25006", "25P03"}
    return Unavailable(AWAY) if passing or isinstance(error, TransactionRollbackError) else None
