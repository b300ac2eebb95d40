"""What the daemons on one database tell each other.

Nothing depends on it: what is durable is in the records, and a word that is lost costs somebody a second or a
look at them.  A word is a line of fields: a verb, the drop's key in hexadecimal digits, and

``gone <key> <reason>``
    It is gone, for everybody: this may be remembered.  Where its owner has taken it back, what sends it is to end.
``ask <key> <to> <from> <number> [superseded] [<transfer> …]``
    Somebody who asks the daemon ``from`` met transfers of the daemon ``to``: he waits for what becomes of them.
``told <key> <from> <number> ended|running``
    The answer to that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import count
from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from filedropd.awaiting import SETTLING, Met, ended, ending_soon
from filedropd.deferreds import Gathering, Happening, background
from filedropd.errors import FiledropError
from filedropd.finding import remember
from filedropd.model import Drop, Reason

if TYPE_CHECKING:
    from filedropd.interfaces import ICache, IRecords
    from filedropd.transfers import Transfers
    from filedropd.watching import Watches

#: Seconds for which another daemon's answer is waited for.
ANSWER: Final = 1.0
#: Seconds for which words are collected that are in no hurry.
TOGETHER: Final = 0.05
#: Such words are told at once when there are so many.
_MANY: Final = 200
#: Transfers in one word, at most: a word has 8,000 bytes.
_MOST: Final = 100


class _Question:
    """What other daemons were asked.

    :ivar answered: one has told that there was an end; or none of them has anything that ends soon.
    """

    def __init__(self, daemons: Collection[str]) -> None:
        self.ended = False
        self.answered = Happening()
        self._outstanding = len(daemons)

    def tell(self, *, ended: bool) -> None:
        """Take an answer."""
        self._outstanding -= 1
        self.ended = self.ended or ended
        if ended or self._outstanding == 0:
            self.answered.happen()


class Peers:
    """The other daemons on the same records.

    :param daemon: the name of this one.
    :param cache: this daemon's own, of what is gone.
    :param watches: those who watch drops here.
    :param clock: for waiting.
    """

    _log = Logger()

    def __init__(
        self,
        daemon: str,
        *,
        records: IRecords,
        transfers: Transfers,
        cache: ICache,
        watches: Watches,
        clock: IReactorTime,
    ) -> None:
        self._daemon = daemon
        self._records = records
        self._transfers = transfers
        self._cache = cache
        self._watches = watches
        self._clock = clock
        self._questions: dict[str, _Question] = {}
        self._asked: dict[tuple[bytes, Met], _Question] = {}
        self._numbers = count(1)
        self._later: list[str] = []
        self._work = Gathering()
        self._heard: dict[str, Callable[[bytes, Sequence[str]], None]] = {
            "gone": self._hear_gone,
            "ask": self._hear_ask,
            "told": self._hear_told,
        }

    # -- its life ---------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Listen from now on, until the records are closed."""
        await self._records.listen(self._hear, self._missed)

    async def stop(self) -> None:
        """Return when nothing is told any more. Call it when nothing changes any more."""
        await self._work.empty()

    # -- telling ----------------------------------------------------------------------------------

    def changed(self, drop: Drop) -> None:
        """Tell the others what of ``drop``, which was changed here, concerns them."""
        if drop.finished and drop.reason is not None:
            self._later.append(f"gone {drop.key.hex()} {drop.reason.value}")
            if drop.reason is Reason.REVOKED or len(self._later) == _MANY:
                self._tell_later()
            elif len(self._later) == 1:
                background(self._tell_together(), "telling other daemons")

    async def _tell_together(self) -> None:
        with self._work:
            await Happening().within(self._clock, TOGETHER)
            self._tell_later()

    def _tell_later(self) -> None:
        words, self._later = self._later, []
        self._tell(list(dict.fromkeys(words)))

    def _tell(self, words: Sequence[str]) -> None:
        if words:
            background(self._told(words), "telling other daemons")

    async def _told(self, words: Sequence[str]) -> None:
        with self._work:
            try:
                await self._records.notify(words)
            except FiledropError as error:  # they will see for themselves
                self._log.debug("other daemons are not told: {error}", error=error)

    async def ask(self, key: bytes, met: Met, daemons: Collection[str], seconds: float) -> bool:
        """Ask other daemons to tell when what was met there has ended, and wait for that, a second at most.

        :param daemons: those that run transfers of the drop.
        :returns: something has ended: it is worth while to look again.
        """
        question = self._asked.get((key, met))
        if question is None:
            return await self._ask(key, met, daemons, min(seconds, ANSWER))
        await question.answered.within(self._clock, min(seconds, ANSWER))
        return question.ended

    async def _ask(self, key: bytes, met: Met, daemons: Collection[str], seconds: float) -> bool:
        number = str(next(self._numbers))
        question = self._questions[number] = self._asked[key, met] = _Question(daemons)
        superseded = ("superseded",) if met.superseding else ()
        asked = " ".join((self._daemon, number, *superseded, *sorted(met.transfers or ())[:_MOST]))
        try:
            self._tell([f"ask {key.hex()} {daemon} {asked}" for daemon in sorted(daemons)])
            await question.answered.within(self._clock, seconds)
            return question.ended
        finally:
            del self._questions[number], self._asked[key, met]

    # -- hearing ----------------------------------------------------------------------------------

    def _hear(self, word: str) -> None:
        try:
            verb, key, *fields = word.split(" ")
            heard = self._heard.get(verb)
            if heard is not None:  # else it is a later version's
                heard(bytes.fromhex(key), fields)
        except (ValueError, IndexError):
            self._log.warn("somebody says what no daemon says: {word}", word=word[:80])

    def _hear_gone(self, key: bytes, fields: Sequence[str]) -> None:
        reason = Reason(fields[0])
        background(remember(self._cache, key, reason), "remembering what is gone")
        if reason is Reason.REVOKED:
            self._transfers.abort(key)
        self._watches.tell_of(key)

    def _hear_ask(self, key: bytes, fields: Sequence[str]) -> None:
        to, asker, number, *met = fields
        if to == self._daemon:
            superseding = met[:1] == ["superseded"]
            transfers = frozenset(met[superseding:]) or None
            background(self._answer(key, asker, number, Met(transfers=transfers, superseding=superseding)), "answering")

    async def _answer(self, key: bytes, asker: str, number: str, met: Met) -> None:
        with self._work:
            here = [each for each in self._transfers.of(key) if met.transfers is None or each.id in met.transfers]
            over = not here  # what does not run here any more has ended meanwhile
            if here:
                sending = ending_soon(met, here)
                over = sending is not None and await ended(sending, met, self._clock, SETTLING)
            self._tell([f"told {key.hex()} {asker} {number} {'ended' if over else 'running'}"])

    def _hear_told(self, _: bytes, fields: Sequence[str]) -> None:
        to, number, what = fields
        question = self._questions.get(number)
        if to == self._daemon and question is not None:
            question.tell(ended=what == "ended")

    def _missed(self) -> None:
        """Look for oneself: a drop that is being sent may have been taken back."""
        background(self._look(), "looking for what other daemons have told")

    async def _look(self) -> None:
        with self._work:
            for key in self._transfers.drops():
                try:
                    drop = await self._records.find(key)
                except FiledropError:
                    return  # it is away again: it is looked again when it is back
                if drop is None or drop.reason is Reason.REVOKED:
                    self._transfers.abort(key)
            self._watches.tell_all()
