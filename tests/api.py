"""The whole API on doubles: real routes, real HTTP server, a wire in memory, a clock that is set by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from filedropd.http.server import HTTPFactory
from filedropd.metrics import Metrics
from filedropd.testing import Response, Wire, request
from filedropd.testing.wire import CLIENT
from filedropd.web.access import AccessLog
from filedropd.web.api import API
from filedropd.web.operators import Operators
from filedropd.web.problems import refusal
from tests.support import Core

FILE: Final = "/api/v1.0/file"
#: Where another recipient is than the one who asks unless said otherwise.
ELSEWHERE: Final = IPv4Address("TCP", "192.0.2.7", 50_000)
BOUNDARY: Final = "boundary7MA4YWxk"


def part(name: str, value: bytes | str, disposition: str = "", content_type: str = "") -> bytes:
    """Return one part of a form."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{disposition}\r\n'
    if content_type:
        head += f"Content-Type: {content_type}\r\n"
    return head.encode() + b"\r\n" + (value if isinstance(value, bytes) else value.encode()) + b"\r\n"


def file_part(data: bytes = b"content", filename: str = "report.xls", content_type: str = "") -> bytes:
    """Return the part of a form that carries the file."""
    return part("file", data, f'; filename="{filename}"', content_type)


def form(*parts: bytes) -> bytes:
    """Return a form's body."""
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


class APITestCase(TestCase):
    """A test of what goes in and comes out on the wire."""

    public_url: str | None = None
    prefix = "/api/v1.0"

    def setUp(self) -> None:
        self.core = Core()
        self.api = API(
            self.core.drops, Operators(Metrics(), self.core.drops.ready), prefix=self.prefix, public_url=self.public_url
        )
        access = AccessLog(self.core.clock.seconds)
        self.factory = HTTPFactory(
            self.api.resource(), self.core.clock, refusal=refusal, answered=access.answered, refused=access.refused
        )
        self.core.reaper.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.core.reaper.stop()))

    def use_passwords(self) -> None:
        """Let passwords be hashed, on threads."""
        self.core.passwords.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.core.passwords.stop()))

    def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        client: IAddress = CLIENT,
    ) -> Response:
        """Ask on a connection of its own, close it, and return the answer, which comes at once."""
        wire = Wire(self.factory, client=client)
        wire.send(request(method, target, headers, body))
        wire.close()
        (answer,) = wire.responses(method)
        self.assertTrue(answer.complete)
        return answer

    async def ask_slowly(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        client: IAddress = CLIENT,
    ) -> Response:
        """Ask as :meth:`ask` does, for an answer that threads work on."""
        wire = Wire(self.factory, client=client)
        wire.send(request(method, target, headers, body))
        while not wire.responses(method):
            await deferLater(reactor, 0, wire.run)
        wire.close()
        return wire.responses(method)[0]

    def send_form(
        self, *parts: bytes, method: str = "PUT", target: str = FILE, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send a form."""
        fields = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", **(headers or {})}
        return self.ask(method, target, fields, form(*parts))

    def leave(self, data: bytes = b"content", **options: str) -> dict[str, Any]:
        """Leave a file, and return what was told of it; ``path`` is the link without its host."""
        fields = {f"Filedrop-{name.capitalize()}": value for name, value in options.items()}
        answer = self.ask("PUT", FILE, fields, data)
        self.assertEqual(201, answer.status, answer.body)
        told: dict[str, Any] = answer.json()
        return told | {"path": f"{self.prefix}/file/{told['id']}"}

    def assertProblem(self, status: int, words: str, answer: Response) -> None:
        """The answer is an error, as the API tells errors."""
        self.assertEqual((status, "application/json"), (answer.status, answer.header("Content-Type")), answer.body)
        told = json.loads(answer.body)
        self.assertEqual(words, told["error"])
        self.assertTrue(told["detail"].endswith("."), told["detail"])

    def assertNothingKept(self) -> None:
        """Neither bytes nor rows are there."""
        self.assertEqual(({}, {}), (dict(self.core.stored.incoming), dict(self.core.stored.published)))
        self.assertEqual([], self.core.rows())
