"""A request, as Klein expects it, with a body that streams in and an answer whose fate is known."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import datetimeToString, parse_qs
from twisted.web.iweb import IRequest
from zope.interface import implementer

from filedropd.errors import ClientGone, NotFound
from filedropd.http.body import Body
from filedropd.http.fronting import redirect, sends_alike
from filedropd.http.head import Head
from filedropd.http.settling import Settlement, Settling

if TYPE_CHECKING:
    from filedropd.http.interfaces import Connection


@implementer(IRequest)
class Request(server.Request):
    """One request and its answer.

    Beyond ``twisted.web.server.Request`` it has a :attr:`body` that streams, :meth:`send` and
    :meth:`send_file` with back-pressure, :meth:`settle`, :meth:`acknowledged`, :meth:`confirmed` and :meth:`abort`.  ``content`` is not used: nothing is buffered.

    :ivar head: the request as it was read, before ``twisted.web`` made its own of it.
    :ivar body: what follows the head.
    :ivar route: the path with its secrets left out, for logs; whoever routes the request sets it.
    :ivar began: when its head was complete, in seconds of the server's clock.
    """

    # Klein and twisted.web would otherwise guess text/html for an answer that names no type.
    defaultContentType = None

    def __init__(self, channel: Connection, head: Head, body: Body) -> None:
        super().__init__(channel, parsePOSTFormSubmission=False)
        self.head = head
        self.body = body
        self.route = ""
        self.began = channel.http.clock.seconds()
        self._http = channel.http
        self._settling: Settling | None = None
        self._aborted = False
        self._reported = False
        self.method = head.method
        self.uri = head.target
        self.clientproto = head.version
        self.path, _, query = head.target.partition(b"?")
        self.args: dict[bytes, list[bytes]] = parse_qs(query, keep_blank_values=True) if query else {}
        for name, value in head.fields:
            self.requestHeaders.addRawHeader(name, value)

    # -- in ---------------------------------------------------------------------------------------

    def process(self) -> None:
        """Give the request to the application."""
        self.prepath: list[bytes] = []
        self.postpath = [unquote_to_bytes(segment) for segment in self.path[1:].split(b"/")]
        self.responseHeaders.setRawHeaders(b"Date", [datetimeToString()])
        try:
            b"/".join(self.postpath).decode("utf-8")
        except UnicodeDecodeError:
            self.refuse(NotFound())
            return
        if self.path == b"*":
            self.setResponseCode(204)
            self.responseHeaders.setRawHeaders(b"Allow", [b"GET, HEAD, POST, PUT, DELETE"])
            self.finish()
            return
        try:
            self.render(self._http.resource)
        except Exception as error:  # noqa: BLE001 - whatever the application raised, the client gets an answer
            self.refuse(error)

    def getRequestHostname(self) -> bytes:
        """Return the name of the host that the request is for, without its port."""
        host = self.head.host or b"localhost"
        return host.partition(b"]")[0] + b"]" if host.startswith(b"[") else host.partition(b":")[0]

    @property
    def authority(self) -> str:
        """The host, with its port where the client named one, as a link to here begins."""
        if self.head.host:
            return self.head.host.decode("ascii")
        address = self.getHost()
        host = getattr(address, "host", None)
        if host is None:
            return "localhost"
        return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"

    def header(self, name: str) -> str | None:
        """Return a field's value as text, the last one where there are several; ``None`` where there is none.

        Octets that are not UTF-8 come through as surrogates, which nothing valid contains.
        """
        values = self.requestHeaders.getRawHeaders(name.encode("ascii"))
        return values[-1].decode("utf-8", "surrogateescape") if values else None

    def isSecure(self) -> bool:
        """Tell whether the request came under TLS."""
        return bool(super().isSecure())

    # -- out --------------------------------------------------------------------------------------

    async def send(self, data: bytes) -> None:
        """Send a piece of the body; returns when the next one may be sent.

        :raises ClientGone: the connection is lost.
        """
        channel = self._live()
        settling = self._begin_body(channel)
        if data:
            settling.sending(len(data))
            self.write(data)
        await channel.writable()

    @property
    def takes_files(self) -> bool:
        """Whether :meth:`send_file` can be used for the body. The head is ready."""
        channel: Any = self.channel
        if self._disconnected or channel is None or self.method == b"HEAD":
            return False
        return bool(channel.takes_files) and self.responseHeaders.hasHeader(b"Content-Length")

    async def send_file(self, file: int, first: int, length: int) -> None:
        """Let the kernel send a piece of the body: ``length`` bytes of ``file``, a descriptor, from ``first`` on.

        They should be in memory (the kernel's, where it keeps what was read of files): nothing else is
        done while it reads them from a disk.  Returns when the kernel has taken all.

        :raises ClientGone: the connection is lost.
        :raises OSError: the file cannot be read, or ends too early; the connection is to be aborted.
        """
        channel = self._live()
        settling = self._begin_body(channel)

        def sent(octets: int) -> None:
            settling.sending(octets)
            self.sentLength += octets

        if length:
            await channel.send_file(file, first, length, sent)

    async def push(self, data: bytes) -> None:
        """Write a piece of an answer that has no end yet; returns when the next one may be written.

        :raises ClientGone: the connection is lost.
        """
        channel = self._live()
        self.write(data)
        await channel.writable()

    async def settle(self) -> Settlement:
        """Wait until it is known what became of the body, and return it. See :mod:`.settling`.

        Call it when all was sent, or after :meth:`send` or :meth:`abort` broke it off; then, if the
        connection still stands, :meth:`finish`.
        """
        with contextlib.suppress(ClientGone):
            channel = self._live()
            self._begin_body(channel)
            await channel.flushed()
        if self._settling is None:  # not even the head was sent
            return Settlement(acknowledged=0, sent=0, begun=bool(self.startedWriting), complete=False)
        return await self._settling.finish()

    @property
    def fronted(self) -> bool:
        """Whether a server in front of us sends files by itself, and this answer as we would. Its head is ready."""
        return sends_alike(self.requestHeaders, self.code)

    async def hand_over(self, uri: str) -> Settlement:
        """Answer that the server in front of us is to send what it knows as ``uri``, and nothing else.

        :returns: what became of that: ``begun``, ``complete``.
        :raises ClientGone: nothing was sent.
        """
        self._live()
        redirect(self, uri)
        settlement = await self.settle()
        self.finish()
        return settlement

    def acknowledged(self) -> int:
        """Return how many bytes of the body the client's machine has acknowledged by now.

        Of those that were sent so far; once it is settled, what was settled. Nothing before the body
        has begun, and where the kernel does not tell (UNIX sockets).
        """
        return 0 if self._settling is None else self._settling.acknowledged()

    async def confirmed(self) -> bool:
        """Tell whether the client has kept the body that :meth:`settle` called ``quiet``; at once of any other.

        Of a quiet one it waits for what the client does next, a minute at most
        (:data:`~filedropd.http.settling.AFTERMATH`); call :meth:`finish` before, or meanwhile.

        :returns: false if the client resets the connection, or it is lost in some other way; true when
            the client closes in order, asks again, or does nothing, and when it is us who close.
        """
        return self._settling is not None and await self._settling.confirmed()

    def abort(self) -> None:
        """Break the connection off, so that nobody takes what was sent for the whole."""
        self._aborted = True
        channel: Any = getattr(self, "channel", None)  # twisted.web takes it away when the answer is over
        if channel is not None:
            channel.abort()

    def refuse(self, error: Exception) -> None:
        """Answer ``error``; abort where a part of another answer is already out."""
        if self._disconnected or self.finished:
            return
        if self.startedWriting:
            self.abort()
            return
        refusal = self._http.refusal(error)
        self.setResponseCode(refusal.code, refusal.reason)
        for name, values in refusal.headers.getAllRawHeaders():
            self.responseHeaders.setRawHeaders(name, values)
        self.write(refusal.body)
        self.finish()

    def setHeader(self, name: str, value: str) -> None:
        """Set a field of the answer, in place of what it was."""
        self.responseHeaders.setRawHeaders(name, [value])

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer what the application let through."""
        error = reason.value
        self.refuse(error if isinstance(error, Exception) else RuntimeError(type(error).__name__))
        return reason

    def write(self, data: bytes) -> None:
        """Write a piece of the answer; nothing, where there is nobody to read it."""
        if not (self._disconnected or self._aborted):
            super().write(data)

    def finish(self) -> None:
        """End the answer. Does nothing where the client has left: what became of it is known elsewhere."""
        if self._disconnected or self._aborted or self.finished:
            return
        if not self.startedWriting:
            self.write(b"")  # the head
        self._report()
        super().finish()

    def connectionLost(self, reason: Failure) -> None:
        """Tell those who wait for the end of the request that the client has left."""
        self._disconnected = True  # the report says so
        self._report()
        super().connectionLost(reason)

    @property
    def peer(self) -> IAddress:
        """The address at the other end of the connection."""
        address: IAddress = self.client
        return address

    @property
    def disconnected(self) -> bool:
        """Whether the connection is lost."""
        return bool(self._disconnected)

    def _live(self) -> Any:
        channel = None if self._aborted else self.channel
        if self._disconnected or channel is None:
            raise ClientGone
        return channel

    def _begin_body(self, channel: Any) -> Settling:
        if self._settling is None:
            super().write(b"")  # the head
            self._settling = channel.settling()
        return self._settling

    def _report(self) -> None:
        if not self._reported:
            self._reported = True
            self._http.answered(self)
