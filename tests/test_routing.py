"""Whatever comes of a route, whoever asks is answered."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from filedropd.http.request import Request
from filedropd.http.server import HTTPFactory
from filedropd.testing import Wire, request
from filedropd.web.hot import HotRoutes
from filedropd.web.problems import refusal
from filedropd.web.routing import answering
from tests.wired import Held


class CancelledTests(SynchronousTestCase):
    """A route whose work is cancelled."""

    def setUp(self) -> None:
        self.held = Held()

    def asked(self) -> Wire:
        """Ask to leave a file; that waits."""

        async def act(request: Request) -> None:
            await self.held(request)

        route = answering("/file", act)
        wire = Wire(HTTPFactory(HotRoutes("", route, route, Resource()), Clock(), refusal=refusal))
        wire.send(request("PUT", "/file"))
        return wire

    def test_left(self):
        """When the client leaves, that is the end of it, and no fault of anybody's."""
        with capturedLogs() as logged:
            self.asked().reset()
        self.assertEqual((1, []), (self.held.cancelled, logged))

    def test_there(self):
        """While he is there, it is a fault of ours, and answered as such."""
        wire = self.asked()
        self.held.let_go(CancelledError())
        self.assertEqual([500], [answer.status for answer in wire.responses()])
        self.assertEqual(1, len(self.flushLoggedErrors(CancelledError)))
