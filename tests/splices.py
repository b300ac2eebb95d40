"""Uploads of every awkward size on real sockets, past Python and through it.

As a script it takes all sizes up to 64 MiB that are within 2 of a power of two, on TCP and on a UNIX
socket, with zero copy and without::

    python -m tests.splices [--largest MIB] [--seed N]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from filedropd.testing import Response, parse_responses, request
from tests.wired import Service, answer

MIB: Final = 1024 * 1024
#: Seconds after which a client gives up.
PATIENCE: Final = 60.0


class FileSink:
    """A file in memory that takes bytes both ways.

    :ivar size: bytes taken.
    :ivar spliced: how many of them came through a pipe.
    """

    def __init__(self) -> None:
        self.size = 0
        self.spliced = 0
        self._fd = os.memfd_create("sink")

    async def write(self, data: bytes) -> None:
        """Append ``data``."""
        self.size += os.write(self._fd, data)

    async def splice(self, pipe: int, size: int) -> None:
        """Append what is in ``pipe``, on a thread, as a store does."""
        await deferToThread(self._splice, pipe, size)

    def _splice(self, pipe: int, size: int) -> None:
        while size:
            moved = os.splice(pipe, self._fd, size)
            self.size += moved
            self.spliced += moved
            size -= moved

    def digest(self) -> str:
        """Return the SHA-256 of all that was taken, and close."""
        with os.fdopen(self._fd, "rb") as file:
            file.seek(0)
            return hashlib.file_digest(file, "sha256").hexdigest()


@attrs.define
class Copied:
    """A handler that copies bodies to sinks; it answers with their digest.

    :ivar spliced: bytes of all of them that came through pipes.
    """

    spliced: int = 0

    async def __call__(self, request: Any) -> None:
        """Copy one."""
        sink = FileSink()
        try:
            await request.body.copy_to(sink)
        finally:
            self.spliced += sink.spliced
            digest = sink.digest()
        answer(request, f"{sink.size} {digest}".encode())


def near_powers(largest: int, distance: int = 2) -> list[int]:
    """Return all sizes up to ``largest`` that are so near to a power of two, and 0."""
    powers = [2**n for n in range(largest.bit_length()) if 2**n <= largest]
    near = {power + offset for power in powers for offset in range(-distance, distance + 1)}
    return sorted({0} | {size for size in near if size >= 0})


class Client:
    """Sends bodies that are the beginning of the same random bytes, and judges the answers.

    :param sizes: of the bodies.
    :ivar wrong: what was wrong with an answer, each in a line.
    """

    def __init__(self, connect: Callable[[], socket.socket], sizes: Iterable[int], seed: int) -> None:
        self._connect = connect
        self._random = random.Random(seed)
        self._sizes = list(sizes)
        self._random.shuffle(self._sizes)
        self._data = memoryview(self._random.randbytes(max(self._sizes)))
        self.wrong: list[str] = []

    def keep_alive(self) -> None:
        """Send one after the other on one connection, each after the answer to the one before."""
        with self._connect() as client, client.makefile("rb") as answers:
            for size in self._sizes:
                client.sendall(_head(size))
                client.sendall(self._data[:size])
                self._judge("keep-alive", size, answers)

    def pipelined(self) -> None:
        """Send all without waiting for any answer."""
        with self._connect() as client, client.makefile("rb") as answers:
            sender = threading.Thread(target=self._send_all, args=(client,))
            sender.start()
            for size in self._sizes:
                self._judge("pipelined", size, answers)
            sender.join()

    def _send_all(self, client: socket.socket) -> None:
        behind = b""
        for size in self._sizes:
            # The end of each body and the head of the next request come in one packet.
            cut = max(0, size - self._random.randrange(100_000))
            client.sendall(behind + _head(size))
            client.sendall(self._data[:cut])
            behind = bytes(self._data[cut:size])
        client.sendall(behind)

    def slow(self) -> None:
        """Send in pieces of any size, with pauses between them."""
        with self._connect() as client, client.makefile("rb") as answers:
            for size in self._sizes:
                client.sendall(_head(size))
                sent = 0
                while sent < size:
                    piece = self._random.choice([1, 1000, 60_000, 70_000, MIB, 3 * MIB]) + size // 50
                    client.sendall(self._data[sent : min(size, sent + piece)])
                    sent += piece
                    threading.Event().wait(self._random.choice([0, 0.001, 0.008]))
                self._judge("slow", size, answers)

    def ended_early(self) -> None:
        """Send a part and FIN; the answer must be 400."""
        for size in self._sizes:
            if size:
                with self._connect() as client, client.makefile("rb") as answers:
                    client.sendall(_head(size))
                    client.sendall(self._data[: self._random.randrange(size)])
                    client.shutdown(socket.SHUT_WR)
                    got = parse_responses(answers.read())
                    self._note("ended early", size, [response.status for response in got], [400])

    def _judge(self, way: str, size: int, answers: Any) -> None:
        digest = hashlib.sha256(self._data[:size]).hexdigest()
        response = _response(answers)
        self._note(way, size, (response.status, response.body), (200, f"{size} {digest}".encode()))

    def _note(self, way: str, size: int, got: object, expected: object) -> None:
        if got != expected:
            self.wrong.append(f"{way}, {size} bytes: {got!r} and not {expected!r}")


WAYS: Final[Sequence[Callable[[Client], None]]] = (
    Client.keep_alive,
    Client.pipelined,
    Client.slow,
    Client.ended_early,
)


def _head(size: int) -> bytes:
    return request("PUT", "/", {"Content-Length": str(size)})


def _response(answers: Any) -> Response:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        line = answers.readline()
        if not line:
            raise AssertionError(f"the connection ended after {data!r}")
        data += line
    length = int(parse_responses(data)[0].header("Content-Length") or 0)
    return parse_responses(data + answers.read(length))[0]


@attrs.define
class Place:
    """A server of :class:`Copied` on a socket.

    :ivar folder: for a UNIX socket; TCP without.
    """

    zero_copy: bool
    folder: Path | None = None
    handler: Copied = attrs.field(factory=Copied)
    _port: Any = None
    _service: Any = None

    async def open(self, reactor: Any) -> None:
        """Listen."""
        self._service = Service(self.handler, clock=reactor, zero_copy=self.zero_copy)
        endpoint: Any = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        if self.folder is not None:
            endpoint = UNIXServerEndpoint(reactor, str(self.folder / "socket"))
        self._port = await endpoint.listen(self._service.factory)

    async def close(self) -> None:
        """Listen no more, and end all connections."""
        await self._port.stopListening()
        await self._service.factory.drain(0)

    def connect(self) -> socket.socket:
        """Connect, in a thread."""
        if self.folder is None:
            client = socket.create_connection(("127.0.0.1", self._port.getHost().port), timeout=PATIENCE)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return client
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE)
        client.connect(str(self.folder / "socket"))
        return client


async def _all(reactor: Any, largest: int, seed: int) -> None:
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for zero_copy in (True, False):
            for unix in (False, True):
                place = Place(zero_copy=zero_copy, folder=Path(folder) if unix else None)
                await place.open(reactor)
                for way in WAYS:
                    client = Client(place.connect, near_powers(largest), seed)
                    await deferToThread(way, client)
                    kind = f"{'UNIX' if unix else 'TCP'}, zero copy {'on' if zero_copy else 'off'}, {way.__name__}"
                    sys.stdout.write(f"{kind}: {len(client.wrong)} wrong, {place.handler.spliced // MIB} MiB spliced\n")
                    sys.stdout.writelines(f"  {line}\n" for line in client.wrong)
                    failed += len(client.wrong)
                await place.close()
    if failed:
        raise SystemExit(1)


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=64, help="MiB of the largest body")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    react(lambda reactor: Deferred.fromCoroutine(_all(reactor, options.largest * MIB, options.seed)))


if __name__ == "__main__":
    main()
