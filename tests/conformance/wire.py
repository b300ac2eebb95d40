"""HTTP/1.1 on plain sockets, for clients that choose byte by byte what they read, and how they leave."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import re
import select
import socket
import struct
import termios
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import attrs

from tests.conformance.answers import Answer, Unclear

#: What a narrow connection lets the kernel keep for it, before the kernel adds what it likes to.
NARROW: Final = 8 * 1024
#: The longest head of an answer.
LONGEST_HEAD: Final = 64 * 1024
_HEAD_END: Final = b"\r\n\r\n"
_TOKEN: Final = re.compile("Filedrop-Claim:|Cookie:.*filedrop-claim=", re.IGNORECASE)


class Late(Exception):
    """Something took longer than it may."""


class Deadline:
    """A moment that is ``seconds`` away."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left.

        :raises Late: none are.
        """
        left = self._ends - time.monotonic()
        if left <= 0:
            raise Late(f"not over within {self._seconds:g} s")
        return left


@attrs.frozen
class Endpoint:
    """Where a server is.

    :ivar address: an IPv4 address of the loopback network.
    :ivar authority: what its clients call it.
    """

    address: str
    port: int
    authority: str

    @classmethod
    def of(cls, url: str) -> Endpoint:
        """Return where the server of a URL is.

        :raises ValueError: it is not on this machine's loopback, or not plain HTTP.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise ValueError(f"{url!r}: the suite speaks plain http://")
        port = parts.port or 80
        try:
            found = socket.getaddrinfo(parts.hostname, port, socket.AF_INET, socket.SOCK_STREAM)
        except OSError as error:
            raise ValueError(f"{url!r}: {parts.hostname} has no IPv4 address: {error}") from error
        addresses = [str(place[4][0]) for place in found]
        if not all(ipaddress.ip_address(address).is_loopback for address in addresses):
            raise ValueError(f"{url!r}: {parts.hostname} is not loopback; the suite keeps to this machine")
        return cls(addresses[0], port, parts.netloc.rpartition("@")[2])

    @property
    def url(self) -> str:
        """The same, for programs that want a URL."""
        return f"http://{self.address}:{self.port}"


@attrs.frozen
class Recipient:
    """Somebody who fetches files.

    :ivar called: in what is reported.
    :ivar address: from where; an address of the loopback network.
    :ivar agent: under which name; the default is a program's.
    :ivar fields: what else it says with each request.
    """

    called: str
    address: str
    agent: str = "curl/8.5.0"
    accept: str = "*/*"
    fields: Mapping[str, str] = attrs.field(factory=dict, repr=False)


class Connection:
    """A connection of a recipient to a server.

    :param narrow: the kernel keeps little for it, so that what is not read is not acknowledged either.
    :ivar answers: those that came, as far as they were read.
    :ivar shows_token: it has asked with a claim's token.
    """

    def __init__(self, endpoint: Endpoint, who: Recipient, deadline: Deadline, *, narrow: bool = False) -> None:
        self.who = who
        self.answers: list[Answer] = []
        self.shows_token = False
        self._authority = endpoint.authority
        self._deadline = deadline
        self._socket = socket.socket()
        try:
            if narrow:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.bind((who.address, 0))
            self._socket.settimeout(deadline.left())
            self._socket.connect((endpoint.address, endpoint.port))
        except TimeoutError:
            self._socket.close()
            raise Late("nobody accepts connections") from None
        except BaseException:
            self._socket.close()
            raise

    # -- out --------------------------------------------------------------------------------------

    def request(self, target: str, method: str = "GET", fields: Mapping[str, str] | None = None) -> bytes:
        """Return a request of this recipient's, without a body."""
        named = {"Host": self._authority, "User-Agent": self.who.agent, "Accept": self.who.accept}
        named |= {**self.who.fields, **(fields or {})}
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items()), "", ""]
        self.shows_token = self.shows_token or "claim=" in target or any(_TOKEN.match(line) for line in lines)
        return "\r\n".join(lines).encode("latin-1")

    def send(self, data: bytes) -> None:
        """Send bytes as they are.

        :raises OSError: the connection is no more.
        """
        self._socket.settimeout(self._deadline.left())
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise Late("a request is not taken") from None

    # -- in ---------------------------------------------------------------------------------------

    def receive(self, most: int) -> bytes:
        """Return what comes next, at most ``most`` bytes; nothing at the end.

        :raises OSError: the connection broke.
        """
        self._socket.settimeout(self._deadline.left())
        try:
            return self._socket.recv(most)
        except TimeoutError:
            raise Late("nothing comes") from None

    def head(self) -> bytes:
        """Return the head of an answer and leave what follows it unread; nothing where the connection ends before."""
        taken = b""
        while True:
            self._socket.settimeout(self._deadline.left())
            try:
                seen = self._socket.recv(LONGEST_HEAD, socket.MSG_PEEK)
            except TimeoutError:
                raise Late("no answer comes") from None
            except OSError:
                return b""
            end = (taken + seen).find(_HEAD_END)
            more = len(seen) if end < 0 else end + len(_HEAD_END) - len(taken)
            taken += self._socket.recv(more)
            if end >= 0:
                return taken
            if not seen:
                return b""
            if len(taken) > LONGEST_HEAD:
                raise Unclear("the head of an answer has no end")

    def answer(self, method: str = "GET") -> Answer:
        """Return the next answer, its body unread."""
        self.answers.append(Answer(self, method, self.head()))
        return self.answers[-1]

    def ask(self, target: str, method: str = "GET", fields: Mapping[str, str] | None = None) -> Answer:
        """Ask, and return the answer, its body unread."""
        # A connection that is closed meanwhile has its answer in what was received.
        with contextlib.suppress(OSError):
            self.send(self.request(target, method, fields))
        return self.answer(method)

    def waiting(self) -> int:
        """Return how many bytes the kernel has for us that we have not read."""
        (octets,) = struct.unpack("i", fcntl.ioctl(self._socket, termios.FIONREAD, bytes(4)))
        return int(octets)

    def peek(self) -> bool:
        """Return when the next byte is here, unread; tells whether there is one."""
        self._socket.settimeout(self._deadline.left())
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except TimeoutError:
            raise Late("nothing comes") from None
        except OSError:
            return False

    def lost(self) -> bool:
        """Tell whether the server has reset the connection, whatever is still unread."""
        poll = select.poll()
        poll.register(self._socket, 0)  # what is not asked for is told: errors and the end of both directions
        return bool(poll.poll(0))

    # -- ways to leave ----------------------------------------------------------------------------

    def half_close(self) -> None:
        """Say that nothing more is sent (FIN), and go on receiving."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close: FIN; where anything is unread, it is thrown away and the kernel sends RST behind it."""
        self.half_close()
        self._socket.close()

    def reset(self) -> None:
        """Close with RST, as a killed program's kernel does."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
