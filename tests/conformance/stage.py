"""What a case stands on: a server, a deadline, files that it leaves, recipients who come for them."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, cast
from urllib.parse import urlsplit

import attrs

from tests.conformance.adapters import PATIENCE, Adapter, Left, Server
from tests.conformance.answers import Answer
from tests.conformance.copies import holders
from tests.conformance.wire import Connection, Deadline, Late, Recipient

KIB: Final = 1024
MIB: Final = 1024 * KIB
SMALL: Final = 100 * KIB
# Of a server that is reached directly; see Stage.
_BIG: Final = 4 * MIB
_IN_KERNEL: Final = 600 * KIB
_LARGE: Final = 12 * MIB

FIRST: Final = Recipient("the first recipient", "127.0.0.1")
OTHER: Final = Recipient("another recipient", "127.0.0.2")
THIRD: Final = Recipient("a third recipient", "127.0.0.3")
#: Comes when all is over.
STRANGER: Final = Recipient("a stranger", "127.0.0.99")

_PAUSE: Final = 0.05
_LOOK: Final = 0.01
#: Seconds for which the stranger asks again and again.
_FURTHER: Final = 2.0


class Unkept(Exception):
    """A promise is not kept; the text says what was seen."""


class Unsafe(Unkept):
    """There are more complete copies than the sender allowed. Nothing excuses that."""


def check(kept: object, seen: str) -> None:
    """Go on if a promise is kept.

    :raises Unkept: it is not; tells what was ``seen``.
    """
    if not kept:
        raise Unkept(seen)


@attrs.frozen
class Drop:
    """A file that was left.

    :ivar target: its link as it is asked for.
    :ivar downloads: how many complete copies its sender allowed.
    """

    left: Left
    content: bytes = attrs.field(repr=False)
    target: str
    downloads: int = 1


#: What a proxy says when its own request got no answer.
_BAD_GATEWAY: Final = 502


class Stage:
    """One case's own.

    :ivar server: what is tested.
    :ivar deadline: when the case must be over.
    :ivar between: how many bytes a proxy in front of the server may have of a download that its client has not.
    :ivar big: a size, half of which is more than the server, a proxy and a narrow client can have on the way between them.
    :ivar in_kernel: more than a narrow client's kernel takes, and so little that the server's takes all of it at
        once; where there is a proxy, more than it takes.
    :ivar large: more than kernels have between a server and any client.
    """

    def __init__(self, server: Adapter, seconds: float) -> None:
        self.server = server
        self.deadline = Deadline(seconds)
        self.between = server.dialect.between
        self.big = _BIG + 2 * self.between
        self.in_kernel = _IN_KERNEL + 2 * self.between
        self.large = _LARGE + 2 * self.between
        self._open: list[Connection] = []
        self._drops: list[Drop] = []

    def end(self) -> None:
        """Close what the case has left open."""
        for connection in self._open:
            connection.reset()

    def audit(self) -> None:
        """Look whether anybody has more than was allowed.

        :raises Unsafe: there are more complete copies than that.
        """
        for drop in self._drops:
            copies = len(holders(drop, self._open))
            if copies > drop.downloads:
                raise Unsafe(f"{copies} recipients have complete copies, and {drop.downloads} were allowed")

    def audit_further(self) -> None:
        """Close what is open; then have a stranger try to get one copy more of what is used up.

        :raises Unsafe: he gets it.
        """
        self.end()
        self.deadline = Deadline(_FURTHER + PATIENCE)
        for drop in self._drops:
            if len(holders(drop, self._open)) >= drop.downloads:
                ends = time.monotonic() + _FURTHER
                while self.busy(self.fetch(drop, STRANGER)) and time.monotonic() < ends:
                    time.sleep(_PAUSE)
        self.audit()

    @property
    def own(self) -> Server:
        """The server, in a case that needs one of its own."""
        return cast(Server, self.server)

    # -- what is done -----------------------------------------------------------------------------

    def leave(self, size: int | None = None, **terms: Any) -> Drop:
        """Leave a file of random bytes, a :attr:`big` one unless its size is given."""
        content = os.urandom(self.big if size is None else size)
        left = self.server.leave(content, **terms)
        link = urlsplit(left.link)
        check(link.scheme == "http" and link.path, f"the link is {left.link!r}")
        target = link.path + (f"?{link.query}" if link.query else "")
        self._drops.append(Drop(left, content, target, terms.get("downloads", 1)))
        return self._drops[-1]

    def connect(self, who: Recipient = FIRST, *, narrow: bool = False) -> Connection:
        """Connect; the connection is closed with the case at the latest."""
        connection = Connection(self.server.endpoint, who, self.deadline, narrow=narrow)
        self._open.append(connection)
        return connection

    def showing(self, password: str, who: Recipient) -> Recipient:
        """Return ``who``, showing a password with each request."""
        return attrs.evolve(who, fields=self.server.shown(password))

    def begin(
        self, drop: Drop, who: Recipient = FIRST, *, method: str = "GET", narrow: bool = True, **fields: str
    ) -> Answer:
        """Ask for a file and return the answer, its body unread. Fields of the head are written ``If_Range=…``."""
        answer = self.connect(who, narrow=narrow).ask(drop.target, method, _named(fields))
        if answer.status == _BAD_GATEWAY and self.between:
            # It asked on a connection that it kept, and that the daemon was about to close: clients ask again.
            answer = self.connect(who, narrow=narrow).ask(drop.target, method, _named(fields))
        return answer

    def fetch(self, drop: Drop, who: Recipient = FIRST, *, method: str = "GET", **fields: str) -> Answer:
        """Ask for a file, read all that comes, close (FIN), and return what came."""
        answer = self.begin(drop, who, method=method, narrow=False, **fields).rest()
        answer.connection.close()
        return answer

    def fetch_in_time(self, drop: Drop, who: Recipient = FIRST, **fields: str) -> Answer:
        """Ask as often as the answer is that somebody else is fetching the file."""
        return self.until(lambda: self.fetch(drop, who, **fields), lambda answer: not self.busy(answer))

    def until(self, act: Callable[[], Answer], good: Callable[[Answer], bool]) -> Answer:
        """Do something again and again until what comes of it is good, and return that.

        :raises Unkept: the case's time is over before; tells what came of it last.
        """
        last = act()
        while not good(last):
            try:
                time.sleep(min(_PAUSE, self.deadline.left()))
                last = act()
            except Late as late:
                raise Unkept(f"{late}: {last.connection.who.called} still gets {last.told}") from None
        return last

    # -- what is seen -----------------------------------------------------------------------------

    def busy(self, answer: Answer) -> bool:
        """Tell whether an answer says that somebody else is fetching the file."""
        return answer.status in self.server.dialect.busy

    def gone(self, answer: Answer) -> bool:
        """Tell whether an answer says that the file is gone."""
        return answer.status in self.server.dialect.gone

    @staticmethod
    def whole(drop: Drop, answer: Answer) -> bool:
        """Tell whether an answer is the file, byte for byte."""
        return answer.status == 200 and answer.complete and answer.body == drop.content

    # -- what is promised -------------------------------------------------------------------------

    def gets_all(self, drop: Drop, who: Recipient = FIRST, *, at_once: bool = True, **fields: str) -> Answer:
        """``who`` asks for the file and gets it; with ``at_once=False`` as soon as nobody else is fetching it."""
        answer = (self.fetch if at_once else self.fetch_in_time)(drop, who, **fields)
        check(self.whole(drop, answer), f"{who.called} should get all and got {told(drop, answer)}")
        return answer

    def gets_rest(self, drop: Drop, has: bytes, who: Recipient = FIRST, **fields: str) -> Answer:
        """``who`` has the beginning of the file, asks for the rest and gets it; while told 423 it asks again."""
        if has:
            fields = {"Range": f"bytes={len(has)}-", **fields}
        answer = self.fetch_in_time(drop, who, **fields)
        right = answer.status == (206 if has else 200) and answer.complete and has + answer.body == drop.content
        check(right, f"{who.called} has {len(has):,} bytes, should get the rest and got {told(drop, answer)}")
        size = len(drop.content)
        place = f"bytes {len(has)}-{size - 1}/{size}"
        seen = answer.field("Content-Range")
        check(not has or seen == place, f"Content-Range is {seen!r} and should be {place!r}")
        return answer

    def is_busy(self, drop: Drop, who: Recipient = OTHER, **fields: str) -> Answer:
        """``who`` is told that somebody else is fetching the file."""
        answer = self.fetch(drop, who, **fields)
        check(self.busy(answer), f"{who.called} should be told that it is busy and got {told(drop, answer)}")
        return answer

    def is_gone(
        self, drop: Drop, who: Recipient = OTHER, *, reason: str | None = None, at_once: bool = True, **fields: str
    ) -> Answer:
        """``who`` is told that the file is gone, and where the server tells reasons, for which."""
        answer = (self.fetch if at_once else self.fetch_in_time)(drop, who, **fields)
        check(self.gone(answer), f"{who.called} should be told that it is gone and got {told(drop, answer)}")
        if reason is not None and "reasons" in self.server.dialect.can:
            check(f'"{reason}"'.encode() in answer.body, f"the reason should be {reason}: {bytes(answer.body)!r}")
        return answer

    def is_refused(self, drop: Drop, who: Recipient = OTHER, **fields: str) -> Answer:
        """``who`` does not get the file: it is busy, or gone."""
        answer = self.fetch(drop, who, **fields)
        check(self.busy(answer) or self.gone(answer), f"{who.called} should get nothing and got {told(drop, answer)}")
        return answer

    def came_whole(self, drop: Drop, answer: Answer) -> None:
        """A download that was begun comes to its end, and was all of the file. Its connection stays open."""
        check(self.whole(drop, answer.rest()), f"{answer.connection.who.called} should get all and got {answer.told}")

    def stays_busy(self, drop: Drop, seconds: float, who: Recipient = OTHER) -> None:
        """``who`` asks for so many seconds, and is told all the time that somebody else is fetching the file."""
        ends = time.monotonic() + min(seconds, self.deadline.left())
        while time.monotonic() < ends:
            self.is_busy(drop, who)
            time.sleep(_PAUSE)

    def is_lost(self, answer: Answer, seconds: float, seen: str) -> None:
        """Wait until a running download is broken off; not behind a proxy, where reading on alone shows that it was."""
        looks = round(seconds / _LOOK)  # a machine that stands still does not make them fewer
        while not (answer.connection.lost() or self.server.dialect.fronted):
            check(looks > 0, seen)
            looks -= 1
            time.sleep(_LOOK)

    def was_cut(self, drop: Drop, answer: Answer) -> None:
        """A download that was running was broken off before its end."""
        with contextlib.suppress(OSError):
            answer.rest()
        check(not answer.complete, f"a running download should be cut and came as {told(drop, answer)}")


def told(drop: Drop, answer: Answer) -> str:
    """Return an answer in a few words."""
    if answer.status == 200 and answer.complete:
        return "all of it" if answer.body == drop.content else f"200 with {len(answer.body):,} other bytes"
    return answer.told


def _named(fields: Mapping[str, str]) -> dict[str, str]:
    """Return fields under their own names."""
    return {name.replace("_", "-"): value for name, value in fields.items()}
