"""One download: looking, claiming, and the bytes, as often as it takes.

What is there is looked at first (``HEAD``), which takes nothing. The claim is opened by a request of its own
(``POST``), which asks for no bytes: so its token is known, and written down, before the first byte may leave the
server. Whoever shows it is the same recipient, from whatever address, and
after a break goes on where it broke.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import attrs
from twisted.web.iweb import IResponse

from filedropd.client.downloads.destinations import Destination
from filedropd.client.downloads.notes import Claimed
from filedropd.client.errors import ClientError, Damaged, Later, Locked, NotADrop, Refused, Unreachable, Untrusted
from filedropd.client.pace import Pace
from filedropd.client.resuming import Patience, sleep
from filedropd.client.values import Link, Progress, Watcher
from filedropd.client.wire import answers, digests, naming
from filedropd.client.wire.connections import ANSWER, Connections
from filedropd.client.wire.receiving import MOST, Body

T = TypeVar("T")

_TOKEN: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
#: Seconds between questions whether a copy is free by now, where the server names none.
_ASK_AGAIN: Final = 5.0
#: Seconds for a server to take the word that all is here. Whoever waits has the file by then.
CONFIRM: Final = 10.0


@attrs.frozen(kw_only=True)
class Seen:
    """What a server says of a file.

    :ivar name: made safe.
    :ivar size: in bytes; ``None`` where it does not say.
    :ivar digest: its SHA-256 in hex; ``None`` where it offers none.
    """

    name: str
    size: int | None
    etag: str | None
    digest: str | None


class Fetch:
    """Fetches the file behind ``link``.

    :param password: of the file, or ``None``.
    :param wait: where somebody else has the last copy, wait until it is free, or gone.
    :param tell: is told how far it is.
    """

    def __init__(
        self,
        connections: Connections,
        link: Link,
        *,
        password: str | None,
        patience: Patience,
        pace: Pace,
        wait: bool,
        tell: Watcher,
    ) -> None:
        self._connections = connections
        self._clock = connections.reactor
        self._link = link
        self._password = password
        self._patience = patience
        self._pace = pace
        self._wait = wait
        self._tell = tell
        self._met = False
        self._looked = False
        self.begun = False
        self.name = naming.saved(naming.of_link(link.path))

    # -- what it is, and the claim -----------------------------------------------------------------

    async def look(self) -> Seen:
        """Ask what is there. That takes nothing.

        :raises ClientError: it cannot be had.
        """
        return await self._insisting(self._look)

    async def _look(self) -> Seen:
        response = await self._ask("HEAD")
        if response.code != 200:
            # The answer to HEAD has no body, so no reason. POST is refused for the same one, and takes no bytes.
            raise await self._refused(await self._ask("POST") if response.code == 410 else response)
        if answers.field(response, "Content-Disposition") is None:
            raise NotADrop("There is something there, and it is no file of a filedropd. Check the link.")
        self._looked = True
        return self._seen(response)

    async def _claim(self) -> str:
        """Claim a copy; returns the claim's token. The bytes are to be asked for within seconds."""
        response = await self._ask("POST")
        token = answers.field(response, "Filedrop-Claim") or ""
        if response.code != 303 or not _TOKEN.fullmatch(token):
            if response.code < 400 or response.code in {405, 501}:
                raise NotADrop
            raise await self._refused(response)
        return token

    async def _insisting(self, act: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await act()
            except (Unreachable, Later) as error:
                await self._pause(error, 0, None)

    async def _pause(self, error: Unreachable | Later, done: int, total: int | None) -> None:
        """Return when it is time to try again; raise ``error`` where that makes no sense."""
        if isinstance(error, Unreachable) and (not self._met or isinstance(error, Untrusted)):
            raise error  # a wrong address is told at once
        self._tell(Progress(done, total, waiting=error))
        if isinstance(error, Locked) and not self.begun:
            if not self._wait:
                raise error
            await sleep(self._clock, max(1.0, error.retry_after or _ASK_AGAIN))
        else:
            await self._patience.pause(error)

    # -- the bytes ---------------------------------------------------------------------------------

    async def pull(self, to: Destination) -> None:
        """Bring all that ``to`` has not got.

        :raises ClientError: that cannot be; what came is there.
        """
        while not await self._pulled(to):
            pass

    async def _pulled(self, to: Destination) -> bool:
        """Bring what comes without a break; returns whether that was all."""
        claimed = to.claimed
        size = None if claimed is None else claimed.size
        try:
            if claimed is None:
                # POST gives whoever is the same recipient by address and name the token of a claim that is in use,
                # and with it he would break that off. HEAD is refused then.
                if not self._looked:
                    await self._look()
                claimed = Claimed(link=self._link.key, token=await self._claim())
                await to.remember(claimed)
            self.begun = True
            body, skip = await self._open(to, claimed)
            while pieces := await body.take():
                skip = await self._take(to, pieces, skip)
        except (Unreachable, Later) as error:
            await self._pause(error, to.done, size)
            return False
        return await self._is_all(to)

    async def _is_all(self, to: Destination) -> bool:
        claimed = to.claimed
        if claimed is not None and claimed.size is None:  # the end of the body is all there is to know
            await to.remember(attrs.evolve(claimed, size=to.done))
            return True
        if claimed is not None and to.done < (claimed.size or 0):
            await self._pause(Unreachable("The connection broke. Try again."), to.done, claimed.size)
            return False
        return True

    async def _open(self, to: Destination, claimed: Claimed) -> tuple[Body, int]:
        """Ask for what is missing; returns it, and how many bytes of it are here already."""
        fields = {"Filedrop-Claim": claimed.token}
        if to.done:
            fields["Range"] = f"bytes={to.done}-"
            if claimed.etag is not None:
                fields["If-Range"] = claimed.etag
        response = await self._ask("GET", fields)
        if response.code not in {200, 206}:
            raise await self._refused(response)
        seen = self._seen(response)
        first, size = 0, seen.size
        if response.code == 206:
            first, size = answers.content_range(response) or (-1, None)
        if first not in {0, to.done} or (claimed.size is not None and size not in {None, claimed.size}):
            self._connections.abort()
            raise Damaged("The server has another file there than before. Remove the .part and begin again.")
        if claimed.etag not in {None, seen.etag}:
            self._connections.abort()
            raise Damaged("The file there is not the one that was begun. Remove the .part and begin again.")
        self.name = seen.name
        # Where our claim had lapsed, the bytes come under another one.
        token = answers.field(response, "Filedrop-Claim") or claimed.token
        now = attrs.evolve(claimed, token=token, size=size, etag=seen.etag, digest=claimed.digest or seen.digest)
        if now != claimed:
            await to.remember(now)
        return Body(response, self._clock, self._link.host, most=self._pace.ahead(MOST)), to.done - first

    async def _take(self, to: Destination, pieces: list[bytes], skip: int) -> int:
        """Hand pieces on, without the first ``skip`` bytes; returns how many are to be left out of the next ones."""
        size = None if to.claimed is None else to.claimed.size
        for group in [pieces] if self._pace.unlimited else [[piece] for piece in pieces]:
            taken = sum(map(len, group))
            await to.write(_without(group, skip))
            skip = max(0, skip - taken)
            self._patience.progress()
            self._tell(Progress(to.done, size))
            if (seconds := self._pace.after(taken)) > 0:
                await sleep(self._clock, seconds)
        return skip

    # -- what was here already ---------------------------------------------------------------------

    async def confirm(self, to: Destination) -> None:
        """Let the server know that all of ``to``, which an earlier process brought, is here and safe.

        Its last byte is asked for once more, and read: there is no smaller word for it, and it went out before. Where
        the server cannot be asked, or will not have it, the file is here all the same; its sender learns of it when
        our claim's time is over.
        """
        claimed = to.claimed
        if claimed is None or not claimed.size:
            return
        fields = {"Filedrop-Claim": claimed.token, "Range": f"bytes={claimed.size - 1}-"}
        if claimed.etag is not None:
            fields["If-Range"] = claimed.etag
        try:
            response = await self._ask("GET", fields, within=CONFIRM)
            if response.code == 206 and answers.content_range(response) == (claimed.size - 1, claimed.size):
                await Body(response, self._clock, self._link.host, stall=CONFIRM).all(1)
                return
        except ClientError:
            pass
        self._connections.abort()  # of more than that byte nothing is wanted

    # -- requests ----------------------------------------------------------------------------------

    async def _ask(self, method: str, fields: dict[str, str] | None = None, within: float = ANSWER) -> IResponse:
        headers: dict[str, str | bytes] = {"Accept": "*/*", **(fields or {})}
        if self._password is not None:
            # HTTP Basic carries what a field of its own could not: spaces at its ends, for one.
            headers["Authorization"] = b"Basic " + base64.b64encode(b":" + self._password.encode("utf-8"))
        response = await self._connections.request(method, self._link.url, headers, within=within)
        self._met = True
        return response

    async def _refused(self, response: IResponse) -> Refused:
        return await answers.refused(response, self._clock, self._link.host)

    def _seen(self, response: IResponse) -> Seen:
        disposition = answers.field(response, "Content-Disposition")
        digest = digests.sha256(answers.field(response, "Repr-Digest"))
        return Seen(
            name=self.name if disposition is None else naming.saved(naming.told(disposition)),
            size=answers.length(response),
            etag=answers.field(response, "ETag"),
            digest=None if digest is None else digest.hex(),
        )


def _without(pieces: list[bytes], skip: int) -> list[bytes]:
    """Return ``pieces`` without their first ``skip`` bytes."""
    if not skip:
        return pieces
    rest = b"".join(pieces)[skip:]
    return [rest] if rest else []
