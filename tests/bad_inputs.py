"""Bad inputs on the wire: one connection, the bytes of a client in, what it gets out, and what must hold for all of it.

The numbers are those of the catalogue of bad inputs; :mod:`tests.bad_inputs_table` prints all rows
with what was seen.
"""

from __future__ import annotations

from typing import Final, cast

import attrs
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher

from filedropd.drops import Rules
from filedropd.http.interfaces import Connection
from filedropd.http.request import Request
from filedropd.http.server import HTTPFactory
from filedropd.metrics import Metrics
from filedropd.testing import Response, Wire
from filedropd.web.access import AccessLog
from filedropd.web.api import API
from filedropd.web.operators import Operators
from filedropd.web.problems import refusal
from tests.api import APITestCase
from tests.support import Core
from tests.wired import split

#: Seconds within which a connection is closed that is said to be closed.
CLOSED_WITHIN: Final = 2.0
#: Inputs up to so many bytes are sent byte by byte, too.
BYTE_BY_BYTE: Final = 1500

#: Characters of an input that are shown.
SHOWN: Final = 100

H: Final = b"Host: a\r\n"


@attrs.frozen
class Row:
    """One bad input and what came of it.

    :ivar number: of the row, with a word where it has several inputs.
    :ivar sent: the input, or what was done.
    """

    number: str
    sent: bytes | str
    expected: str
    seen: str

    @property
    def shown(self) -> str:
        """The input, shortened."""
        text = repr(self.sent)[2:-1] if isinstance(self.sent, bytes) else self.sent
        return text if len(text) <= SHOWN else f"{text[: SHOWN - 20]} … ({len(self.sent):,} in all)"

    @property
    def text(self) -> str:
        """All of it in one line."""
        return f"{self.number}: {self.shown}: {self.expected} expected, {self.seen} seen"

    @property
    def right(self) -> bool:
        """Whether what was seen is what is expected; ``closed`` and ``stays`` count where they are named."""
        return self.expected in {self.seen, self.seen.removesuffix(" closed").removesuffix(" stays")}


class BadInputTestCase(APITestCase):
    """A test whose inputs are rows of the catalogue.

    :ivar rows: what was seen so far.
    :ivar answered: the requests that reached the application and are over, as the access log sees them.
    :ivar refused: status codes of what was no request, likewise.
    """

    def setUp(self) -> None:
        super().setUp()
        self.rows: list[Row] = []
        self.answered: list[bytes] = []
        self.refused: list[int] = []
        self.logged: list[str] = []
        self.serve()
        observer = cast(ILogObserver, self._log)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def serve(self) -> None:
        """Serve the API, and look over the access log's shoulder."""
        access = AccessLog(self.core.clock.seconds)

        def answered(request: Request) -> None:
            self.answered.append(request.method + b" " + request.uri)
            access.answered(request)

        def refused(connection: Connection, code: int) -> None:
            self.refused.append(code)
            access.refused(connection, code)

        self.factory = HTTPFactory(
            self.api.resource(), self.core.clock, refusal=refusal, answered=answered, refused=refused
        )

    def use_rules(self, rules: Rules) -> None:
        """Serve another core, with these rules."""
        self.core = Core(rules=rules)
        self.api = API(
            self.core.drops, Operators(Metrics(), self.core.drops.ready), prefix=self.prefix, public_url=self.public_url
        )
        self.serve()

    def _log(self, event: LogEvent) -> None:
        self.logged.append(formatEvent(event))

    # -- rows -------------------------------------------------------------------------------------

    def note(self, number: str, sent: bytes | str, expected: str, seen: str) -> None:
        """Note a row; :meth:`check` judges it."""
        self.rows.append(Row(number, sent, expected, seen))

    def check(self) -> None:
        """All rows so far got their right answers."""
        self.assertEqual([], [row.text for row in self.rows if not row.right])

    def see(self, number: str, data: bytes, expected: str, requests: int = 1) -> None:
        """Send ``data`` at once, and byte by byte where it is short; both must be answered as is expected."""
        row = Row(number, data, expected, self.sent(data, requests=requests))
        if row.right and len(data) <= BYTE_BY_BYTE:
            slowly = attrs.evolve(row, seen=self.sent(*split(data, 1), requests=requests))
            row = row if slowly.right else attrs.evolve(slowly, seen=f"byte by byte: {slowly.seen}")
        self.rows.append(row)

    # -- what is seen -----------------------------------------------------------------------------

    def sent(self, *pieces: bytes, requests: int = 1, methods: tuple[str, ...] = ()) -> str:
        """Send ``pieces`` on a connection of its own and return what came of it.

        :param requests: how many requests there are in it at most: no other may reach the application.
        """
        counts = len(self.answered), len(self.refused)
        before = self.kept
        wire = Wire(self.factory)
        wire.send(*pieces)
        at_once = wire.half_closed
        wire.advance(CLOSED_WITHIN)
        answers = wire.responses(*methods)
        closed = wire.closed
        wire.close()
        answered, refused = len(self.answered) - counts[0], len(self.refused) - counts[1]
        faults = [
            *(fault for answer in answers for fault in faults_of(answer)),
            *([f"{answered} requests seen"] if answered > requests else []),
            *([f"{answered} + {refused} in the access log"] if answered + refused != len(final(answers)) else []),
            *self.leftovers(before, answers),
            *(["late"] if requests == 0 and not at_once else []),
            *(["not closed"] if at_once and not closed else []),
            *(["closed unsaid"] if bool(answers) and closed is not says_close(answers[-1]) else []),
        ]
        return seen(answers, closed, faults)

    def leftovers(self, before: int, answers: list[Response]) -> list[str]:
        """Return what is kept, or lies about, without a 201 having been seen."""
        created = sum(answer.status == 201 for answer in answers)
        faults = [] if self.kept - before == created else [f"{self.kept - before} kept"]
        return faults + (["bytes left"] if self.core.stored.incoming else [])

    @property
    def kept(self) -> int:
        """How many drops there are, those that are gone included."""
        return len(self.core.rows())

    def assertLogIsClean(self) -> None:
        """Every line of the log is one line, and shows nothing that is not printable ASCII."""
        bad = [line for line in self.logged if not (line.isascii() and line.isprintable())]
        self.assertEqual([], bad)


def seen(answers: list[Response], closed: bool, faults: list[str]) -> str:
    """Return in a few words what came on a connection."""
    statuses = (
        ", ".join(str(answer.status) + ("" if answer.complete else " in part") for answer in answers) or "nothing"
    )
    return f"{statuses} {'closed' if closed else 'stays'}" + "".join(f"; {fault}" for fault in faults)


def final(answers: list[Response]) -> list[Response]:
    """Leave 100 and its like out."""
    return [answer for answer in answers if answer.status >= 200]


def says_close(answer: Response) -> bool:
    """Tell whether an answer says that it is the connection's last."""
    return answer.header("Connection") == "close"


def faults_of(answer: Response) -> list[str]:
    """Return what every answer must have and this one has not."""
    faults = []
    if answer.status >= 400 and answer.body and not {"error", "detail"} <= set(answer.json()):
        faults.append("an error that is not told")
    if answer.status == 405 and answer.header("Allow") is None:
        faults.append("405 without Allow")
    if answer.status == 401 and answer.header("WWW-Authenticate") is None:
        faults.append("401 without a challenge")
    if answer.header("Location") is not None and answer.status != 201:
        faults.append("a redirect")
    return faults


def line(text: bytes) -> bytes:
    """Return a request with this request line."""
    return text + b"\r\n" + H + b"\r\n"


def put(fields: bytes, body: bytes, target: bytes = b"/x") -> bytes:
    """Return a PUT with these lines in its head, and with ``body`` behind it."""
    return b"PUT " + target + b" HTTP/1.1\r\n" + H + fields + b"\r\n\r\n" + body
