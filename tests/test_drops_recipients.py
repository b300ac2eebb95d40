"""Drops: who is let in, who is the recipient, what can be asked without taking anything."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from filedropd.claims.policy import PROBE_WINDOW, Policy
from filedropd.downloads import Visit
from filedropd.errors import Gone, Locked, PasswordRequired
from filedropd.model import ClaimState, Reason, Touch
from filedropd.tokens import Token
from filedropd.upload import Receipt
from tests.support import KEPT, OTHER, Core, CoreTestCase, Recipient

WINDOW = Policy().window


def states(core: Core, receipt: Receipt) -> list[ClaimState]:
    """Return the states of a drop's claims."""
    return [claim.state for claim in core.claims(receipt)]


class RecipientsTestCase(CoreTestCase):
    """What these tests share: a drop, and ways in."""

    def setUp(self) -> None:
        super().setUp()
        self.receipt = self.done(self.core.upload())

    def visit(self, recipient: Recipient | None = None) -> Visit:
        """Let somebody in."""
        return self.done(self.core.look(self.receipt, recipient))

    def broken(self, acknowledged: int = 3) -> Token:
        """Break a download off, and return the claim's token."""
        recipient = self.done(self.core.deliver(self.receipt, Recipient(breaks_at=3, acknowledged=acknowledged)))
        if recipient.claim is None:
            raise AssertionError("no token was given")
        return recipient.claim


class ClaimTests(RecipientsTestCase):
    """A claim that is opened before any byte is asked for, as by the page's button."""

    def test_token(self):
        """Its token gets the bytes, from wherever it is shown."""
        token = self.done(self.core.drops.claim(self.visit()))
        self.assertEqual(
            ([ClaimState.SUSPENDED], 1), (states(self.core, self.receipt), self.core.row(self.receipt).live)
        )
        got = self.done(self.core.deliver(self.receipt, Recipient(source=OTHER, token=token)))
        self.assertEqual((b"content", token), (bytes(got.received), got.claim))

    def test_without_token(self):
        """So does whoever asks from where it was opened."""
        token = self.done(self.core.drops.claim(self.visit()))
        self.assertEqual(token, self.done(self.core.deliver(self.receipt, Recipient())).claim)

    def test_nobody_else(self):
        """Others wait five seconds, and then the copy is theirs: a claim that sent nothing leaves nothing."""
        self.done(self.core.drops.claim(self.visit()))
        other = self.visit(Recipient(source=OTHER))
        self.refused(Locked, self.core.drops.claim(other))
        self.core.clock.advance(PROBE_WINDOW)
        self.done(self.core.drops.claim(other))
        self.assertEqual([2], [claim.number for claim in self.core.claims(self.receipt)])

    def test_again(self):
        """Who has one gets the same again, and its time is not renewed."""
        first = self.done(self.core.drops.claim(self.visit()))
        self.core.clock.advance(PROBE_WINDOW - 1)
        self.assertEqual(first, self.done(self.core.drops.claim(self.visit())))
        self.core.clock.advance(1)
        self.done(self.core.drops.claim(self.visit(Recipient(source=OTHER))))

    def test_running(self):
        """Who is being sent the file gets the token of that claim, and disturbs nothing."""
        recipient = Recipient().hold_sends()
        self.begun(self.core.deliver(self.receipt, recipient))
        self.assertEqual(recipient.claim, self.done(self.core.drops.claim(self.visit())))
        self.assertFalse(recipient.aborted)
        recipient.go_on()

    def test_lapsed(self):
        """Who comes back after his window gets the token of the claim that he had, and goes on with it."""
        token = self.broken()
        self.core.clock.advance(WINDOW)
        self.assertEqual(token, self.done(self.core.drops.claim(self.visit())))
        rest = self.done(self.core.deliver(self.receipt, Recipient(source=OTHER, token=token), first=3))
        self.assertEqual((b"tent", [ClaimState.DELIVERED]), (bytes(rest.received), states(self.core, self.receipt)))

    def test_settling(self):
        """Who meets a copy that settles waits for its outcome."""
        recipient = Recipient().hold_settle()
        self.begun(self.core.deliver(self.receipt, recipient))
        waiting = self.begun(self.core.drops.claim(self.visit(Recipient(source=OTHER))))
        self.assertNoResult(waiting)
        recipient.go_on()
        self.refused(Gone, waiting)


class TokenTests(RecipientsTestCase):
    """Whoever shows the token is the recipient."""

    def test_elsewhere(self):
        """From elsewhere the token goes on with what broke off, and nothing else does."""
        token = self.broken()
        self.refused(Locked, self.core.deliver(self.receipt, Recipient(source=OTHER), first=3))
        rest = self.done(self.core.deliver(self.receipt, Recipient(source=OTHER, token=token), first=3))
        self.assertEqual((b"tent", token), (bytes(rest.received), rest.claim))
        self.assertEqual([ClaimState.DELIVERED], states(self.core, self.receipt))

    def test_without_address(self):
        """Where the address says nothing, nobody is anybody's like, but for the token."""
        recipient = self.done(self.core.deliver(self.receipt, Recipient(breaks_at=3, source=None)))
        self.assertIsNone(self.core.claims(self.receipt)[0].recipient)
        self.refused(Locked, self.core.deliver(self.receipt, Recipient(source=None)))
        self.done(self.core.deliver(self.receipt, Recipient(source=None, token=recipient.claim)))

    def test_wrong(self):
        """A token that is none says nothing: the address counts."""
        self.broken()
        wrong = Token("0" * 32)
        self.refused(Locked, self.core.deliver(self.receipt, Recipient(source=OTHER, token=wrong)))
        self.done(self.core.deliver(self.receipt, Recipient(token=wrong)))

    def test_spent(self):
        """The token of a copy that is delivered says nothing any more."""
        self.receipt = self.done(self.core.upload(downloads=2))
        token = self.done(self.core.deliver(self.receipt, Recipient())).claim
        again = self.done(self.core.deliver(self.receipt, Recipient(token=token)))
        self.assertNotEqual(token, again.claim)
        self.refused(Gone, self.core.deliver(self.receipt, Recipient(token=token)))

    def test_claimed(self):
        """It can be asked whether a token is one that still counts, which changes nothing."""
        token = self.broken()
        for shown, counts in ((token, True), (Token("0" * 32), False), (self.receipt.link, False)):
            visit = self.visit(Recipient(token=shown, source=OTHER))
            self.assertEqual((counts, counts), (visit.claimed, self.done(self.core.drops.claimed(visit.recipient))))
        shows, shows_none = self.visit(Recipient(token=token)), self.visit()
        self.assertFalse(self.done(self.core.drops.claimed(shows_none.recipient)))
        self.done(self.core.deliver(self.receipt, Recipient()))
        self.assertFalse(self.done(self.core.drops.claimed(shows.recipient)))


class GoneTests(RecipientsTestCase):
    """A drop that is gone, and kept for somebody."""

    def expired(self) -> Token:
        """Return the token of a claim on a drop whose time is over."""
        self.core.clock.advance(KEPT - 1)
        token = self.broken()
        self.core.clock.advance(2)
        return token

    def test_own(self):
        """Its recipient is let in, by his address or by the token, and nobody else."""
        token = self.expired()
        self.visit()
        self.visit(Recipient(token=token, source=OTHER))
        self.assertEqual("expired", self.refused(Gone, self.core.look(self.receipt, Recipient(source=OTHER))).reason)
        wrong = Recipient(token=Token("0" * 32), source=OTHER)
        self.assertEqual("expired", self.refused(Gone, self.core.look(self.receipt, wrong)).reason)

    def test_only_his_own(self):
        """He gets what he has claimed, and no further copy."""
        self.receipt = self.done(self.core.upload(downloads=2))
        self.expired()
        self.done(self.core.deliver(self.receipt, Recipient(), first=3))
        self.assertEqual("expired", self.refused(Gone, self.core.deliver(self.receipt, Recipient())).reason)

    def test_page(self):
        """He is shown no page any more: that is for who has yet to claim."""
        self.expired()
        self.refused(Gone, self.core.drops.view(self.receipt.link))

    def test_last_window(self):
        """One window after the expiry it is over for him, too."""
        token = self.expired()
        self.core.clock.advance(WINDOW)
        for recipient in (Recipient(), Recipient(token=token)):
            self.assertEqual("expired", self.refused(Gone, self.core.look(self.receipt, recipient)).reason)

    def test_revoked(self):
        """What its owner took back is kept for nobody."""
        token = self.broken()
        self.done(self.core.drops.revoke(self.receipt.link, self.receipt.owner))
        for recipient in (Recipient(), Recipient(token=token)):
            self.assertEqual("revoked", self.refused(Gone, self.core.look(self.receipt, recipient)).reason)


class PeekTests(RecipientsTestCase):
    """Whether bytes could be had."""

    def peek(self, recipient: Recipient, first: int = 0, length: int = 7) -> Deferred[None]:
        """Ask."""
        return self.begun(self.core.drops.peek(self.visit(recipient), first, length))

    def test_nothing_taken(self):
        """To ask takes nothing and notes nothing."""
        before = self.core.ledger(self.receipt)
        for _ in range(3):
            self.done(self.peek(Recipient()))
        self.assertEqual((before, []), (self.core.ledger(self.receipt), self.core.touches(self.receipt)))

    def test_locked(self):
        """While somebody else has the copy, or these bytes are on their way, they could not."""
        recipient = Recipient().hold_sends()
        self.begun(self.core.deliver(self.receipt, recipient, 0, 4))
        for source in (recipient.source, OTHER):
            self.refused(Locked, self.peek(Recipient(source=source)))
        self.done(self.peek(Recipient(), 4, 3))
        recipient.go_on()

    def test_supersedes_nothing(self):
        """Not even with the token is anything broken off for it."""
        recipient = Recipient().hold_sends()
        self.begun(self.core.deliver(self.receipt, recipient))
        self.refused(Locked, self.peek(Recipient(token=recipient.claim)))
        self.assertFalse(recipient.aborted)
        recipient.go_on()

    def test_waits_for_nobody(self):
        """What settles is not waited for."""
        recipient = Recipient().hold_settle()
        self.begun(self.core.deliver(self.receipt, recipient))
        self.refused(Locked, self.peek(Recipient(source=OTHER)))
        recipient.go_on()

    def test_in_its_own_time(self):
        """What time has freed could be had, though nobody has written that down."""
        self.broken()
        self.refused(Locked, self.peek(Recipient(source=OTHER)))
        self.core.clock.advance(WINDOW)
        self.done(self.peek(Recipient(source=OTHER)))
        self.assertEqual([ClaimState.SUSPENDED], states(self.core, self.receipt))

    def test_gone(self):
        """What went between look and peek is gone."""
        visit = self.visit()
        self.done(self.core.deliver(self.receipt, Recipient()))
        self.assertEqual("delivered", self.refused(Gone, self.core.drops.peek(visit, 0, 7)).reason)


class ViewTests(RecipientsTestCase):
    """The page: what the drop is, and not what is in it."""

    def test_view(self):
        """Whoever has the link may see it, while somebody downloads, too."""
        recipient = Recipient().hold_sends()
        self.begun(self.core.deliver(self.receipt, recipient))
        self.assertEqual("name.txt", self.done(self.core.drops.view(self.receipt.link)).name)
        recipient.go_on()
        self.assertEqual("delivered", self.refused(Gone, self.core.drops.view(self.receipt.link)).reason)

    def test_touched(self):
        """That somebody looked is noted, and changes nothing else."""
        drop = self.done(self.core.drops.view(self.receipt.link))
        self.done(self.core.drops.touched(drop, Touch.PREVIEWED, "Slack"))
        self.done(self.core.drops.touched(drop, Touch.OPENED))
        standing = self.done(self.core.drops.status(self.receipt.link, self.receipt.owner))
        self.assertEqual(
            [(1, Touch.PREVIEWED, "Slack"), (2, Touch.OPENED, None)],
            [(event.number, event.touch, event.who) for event in standing.history],
        )
        self.assertEqual(([], 0), (states(self.core, self.receipt), self.core.row(self.receipt).opened))


class StrictTests(CoreTestCase):
    """With one attempt a copy, nobody is sent twice what went out once, unless he shows the token."""

    def setUp(self) -> None:
        super().setUp()
        self.core = Core(policy=Policy(max_attempts=1))
        self.receipt = self.done(self.core.upload())

    def test_whole(self):
        """After a download of which all was sent, the address is not enough."""
        recipient = Recipient().hold_settle()
        running = self.begun(self.core.deliver(self.receipt, recipient))
        recipient.leave()
        self.done(running)
        self.refused(Locked, self.core.deliver(self.receipt, Recipient()))
        again = self.done(self.core.deliver(self.receipt, Recipient(token=recipient.claim)))
        self.assertEqual(b"content", bytes(again.received))

    def test_rest(self):
        """The rest of one that broke can be had by the address."""
        self.done(self.core.deliver(self.receipt, Recipient(breaks_at=3)))
        self.assertEqual(b"tent", bytes(self.done(self.core.deliver(self.receipt, Recipient(), first=3)).received))

    def test_abandoned(self):
        """A copy that is given up more than half-way is not given out again."""
        self.done(self.core.deliver(self.receipt, Recipient(breaks_at=4)))
        self.core.clock.advance(WINDOW)
        self.assertEqual(
            "abandoned", self.refused(Gone, self.core.deliver(self.receipt, Recipient(source=OTHER))).reason
        )


class PasswordTests(TestCase):
    """A drop with a password."""

    def setUp(self) -> None:
        self.core = Core()
        self.core.passwords.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.core.passwords.stop()))

    async def broken(self) -> tuple[Receipt, Token | None]:
        """Return a drop of which a download broke off, and the claim's token."""
        receipt = await self.core.upload(password=b"secret")
        visit = await self.core.look(receipt, password=b"secret")
        recipient = Recipient(breaks_at=3)
        await self.core.drops.deliver(visit, 0, 7, recipient, recipient.begin)
        return receipt, recipient.claim

    async def test_token(self):
        """The token stands for it."""
        receipt, token = await self.broken()
        self.assertTrue((await self.core.look(receipt, Recipient(token=token, source=OTHER))).claimed)
        got = await self.core.deliver(receipt, Recipient(token=token, source=OTHER))
        self.assertEqual(b"content", bytes(got.received))

    async def test_address(self):
        """The address does not."""
        receipt, _ = await self.broken()
        with self.assertRaises(PasswordRequired):
            await self.core.look(receipt)
        with self.assertRaises(PasswordRequired):
            await self.core.look(receipt, Recipient(token=Token("0" * 32)))

    async def test_gone(self):
        """Nor on a drop that is gone, where others are told that it is."""
        receipt, token = await self.broken()
        await self.core.kept.change(receipt.drop.key, lambda ledger: (ledger.ended(Reason.EXPIRED, 0), None))
        with self.assertRaises(PasswordRequired):
            await self.core.look(receipt)
        with self.assertRaises(Gone):
            await self.core.look(receipt, Recipient(source=OTHER))
        self.assertTrue((await self.core.look(receipt, Recipient(token=token, source=OTHER))).claimed)
