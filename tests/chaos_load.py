"""The load of :mod:`tests.chaos`: clients that leave files, and others that fetch each of them once, whatever breaks."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

import attrs

from tests.chaos_stack import Target
from tests.chaos_world import File, Part, Take, World
from tests.crash_load import API, connected
from tests.daemon import PATIENCE

#: From where those ask who have no business here any more: a third, beside a file's recipient and his rival.
THIRD: Final = "127.255.0.1"
#: Files may have fewer bytes than two to this.
_LARGEST: Final = 22
#: So many may want to ask; then nothing new is left.
_BACKLOG: Final = 64
_PIECE: Final = 64 * 1024
_BOUNDARY: Final = "kF3dropChaos"
#: Seconds between two pieces of somebody slow, between two looks for work, and until somebody asks again.
_SLOW: Final = 0.03
_IDLE: Final = 0.01
_AGAIN: Final = (0.1, 0.5)
#: Takes of fewer bytes are not broken off, nor slow.
_LONG: Final = 128 * 1024


@attrs.define
class Got:
    """What came of a request for bytes.

    :ivar status: 0 where not even a head came.
    :ivar pieces: what was read of the body.
    :ivar length: what the head said that there is.
    :ivar token: that of the claim.
    """

    status: int = 0
    pieces: list[bytes] = attrs.field(factory=list)
    length: int = -1
    token: str = ""

    @property
    def came(self) -> int:
        """How many bytes were read."""
        return sum(map(len, self.pieces))


@attrs.frozen(kw_only=True)
class Manner:
    """How somebody reads.

    :ivar until: he breaks off after so many bytes; never where it is negative.
    :ivar reset: he does so by RST.
    :ivar slow: he takes little at a time.
    """

    until: int = -1
    reset: bool = False
    slow: bool = False


def get(daemon: Target, take: Take, first: int, manner: Manner) -> Got:
    """Ask for a file from byte ``first`` on; whatever becomes of the connection, it tells what came.

    :raises TimeoutError: nothing came for a long time.
    """
    fields = {"User-Agent": take.agent}
    if first:
        fields["Range"] = f"bytes={first}-"
    if take.token:
        fields["Filedrop-Claim"] = take.token
    got = Got()
    with contextlib.suppress(ConnectionError, http.client.HTTPException):
        connection = connected(daemon.address, take.source, narrow=manner.slow)
        with contextlib.closing(connection):
            connection.request("GET", take.file.path, headers=fields)
            sock = connection.sock
            with contextlib.closing(connection.getresponse()) as response:
                got.status = response.status
                got.token = response.headers.get("Filedrop-Claim", "")
                got.length = int(response.headers["Content-Length"])
                _read(response, got, manner)
                if manner.reset and got.came < got.length:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return got


def _read(response: http.client.HTTPResponse, got: Got, manner: Manner) -> None:
    until = got.length if manner.until < 0 or got.status >= 400 else min(manner.until, got.length)
    came = 0
    while came < until and (piece := response.read1(min(_PIECE, until - came))):
        got.pieces.append(piece)
        came += len(piece)
        if manner.slow:
            time.sleep(_SLOW * len(piece) / _PIECE)


class Client:
    """Leaves files and asks for those that were left, at a random daemon each time.

    :param daemons: of which any may be away.
    """

    def __init__(self, world: World, daemons: Sequence[Target], seed: int) -> None:
        self._world = world
        self._daemons = daemons
        self._chance = random.Random(seed)

    def run(self, ended: threading.Event) -> None:
        """Act until ``ended``; whatever goes wrong is noted."""
        while not ended.is_set():
            try:
                self._act()
            except Exception as error:
                self._world.fault(f"a client failed: {error!r}")
                raise

    def _act(self) -> None:
        take = None
        if not self._world.resting and self._world.backlog < _BACKLOG and self._chance.random() < 0.4:
            self.leave()
        elif take := self._world.next():
            pause = 0.0
            try:
                pause = self.ask(take)
            finally:
                self._world.asked(take, pause)
            if take.whole and self._chance.random() < 0.3:
                self.look(take.file, self._some_daemon())
        else:
            time.sleep(_IDLE)

    def _some_daemon(self) -> Target:
        return self._chance.choice(self._daemons)

    # -- in ---------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Upload a file; if that is not acknowledged, the next is another one."""
        file = self._world.new_file(int(2 ** self._chance.uniform(0, _LARGEST)) - 1)
        way = self._chance.choice(("raw", "chunked", "form"))
        daemon = self._some_daemon()
        try:
            with contextlib.closing(connected(daemon.address)) as connection:
                self._send(connection, file, way)
                answer = connection.getresponse()
                told = json.loads(answer.read())
        except TimeoutError:
            self._world.fault(f"{daemon.name} did not answer an upload within {PATIENCE:g} s")
            self._world.unanswered(file, "no answer")
        except (OSError, http.client.HTTPException, ValueError):
            self._world.count(f"uploads cut off, or not begun, at {daemon.name}")
            self._world.unanswered(file, "no answer")
            time.sleep(self._pause())
        else:
            self._answered(file, daemon, way, answer.status, told)

    def _answered(self, file: File, daemon: Target, way: str, status: int, told: dict[str, str]) -> None:
        if status == 201:
            self._world.count(f"uploads acknowledged ({way})")
            self._world.note(file, f"left at {daemon.name}, {way}")
            recipients = 1 + (self._chance.random() < 0.2)
            self._world.acknowledged(file, urlsplit(told["url"]).path, recipients, self._chance)
            return
        self._world.count(f"uploads refused: {status}")
        time.sleep(self._pause())
        if status not in {429, 503}:
            self._world.fault(f"{daemon.name} answered an upload with {status}: {told}")
        if daemon is not self._daemons[0]:  # where it may be killed before it has taken back what it refused
            self._world.unanswered(file, str(status))

    def _send(self, connection: http.client.HTTPConnection, file: File, way: str) -> None:
        fields = {"Accept": "application/json"}
        if way == "form":
            head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{file.name}"\r\n\r\n'
            body = head.encode("ascii") + file.content() + f"\r\n--{_BOUNDARY}--\r\n".encode("ascii")
            fields["Content-Type"] = f"multipart/form-data; boundary={_BOUNDARY}"
            connection.request("POST", API, body, fields)
        elif way == "raw":
            fields["Content-Length"] = str(file.size)
            connection.request("PUT", f"/{file.name}", self._pieces(file.content()), fields)
        else:
            fields["Transfer-Encoding"] = "chunked"
            connection.request("PUT", f"/{file.name}", self._pieces(file.content()), fields, encode_chunked=True)

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield it in pieces; one long upload of three is slow, so that what breaks breaks some in the middle."""
        slow = len(data) >= _LONG and self._chance.random() < 1 / 3
        for at in range(0, len(data), _PIECE):
            yield data[at : at + _PIECE]
            if slow:
                time.sleep(_SLOW)

    # -- out --------------------------------------------------------------------------------------

    def ask(self, take: Take, manner: Manner | None = None) -> float:
        """Let somebody ask once for what he lacks, and judge the answer; returns after how many seconds to go on."""
        daemon = self._some_daemon()
        first, began = take.has, time.monotonic()
        manner = manner or self._manner(take)
        try:
            got = get(daemon, take, first, manner)
        except TimeoutError:
            self._world.fault(f"{daemon.name} left a download without a byte for {PATIENCE:g} s", take.file)
            return 0.0
        self._note(take, daemon, got, first, manner)
        if got.status in {200, 206}:
            self._take(take, got, first if got.status == 206 else 0)
            if got.came < got.length:
                self._world.count(
                    f"downloads broken off by {'their client' if got.came == manner.until else 'an outage'}"
                )
            take.parts.append(Part(daemon, began, time.monotonic()))
            take.in_order = got.status == 200
            if take.whole and take in take.file.takes:
                self._world.count("downloads whole")
            return 0.0 if manner.until >= 0 else self._pause()
        self._told(take, daemon, got)
        return self._pause()

    def ask_again(self, file: File) -> bool:
        """Let who holds a file ask for all of it once more; tells whether he got it, or was told that it is gone."""
        if file.winner is None:
            raise RuntimeError("nobody holds it")
        again = attrs.evolve(file.winner, parts=[], has=0, whole=False, refused=False)
        self.ask(again, Manner())
        return again.ended

    def _pause(self) -> float:
        return self._chance.uniform(*_AGAIN)

    def _manner(self, take: Take) -> Manner:
        left = take.file.size - take.has
        if left < _LONG:
            return Manner()
        slow = self._chance.random() < 0.3
        if take.breaks:
            take.breaks -= 1
            return Manner(until=self._chance.randrange(left), reset=self._chance.random() < 0.5, slow=slow)
        return Manner(slow=slow)

    def _note(self, take: Take, daemon: Target, got: Got, first: int, manner: Manner) -> None:
        how = f", would break off at {first + manner.until:,}" if manner.until >= 0 else ""
        token = " with its token" if take.token else ""
        told = f"{got.status}, {got.came:,} of {got.length:,}" if got.status else "no answer"
        self._world.note(take.file, f"{take.agent} at {daemon.name} from {first:,}{token}{how}: {told}")

    def _take(self, take: Take, got: Got, first: int) -> None:
        """Keep what came, if it is what belongs there."""
        body = b"".join(got.pieces)
        if take.file.content()[first : first + len(body)] != body:
            self._world.fault(f"other bytes came from {first:,} on", take.file)
        if take.has and first == take.has and body:
            self._world.count("downloads resumed")
        take.token = got.token or take.token
        take.has = max(take.has, first + len(body))
        take.whole = take.has == take.file.size

    def _told(self, take: Take, daemon: Target, got: Got) -> None:
        """Judge an answer without bytes of the file."""
        rival = take.agent != take.file.takes[0].agent
        if got.status == 0:
            self._world.count(f"downloads without an answer, at {daemon.name}")
        elif got.status == 410:
            take.refused = True
        elif got.status == 423:
            self._world.count("rivals told to wait (423)" if rival else "recipients told to wait (423)")
        elif got.status == 503:
            self._world.count("downloads refused: 503")
        else:
            take.refused = True
            self._world.fault(f"{daemon.name} answered {got.status} {b''.join(got.pieces)[:300]!r}", take.file)

    # -- somebody else ----------------------------------------------------------------------------

    def look(self, file: File, daemon: Target) -> int:
        """Let a third one ask for a file that somebody holds; returns what he is told."""
        third = Take(file=file, source=THIRD, agent="chaos/third")
        try:
            got = get(daemon, third, 0, Manner())
        except TimeoutError:
            self._world.fault(f"{daemon.name} did not answer within {PATIENCE:g} s", file)
            return 0
        self._world.count(f"a third told {got.status or 'nothing'}")
        if got.status not in {0, 410, 423, 503}:
            self._note(third, daemon, got, 0, Manner())
            self._world.fault(f"after a complete copy a third is told {got.status}, {got.came:,} bytes", file)
        return got.status
