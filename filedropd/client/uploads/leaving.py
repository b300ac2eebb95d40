"""One upload: the file goes out, as often as it takes, and what is kept of it is compared."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlsplit

import attrs
from twisted.web.iweb import IResponse

from filedropd.client.errors import Damaged, Later, Local, NoRoom, NotADrop, Unreachable, Untrusted
from filedropd.client.owning import revoke
from filedropd.client.pace import Pace
from filedropd.client.resuming import Patience
from filedropd.client.uploads.sending import Outgoing
from filedropd.client.uploads.sources import Source
from filedropd.client.values import Link, Progress, Receipt, Watcher, moment
from filedropd.client.wire import answers, digests, naming
from filedropd.client.wire.connections import Connections

#: Bytes of which the digest costs nobody anything to speak of.
CHEAP: Final = 64 * 1024 * 1024

_JSON: Final = "application/json"


def fitting(password: str | None) -> str | None:
    """Return a password, if there is one, that can be said in a header field.

    :raises Local: it cannot.
    """
    if password is not None and (password != password.strip() or not password.isprintable() or not password):
        raise Local("A password may not be empty, begin or end with a space, or hold control characters.")
    return password


@attrs.frozen(kw_only=True)
class Wanted:
    """How a file is to be left.

    :ivar server: with whom: an address.
    :ivar name: what it is called, in place of its own name.
    :ivar password: whoever fetches it must show it.
    :ivar expires: as in ``90s``, ``15m``, ``12h``, ``7d``.
    :ivar downloads: how many complete copies may be fetched.
    :ivar digest: whether what is kept is compared with what was sent; see :meth:`asks_digest`.
    """

    server: str
    name: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    expires: str | None = None
    downloads: int | None = None
    digest: bool | None = None

    def asks_digest(self, length: int | None) -> bool:
        """Tell whether the server is to be asked for the digest of so many bytes (``None``: it is not known how many).

        If nobody said so: where a filedropd has it for little, since the bytes pass through its hands anyway, under TLS
        or in chunks, or are few. A large file goes to its disk without being looked at otherwise, at twice the speed.
        """
        if self.digest is not None:
            return self.digest
        return length is None or length <= CHEAP or urlsplit(self.server).scheme == "https"

    def address(self, name: str | None) -> str:
        """Return where a file is put that is called ``name`` itself."""
        name = naming.safe(self.name or name or "")
        return f"{Link.parse(self.server).url.rstrip('/')}/{quote(name, safe='')}"

    def fields(self) -> dict[str, str | bytes]:
        """Return the header fields that ask for all that.

        :raises Local: the password cannot be said in a header field.
        """
        fields: dict[str, str | bytes] = {"Accept": _JSON}
        password = fitting(self.password)
        if password is not None:
            fields["Filedrop-Password"] = password.encode("utf-8")
        if self.expires is not None:
            fields["Filedrop-Expires"] = self.expires
        if self.downloads is not None:
            fields["Filedrop-Downloads"] = str(self.downloads)
        return fields


class Leave:
    """Leaves ``source`` as it is ``wanted``.

    :param tell: is told how far it is.
    """

    def __init__(
        self, connections: Connections, source: Source, wanted: Wanted, *, tell: Watcher, rate: float | None
    ) -> None:
        self._connections = connections
        self._clock = connections.reactor
        self._source = source
        self._server = Link.parse(wanted.server).url
        self._url = wanted.address(source.name)
        self._fields = wanted.fields()
        source.hashing = wanted.asks_digest(source.length)
        if source.hashing:
            self._fields["Want-Repr-Digest"] = digests.WANTED
        self._tell = tell
        self._rate = rate
        self._met = False

    async def insist(self, patience: Patience) -> Receipt:
        """Send it until it is there."""
        while True:
            try:
                return await self._once(patience)
            except (Unreachable, Later) as error:
                if isinstance(error, (Untrusted, NoRoom)) or (isinstance(error, Unreachable) and not self._met):
                    raise
                if not await self._source.rewind():
                    raise
                self._tell(Progress(0, self._source.length, waiting=error))
                await patience.pause(error)

    async def _once(self, patience: Patience) -> Receipt:
        def sent(done: int) -> None:
            self._met = True
            patience.progress()
            self._tell(Progress(done, self._source.length))

        pace = Pace(self._clock, self._rate)
        body = Outgoing(self._source, self._clock, sent, self._connections.abort).limited(pace.after)
        try:
            response = await self._connections.request("PUT", self._url, self._fields, body, within=None)
        except Unreachable as error:
            raise body.failure or error from error
        finally:
            body.stopProducing()
        self._met = True
        receipt = await self._receipt(response)
        self._tell(Progress(receipt.size, receipt.size))
        return receipt

    async def _receipt(self, response: IResponse) -> Receipt:
        host = urlsplit(self._url).hostname or ""
        if response.code in {404, 405}:
            self._connections.abort()
            raise NotADrop(
                f"No files are taken at {self._server}: it answered {response.code}. Check the server's address.",
                status=response.code,
            )
        if response.code != 201:
            raise await answers.refused(response, self._clock, host)
        told = await answers.told(response, self._clock, host)
        try:
            receipt = Receipt(
                url=Link.parse(told["url"]).url,
                owner_token=str(told["owner_token"]),
                name=naming.of_link(urlsplit(self._url).path),
                size=int(told["size"]),
                expires_at=moment(told.get("expires_at")),
                downloads=int(told["downloads"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise NotADrop from error
        await self._compare(told.get("sha256"), receipt)
        return receipt

    async def _compare(self, digest: object, receipt: Receipt) -> None:
        """Take the drop back where it is not what was sent.

        :param digest: of what is kept, in hex; ``None`` where the server does not know it.
        """
        ours = self._source.digest().hex() if self._source.hashing else digest
        if digest in {None, ours} and self._source.length in {None, receipt.size}:
            return
        await revoke(receipt.url, receipt.owner_token, connections=self._connections)
        raise Damaged("The server keeps something else than was sent. It was taken back; try again.")
