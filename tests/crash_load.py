"""A mixed load on a daemon that may be killed at any moment: what its clients do."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import struct
import threading
import time
from typing import Final
from urllib.parse import urlsplit

import attrs

from tests.crash_world import RECIPIENTS, Answer, Left, World, content
from tests.daemon import PATIENCE

API: Final = "/api/v1.0/file"
#: Of each power of two about as many, to more than what fits into the buffers of a connection.
SMALLEST, LARGEST = 0, 22
#: What a reader that does not read on lets the kernel keep for it; a file that then must stay unread to its end.
_NARROW: Final = 8 * 1024
_WIDE: Final = 32 * _NARROW
#: So much read, it was no probe: the copy waits.
_PROBE: Final = 64 * 1024
_BOUNDARY: Final = "kF3dropCrash"
_PIECE: Final = 64 * 1024


def connected(port: int, who: str = RECIPIENTS[0], *, narrow: bool = False) -> http.client.HTTPConnection:
    """Connect from ``who``; ``narrow`` for somebody who takes little at a time.

    :raises OSError: nobody listens.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.sock = socket.socket()
    if narrow:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _NARROW)
    connection.sock.settimeout(PATIENCE)
    try:
        connection.sock.bind((who, 0))
        connection.sock.connect(("127.0.0.1", port))
    except BaseException:
        connection.close()
        raise
    return connection


def get(connection: http.client.HTTPConnection, path: str, first: int = 0) -> Answer:
    """Ask for ``path``, from byte ``first`` on; whatever becomes of the connection, it tells what came."""
    answer, body = Answer(0), bytearray()
    try:
        connection.request("GET", path, headers={"Range": f"bytes={first}-"} if first else {})
        response = connection.getresponse()
        answer = Answer(response.status)
        while piece := response.read(_PIECE):
            body += piece
    except (OSError, http.client.HTTPException):
        return attrs.evolve(answer, body=bytes(body))
    length = int(response.headers["Content-Length"])
    return attrs.evolve(answer, body=bytes(body), whole=len(body) == length)


class Client:
    """Leaves, fetches and takes back files, in ways that its random numbers choose.

    :param port: the daemon's.
    """

    def __init__(self, world: World, port: int, seed: int) -> None:
        self._world = world
        self._port = port
        self._random = random.Random(seed)

    def run(self, ended: threading.Event) -> None:
        """Act until ``ended``, or until the daemon is no more."""
        actions = (self.leave, self.leave_half, self.fetch, self.break_off, self.take_back)
        while not ended.is_set():
            try:
                self._random.choices(actions, (35, 5, 30, 25, 5))[0]()
            except (OSError, http.client.HTTPException):
                self._world.count("client cut off")
                return

    def _some_size(self) -> int:
        return self._random.randrange(2 ** self._random.randint(SMALLEST, LARGEST))

    # -- in ---------------------------------------------------------------------------------------

    def leave(self, size: int | None = None, way: str | None = None, downloads: int | None = None) -> Left | None:
        """Upload a file; what is not said is left to chance. Returns ``None`` where it was not taken."""
        size = self._some_size() if size is None else size
        way = way or self._random.choice(("raw", "chunked", "form"))
        downloads = downloads or self._random.choice((1, 1, 1, 2, 3))
        seed = self._world.new_seed()
        with contextlib.closing(connected(self._port)) as connection:
            _send_file(connection, way, content(seed, size), downloads)
            answer = connection.getresponse()
            told = json.loads(answer.read())
        if answer.status != 201:
            self._world.fault(f"an upload was answered with {answer.status}: {told}")
            return None
        drop = Left(str(urlsplit(told["url"]).path), told["owner_token"], seed, size, downloads)
        self._world.add(drop, way)
        return drop

    def leave_half(self) -> None:
        """Begin an upload, and leave in the middle of it."""
        size = 2 + self._some_size()
        with contextlib.closing(connected(self._port)) as connection:
            connection.putrequest("PUT", API)
            connection.putheader("Content-Length", str(size))
            connection.endheaders(bytes(size // 2))
        self._world.count("upload broken off")

    # -- out --------------------------------------------------------------------------------------

    def fetch(self) -> None:
        """Fetch some drop, one that should be gone too."""
        with self._world.taken() as drop:
            if drop is not None:
                self.fetch_this(drop, self._somebody(), narrow=self._random.random() < 0.25)

    def fetch_this(self, drop: Left, who: str = RECIPIENTS[0], *, narrow: bool = False) -> None:
        """Fetch a drop that nobody else acts on."""
        deadline = time.monotonic() + PATIENCE
        while not self._fetched(drop, who, time.monotonic() > deadline, narrow=narrow):
            time.sleep(0.05)  # what was before has its end written down

    def _fetched(self, drop: Left, who: str, last: bool, *, first: int = 0, narrow: bool = False) -> bool:
        locked = 423 in {verdict.status for verdict in drop.verdicts(who)}
        with contextlib.closing(connected(self._port, who, narrow=narrow)) as connection:
            self._world.asked(drop, who)
            answer = get(connection, drop.path, first)
        if answer.status == 423 and not locked and not last:
            drop.states = drop.before
            return False
        self._world.answered(drop, who, answer, first)
        return True

    def break_off(self) -> None:
        """Begin to fetch a drop, reset the connection, look whether it can be had again, and perhaps go on."""
        with self._world.taken() as drop:
            if drop is None or drop.size < _WIDE:
                return
            who, early = self._somebody(), self._random.random() < 0.5
            read = 0 if early else _PROBE
            with contextlib.closing(connected(self._port, who, narrow=True)) as connection:
                self._world.asked(drop, who)
                connection.request("GET", drop.path)
                response = connection.getresponse()
                came = response.read(read)
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if response.status != 200:
                self._world.refused(drop, who, response.status)
            elif len(came) < read:
                return  # the daemon was killed
            else:
                self._world.broken_off(drop, who, early=early)
                self._look_again(drop, who)
                if came and self._random.random() < 0.5:
                    self._go_on(drop, who, came)

    def _look_again(self, drop: Left, who: str) -> None:
        """Wait until the end of a download is noticed, and look what is told of it."""
        deadline = time.monotonic() + PATIENCE
        while (status := self._head(drop, who)) == 423 and time.monotonic() < deadline:
            time.sleep(0.01)
        self._world.looked(drop, who, status)
        other = self._somebody()
        self._world.looked(drop, other, self._head(drop, other))

    def _head(self, drop: Left, who: str) -> int:
        with contextlib.closing(connected(self._port, who)) as connection:
            connection.request("HEAD", drop.path)
            return connection.getresponse().status

    def _go_on(self, drop: Left, who: str, came: bytes) -> None:
        """Fetch the rest."""
        if not drop.content().startswith(came):
            self._world.fault(f"{drop.path} came with other bytes, and was broken off")
        self._fetched(drop, who, last=True, first=len(came))

    def _somebody(self) -> str:
        return self._random.choice(RECIPIENTS)

    def take_back(self) -> None:
        """Revoke some drop."""
        with self._world.taken() as drop:
            if drop is not None:
                self.take_back_this(drop)

    def take_back_this(self, drop: Left) -> None:
        """Revoke a drop that nobody else acts on."""
        with contextlib.closing(connected(self._port)) as connection:
            self._world.taking_back(drop)
            connection.request("DELETE", drop.path, headers={"Authorization": f"Bearer {drop.owner}"})
            response = connection.getresponse()
            body = response.read()
            self._world.took_back(drop, Answer(response.status, body, whole=True))


def _send_file(connection: http.client.HTTPConnection, way: str, data: bytes, downloads: int) -> None:
    fields = {"Filedrop-Downloads": str(downloads)}
    if way == "raw":
        connection.request("PUT", API, data, fields)
    elif way == "chunked":
        pieces = (data[at : at + _PIECE] for at in range(0, len(data), _PIECE))
        connection.request("PUT", API, pieces, fields | {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    else:
        fields["Content-Type"] = f"multipart/form-data; boundary={_BOUNDARY}"
        connection.request("POST", API, _form(data), fields)


def _form(data: bytes) -> bytes:
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="report.bin"\r\n\r\n'
    return head.encode("ascii") + data + f"\r\n--{_BOUNDARY}--\r\n".encode("ascii")
