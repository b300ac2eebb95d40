"""Looking after what was left: status, as it happens, and taking back."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from twisted.web.iweb import IResponse

from filedropd.client.errors import Later, NotADrop, Unreachable, Untrusted
from filedropd.client.resuming import PATIENCE, Patience
from filedropd.client.values import Link, Status, status_of
from filedropd.client.wire import answers
from filedropd.client.wire.connections import Connections, Reach
from filedropd.client.wire.events import Events
from filedropd.client.wire.receiving import Body

_STREAM: Final = "text/event-stream"


async def status(
    url: str,
    owner_token: str,
    *,
    reach: Reach | None = None,
    reactor: Any = None,
    connections: Connections | None = None,
) -> Status:
    """Return where a drop stands, gone or not.

    :param url: its link.
    :param owner_token: as its receipt has it.
    :param connections: to be used and left open, in place of ``reach`` and ``reactor``.
    :raises ClientError: it cannot be told.
    """
    link = Link.parse(url)
    async with _kept(connections, reach, reactor) as open_connections:
        response = await open_connections.request("GET", f"{link.url}/status", _owner(owner_token))
        if response.code != 200:
            raise await answers.refused(response, open_connections.reactor, link.host, owner=True)
        return status_of(await answers.told(response, open_connections.reactor, link.host))


async def revoke(
    url: str,
    owner_token: str,
    *,
    reach: Reach | None = None,
    reactor: Any = None,
    connections: Connections | None = None,
) -> None:
    """Take a drop back: it is gone, and downloads that run are broken off.

    :param connections: to be used and left open, in place of ``reach`` and ``reactor``.
    :raises Gone: it was gone already.
    :raises ClientError: it cannot be taken back.
    """
    link = Link.parse(url)
    async with _kept(connections, reach, reactor) as open_connections:
        response = await open_connections.request("DELETE", link.url, _owner(owner_token))
        if response.code != 204:
            raise await answers.refused(response, open_connections.reactor, link.host, owner=True)


async def watch(
    url: str,
    owner_token: str,
    *,
    patience: float = PATIENCE,
    reach: Reach | None = None,
    reactor: Any = None,
) -> AsyncGenerator[Status, None]:
    """Yield where a drop stands, and again whenever that changes, until it is gone for everybody.

    What breaks is begun anew.  Leave the iteration through :func:`contextlib.aclosing`.

    :param patience: seconds without a word after which it is given up.
    :raises ClientError: it cannot be told, or not any more.
    """
    link = Link.parse(url)
    async with Connections(reach, reactor) as connections:
        clock = connections.reactor
        patient = Patience(clock, patience)
        met = False
        while True:
            try:
                fields = {**_owner(owner_token), "Accept": _STREAM}
                response = await connections.request("GET", f"{link.url}/status", fields)
                if response.code != 200:
                    raise await answers.refused(response, clock, link.host, owner=True)
                last: Status | None = None
                async for last in _stream(response, connections, link.host):
                    met = True
                    patient.progress()
                    yield last
                if last is not None and last.state == "gone":
                    return
                await patient.pause(Unreachable("The server says no more. Try again later."))
            except (Unreachable, Later) as error:
                if not met or isinstance(error, Untrusted):
                    raise
                await patient.pause(error)


async def _stream(response: IResponse, connections: Connections, host: str) -> AsyncIterator[Status]:
    body, events = Body(response, connections.reactor, host), Events()
    try:
        while pieces := await body.take():
            for event in events.feed(b"".join(pieces)):
                if event.name == "status":
                    yield status_of(_parsed(event.data))
    finally:
        body.leave()


def _parsed(data: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise NotADrop from error
    return found if isinstance(found, dict) else {}


def _owner(token: str) -> dict[str, str | bytes]:
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def _kept(
    connections: Connections | None, reach: Reach | None, reactor: Any
) -> AsyncGenerator[Connections, None]:
    if connections is not None:
        yield connections
        return
    async with Connections(reach, reactor) as ours:
        yield ours
