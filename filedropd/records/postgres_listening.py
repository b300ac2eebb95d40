"""What other daemons tell, heard on a connection of its own.

See https://www.postgresql.org/docs/current/sql-listen.html: what is told while nobody listens is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import psycopg2
from twisted.logger import Logger

from filedropd.deferreds import Happening, background
from filedropd.records import sql
from filedropd.records.postgres_connection import ConnectionBroken, Session, connected

#: Seconds until it is tried again to connect.
AGAIN: Final = 1.0

_log = Logger()


class Listening:
    """Hears what is told, on a connection that is made anew when it is lost.

    :param url: as libpq takes it.
    :param heard: called with each word.
    :param missed: called when it listens again after it had not for a while.
    """

    def __init__(self, reactor: Any, url: str, heard: Callable[[str], None], missed: Callable[[], None]) -> None:
        self._reactor = reactor
        self._url = url
        self._heard = heard
        self._missed = missed
        self._session: Session | None = None
        self._closed = False
        self._tried = Happening()
        self._stopping = Happening()
        self._stopped = Happening()

    async def start(self) -> None:
        """Begin; returns when it listens, or has tried to."""
        background(self._listen(), "listening to other daemons")
        await self._tried.wait()

    async def stop(self) -> None:
        """Hear nothing any more."""
        self._closed = True
        self._stopping.happen()
        self._close()
        await self._stopped.wait()

    def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    async def _listen(self) -> None:
        try:
            listened = over = False
            while not over:
                lost = await self._connected()
                self._tried.happen()
                if lost is not None:
                    if listened:
                        self._missed()
                    listened = True
                    await lost.wait()
                    self._close()
                over = await self._stopping.within(self._reactor, 0 if lost is not None else AGAIN)
        finally:
            self._tried.happen()
            self._stopped.happen()

    async def _connected(self) -> Happening | None:
        """Connect and listen; returns what tells that this is over, or ``None`` where it cannot be had now."""
        try:
            connection = await connected(self._reactor, self._url)
            connection.addNotifyObserver(lambda notification: self._heard(notification.payload))
            self._session = Session(connection, self._reactor)
            await self._session.execute(sql.LISTEN)
            if self._closed:
                connection.close()
        except (ConnectionBroken, psycopg2.Error) as error:
            self._close()
            _log.debug("other daemons cannot be heard: {error}", error=str(error).strip())
            return None
        return connection.lost
