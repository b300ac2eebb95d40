"""Connections to PostgreSQL: a pool that survives its server.

What txpostgres has for it does not come back by itself.  A connection is made when it is wanted, given up at its
first error of its own, and made anew.
Nothing is ever cancelled: that would block the reactor (``PQcancel``); what takes too long is closed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import psycopg2
from psycopg2.extensions import TransactionRollbackError
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from filedropd.deferreds import Gathering, sleep
from filedropd.errors import FiledropError, InsufficientStorage, Unavailable
from filedropd.records.postgres_connection import ConnectionBroken, Session, connected

T = TypeVar("T")

#: Seconds for which a connection is waited for that others use.
ACQUIRE: Final = 5.0
#: Seconds for which nobody tries to connect after that has failed.
PAUSE: Final = 0.5

#: What a client is told while the database is away.
AWAY: Final = "The service cannot reach its records. Try again in a moment."

_log = Logger()


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
                session.close()
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
            session.close()
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
