"""The client of large transfers: plain sockets, in a process of its own, so that what it uses can be told apart.

Uploads go out by sendfile(2) from a file that is in the page cache; what comes in is counted, and summed where it
is asked for.  Each takes its own time and CPU time.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import struct
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import attrs

_PIECE: Final = 512 * 1024
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PATIENCE: Final = 120
#: What stands around a file in a form, as curl writes it.
BOUNDARY: Final = "------------------------d74496d66958873e"


@attrs.frozen
class Answer:
    """An answer.

    :ivar size: of its body.
    :ivar body: its body, where that is small; else nothing.
    :ivar digest: SHA-256 of its body, where it was asked for.
    """

    status: int
    size: int
    body: bytes = b""
    digest: bytes = b""


@attrs.frozen
class Took:
    """What a transfer took its client.

    :ivar answers: in the order of the requests.
    :ivar seconds: from before the connection until the last answer was there.
    :ivar cpu: seconds that the client was busy.
    """

    answers: list[Answer]
    seconds: float
    cpu: float


def client(processes: int = 1) -> ProcessPoolExecutor:
    """Return processes that can be told to run the functions here."""
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"))


# -- requests ----------------------------------------------------------------------------------------


def raw_head(path: str, size: int, *fields: str) -> bytes:
    """Return the head of a PUT of the bytes alone, as ``curl -T`` sends it, with more header fields."""
    lines = (f"PUT {path} HTTP/1.1", "Host: localhost", "Accept: */*", f"Content-Length: {size}", *fields, "", "")
    return "\r\n".join(lines).encode("ascii")


def form(path: str, size: int, *, method: str = "PUT", field: str = "file", name: str = "a.bin") -> tuple[bytes, bytes]:
    """Return what stands before and after a file in a request with a form, as ``curl -F`` sends it."""
    before = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    after = f"\r\n--{BOUNDARY}--\r\n"
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n"
        f"Content-Length: {len(before) + size + len(after)}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    )
    return (head + before).encode("ascii"), after.encode("ascii")


def get(path: str) -> bytes:
    """Return a request for ``path``."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n".encode("ascii")


def delete(path: str, token: str) -> bytes:
    """Return a request that takes a drop back."""
    return f"DELETE {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode("ascii")


# -- one transfer ------------------------------------------------------------------------------------


def upload(port: int, head: bytes, source: Path, size: int, after: bytes = b"") -> Took:
    """Send ``head``, ``size`` bytes of ``source`` and ``after``; return when it is answered."""
    began, busy = time.perf_counter(), time.process_time()
    with connected(port) as connection:
        connection.sendall(head)
        with source.open("rb") as file:
            offset = 0
            while offset < size:
                offset += os.sendfile(connection.fileno(), file.fileno(), offset, size - offset)
        connection.sendall(after)
        answer = receive(connection)
    return Took([answer], time.perf_counter() - began, time.process_time() - busy)


def download(port: int, path: str, after: str | None = None, *, check: bool = False) -> Took:
    """Fetch ``path``, and ``after`` on the same connection when all of it is there.

    :param check: whether the body is summed.
    """
    began, busy = time.perf_counter(), time.process_time()
    with connected(port) as connection:
        connection.sendall(get(path))
        answers = [receive(connection, check=check)]
        if after is not None:
            connection.sendall(get(after))
            answers.append(receive(connection))
    return Took(answers, time.perf_counter() - began, time.process_time() - busy)


def ask(port: int, request: bytes) -> Answer:
    """Send a small request and return its answer."""
    with connected(port) as connection:
        connection.sendall(request)
        return receive(connection)


def receive(connection: socket.socket, *, check: bool = False) -> Answer:
    """Receive an answer.

    :raises RuntimeError: the connection ended before that was whole.
    """
    head, rest = _head(connection)
    found = _LENGTH.search(head)
    if found is None:
        return Answer(int(head[9:12]), 0)
    size = int(found[1])
    if size <= _PIECE and not check:
        body = rest + b"".join(_pieces(connection, size - len(rest)))
        return Answer(int(head[9:12]), size, body)
    digest = hashlib.sha256(rest)
    left = size - len(rest)
    buffer = memoryview(bytearray(_PIECE))
    while left > 0:
        count = connection.recv_into(buffer, min(left, _PIECE))
        if not count:
            raise RuntimeError(f"the connection ended {left} bytes before its answer did")
        if check:
            digest.update(buffer[:count])
        left -= count
    return Answer(int(head[9:12]), size, digest=digest.digest() if check else b"")


def _head(connection: socket.socket) -> tuple[bytes, bytes]:
    """Return the head of a final answer, and what came with it."""
    received = b""
    while True:
        while _HEAD_END not in received:
            piece = connection.recv(65536)
            if not piece:
                raise RuntimeError(f"the connection ended within the head of an answer: {received[:80]!r}")
            received += piece
        head, _, received = received.partition(_HEAD_END)
        if not head.startswith(b"HTTP/1.1 1"):
            return head + _HEAD_END, received


def _pieces(connection: socket.socket, left: int) -> list[bytes]:
    pieces = []
    while left > 0:
        piece = connection.recv(left)
        if not piece:
            raise RuntimeError(f"the connection ended {left} bytes before its answer did")
        pieces.append(piece)
        left -= len(piece)
    return pieces


def connected(port: int) -> socket.socket:
    """Return a connection that blocks, but not for ever."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # The kernel's own deadlines: Python's would make the socket one that does not block.
    for deadline in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, deadline, struct.pack("ll", _PATIENCE, 0))
    return connection
