"""How files are left on a server: the only thing that the cases do not know of it.

A server is tested through an :class:`Adapter`.  To test another one, write a class with these methods
and name it on the command line: ``--adapter module:Class``.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
import json
import random
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol, cast
from urllib.parse import urlsplit

import attrs

from tests.conformance.wire import Endpoint
from tests.daemon import Daemon

#: Seconds within which a server takes a file.
PATIENCE: Final = 30.0
#: What a server may be able to do beyond handing out a file once; a case says what it needs of it.
ABILITIES: Final = {
    "downloads": "a way to allow several downloads",
    "expires": "a way to say when a file expires",
    "password": "passwords",
    "revoke": "a way to take a file back",
    "reasons": "reasons in its 410",
    "token": "claim tokens",
    "pages": "pages for people and previews",
}
# Where nobody is given a port who asks for any.
_QUIET_PORTS: Final = range(20_000, 32_000)


class Unfit(Exception):
    """A server cannot be tested: it does not do what its adapter says."""


@attrs.frozen
class Left:
    """A file that was left.

    :ivar link: its URL.
    :ivar owner: what its sender shows to take it back.
    """

    link: str
    owner: str | None = None


@attrs.frozen
class Limit:
    """A promise that a server is known not to keep. That there is never a copy too many is none of those.

    :ivar instead: one sentence: what happens.
    :ivar why: one sentence: why that cannot be helped.
    :ivar seen: what is seen then, as a regular expression that matches the beginning; anything else is a failure.
    :ivar by_chance: it is kept now and then.
    """

    instead: str
    why: str
    seen: str
    by_chance: bool = False


@attrs.frozen
class Dialect:
    """How a server says what, and what is to be expected of it.

    :ivar busy: statuses of a file that somebody else is fetching.
    :ivar gone: statuses of a file that was fetched, or has ended otherwise.
    :ivar can: which of :data:`ABILITIES` it has.
    :ivar between: how many bytes a proxy in front of it may have of a download that its client has not; 0 without one.
    :ivar outlives: downloads go on when the server is killed, since something else sends them.
    :ivar limits: the cases whose promises it does not keep, by name.
    """

    busy: frozenset[int]
    gone: frozenset[int]
    can: frozenset[str] = frozenset()
    between: int = 0
    outlives: bool = False
    limits: Mapping[str, Limit] = attrs.field(factory=dict, repr=False)

    @property
    def fronted(self) -> bool:
        """Whether there is a proxy in front of it."""
        return self.between > 0


class Adapter(Protocol):
    """A server to be tested.

    An adapter is made with the URL of the server and the ``--option``\\ s by name.
    """

    @property
    def endpoint(self) -> Endpoint:
        """Where it is."""

    @property
    def dialect(self) -> Dialect:
        """How it speaks."""

    def leave(
        self, data: bytes, *, downloads: int = 1, expires: int | None = None, password: str | None = None
    ) -> Left:
        """Leave a file and return its link; ``expires`` is in seconds.

        What it lacks the ability for it is never asked for.
        """

    def shown(self, password: str) -> Mapping[str, str]:
        """Return the fields with which a recipient shows a password."""

    def revoke(self, left: Left) -> None:
        """Take a file back. Only called where it can ``revoke``."""


class Server(Adapter, Protocol):
    """A server that was started for a test, and is reached under the same URL after a restart."""

    def kill(self) -> None:
        """End it as a crash does."""

    def restart(self) -> None:
        """End it in order, if it runs, and start it again; returns when it serves."""

    def close(self) -> None:
        """End it for good, in whatever way, and all that was started with it."""


class Starts(Protocol):
    """Starts servers: the optional ``start`` of an adapter's class, a static method."""

    def __call__(self, folder: Path, window: float | None = None) -> Server:
        """Start a server with its data in ``folder``.

        :param window: seconds for which a broken download is kept for its recipient, unless the server's own.
        :raises Unfit: it does not start.
        """


# -- filedropd -------------------------------------------------------------------------------------


class Filedropd:
    """A filedropd; the option ``prefix`` says where its API is."""

    dialect = Dialect(busy=frozenset({423}), gone=frozenset({410}), can=frozenset(ABILITIES))

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        self.endpoint = Endpoint.of(url)
        self._files = options.get("prefix", "/api/v1.0") + "/file"

    def leave(
        self, data: bytes, *, downloads: int = 1, expires: int | None = None, password: str | None = None
    ) -> Left:
        """PUT the bytes; the options are fields of the head."""
        fields = {"Filedrop-Downloads": str(downloads)}
        if expires is not None:
            fields["Filedrop-Expires"] = f"{expires}s"
        if password is not None:
            fields["Filedrop-Password"] = password
        told = json.loads(_sent(self.endpoint, "PUT", self._files, data, fields))
        return Left(told["url"], told["owner_token"])

    def shown(self, password: str) -> Mapping[str, str]:
        """Return the field that curl users write by hand."""
        return {"Filedrop-Password": password}

    def revoke(self, left: Left) -> None:
        """DELETE the link, with its owner's token."""
        _sent(self.endpoint, "DELETE", urlsplit(left.link).path, b"", {"Authorization": f"Bearer {left.owner}"})

    @staticmethod
    def start(folder: Path, window: float | None = None) -> Server:
        """Start one."""
        return OwnFiledropd(folder, *windowed(window))


def windowed(window: float | None) -> tuple[str, ...]:
    """Return the daemon's option for :class:`Starts`."""
    return () if window is None else (f"--resume-window={window:g}s",)


class OwnFiledropd(Filedropd):
    """A filedropd that was started for a test, and may be killed. It has the same port all its life.

    :param arguments: options for the daemon.
    :raises Unfit: it does not start.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.port = _free_port()
        super().__init__(f"http://127.0.0.1:{self.port}", {})
        listen = (f"tcp:{self.port}:interface=127.0.0.1:backlog=4096",)
        cheap = ("--password-memory=1MiB", "--password-time=1")
        self.daemon = Daemon(folder, *cheap, *arguments, listen=listen)
        try:
            self.daemon.start()
        except AssertionError as error:
            raise Unfit(str(error)) from error

    def kill(self) -> None:
        """SIGKILL."""
        self.daemon.kill()

    def restart(self) -> None:
        """SIGTERM, where it runs, and start."""
        if self.daemon.running:
            self.daemon.stop()
        self.daemon.start()

    def close(self) -> None:
        """SIGKILL: nobody needs it any more."""
        self.daemon.kill()


def _free_port() -> int:
    """Return a port that nobody listens on, and that the kernel gives to nobody meanwhile."""
    while True:
        port = random.choice(_QUIET_PORTS)
        with contextlib.closing(socket.socket()) as trial, contextlib.suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port


# -- servers that take `curl -T file` and answer with the link --------------------------------------


class PutText:
    """Any server that takes ``PUT`` and whose answer is the link, as text.

    Options: ``path`` (where to, ``/conformance.bin``); ``downloads``, ``expires``, ``password`` (the names
    of the fields that say so; without one the server lacks the ability); ``password-shown`` (the field
    with which a recipient shows it); ``busy`` and ``gone`` (statuses, ``404,410``).
    """

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        known = {"path", "downloads", "expires", "password", "password-shown", "busy", "gone"}
        if unknown := set(options) - known:
            raise ValueError(f"put-text has no option {sorted(unknown)[0]!r}; it has {', '.join(sorted(known))}")
        self.endpoint = Endpoint.of(url)
        self._options = options
        self.dialect = Dialect(
            busy=_statuses(options.get("busy", "409,423,429,503")),
            gone=_statuses(options.get("gone", "404,410")),
            can=frozenset(options) & {"downloads", "expires", "password"},
        )

    def leave(
        self, data: bytes, *, downloads: int = 1, expires: int | None = None, password: str | None = None
    ) -> Left:
        """PUT the bytes; the first line of the answer is the link."""
        given = {"downloads": str(downloads), "expires": expires and f"{expires}s", "password": password}
        fields = {self._options[name]: value for name, value in given.items() if value and name in self._options}
        told = _sent(self.endpoint, "PUT", self._options.get("path", "/conformance.bin"), data, fields)
        return Left(told.decode("utf-8", "replace").strip().partition("\n")[0])

    def shown(self, password: str) -> Mapping[str, str]:
        """Return the field ``password-shown``, or else the one that sets it."""
        return {self._options.get("password-shown", self._options["password"]): password}

    def revoke(self, left: Left) -> None:
        """Say that there is no way to do that."""
        raise Unfit(f"put-text knows no way to take {left.link} back")


def _statuses(text: str) -> frozenset[int]:
    return frozenset(int(status) for status in text.split(","))


def _sent(endpoint: Endpoint, method: str, target: str, data: bytes, fields: Mapping[str, str]) -> bytes:
    """Return what was answered.

    :raises Unfit: that was not a success.
    """
    connection = http.client.HTTPConnection(endpoint.address, endpoint.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request(method, target, data, {"Host": endpoint.authority, "Accept": "*/*", **fields})
        answer = connection.getresponse()
        told = answer.read()
    if answer.status // 100 != 2:
        raise Unfit(f"{method} {target} was answered with {answer.status}: {told[:200].decode('utf-8', 'replace')}")
    return told


# -- by name ---------------------------------------------------------------------------------------

Makes = Callable[[str, Mapping[str, str]], Adapter]

ADAPTERS: Final[Mapping[str, str]] = {
    "filedropd": f"{__name__}:Filedropd",
    "filedropd-postgres": "tests.conformance.stacks:Postgres",
    "filedropd-nginx-stream": "tests.conformance.stacks:ThroughNginx",
    "filedropd-nginx": "tests.conformance.stacks:ByNginx",
    "put-text": f"{__name__}:PutText",
}


def named(name: str) -> Makes:
    """Return the adapter of this name, or the class at ``module:Class``.

    :raises ValueError: there is none.
    """
    module, colon, attribute = ADAPTERS.get(name, name).partition(":")
    if not colon:
        raise ValueError(f"there is no adapter {name!r}: {', '.join(ADAPTERS)}, or module:Class")
    try:
        return cast(Makes, getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        raise ValueError(f"there is no adapter {name!r}: {error}") from error


def starting(makes: Makes) -> Starts | None:
    """Return what starts servers of an adapter's kind, if anything does."""
    return cast("Starts | None", getattr(makes, "start", None))
