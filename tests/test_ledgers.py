"""Ledgers: drops are changed by rules, in time, durably, and whoever is concerned hears of it."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.logger import capturedLogs, formatEvent

from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import Policy
from filedropd.errors import Unavailable
from filedropd.model import ClaimState, Drop, DropState, Reason, Touch
from filedropd.tokens import claim_token, short
from filedropd.upload import Receipt
from tests.support import KEPT, CoreTestCase, Recipient

WINDOW = Policy().window


class LedgersTestCase(CoreTestCase):
    """What these tests share: a drop."""

    def setUp(self) -> None:
        super().setUp()
        self.receipt = self.done(self.core.upload(b"content"))
        self.ledgers = self.core.ledgers
        self.key = self.receipt.drop.key

    def noted(self, ledger: Ledger, now: float, _policy: Policy) -> tuple[Ledger, str]:
        """Note something, and say so."""
        return ledger.noted(Touch.PREVIEWED, now), "noted"

    def nothing(self, ledger: Ledger, _now: float, _policy: Policy) -> tuple[Ledger, str]:
        """Change nothing."""
        return ledger, "nothing"


class ReadTests(LedgersTestCase):
    """What there is now."""

    def test_elapsed(self):
        """What time has brought is there, and nothing is written."""
        self.done(self.core.deliver(self.receipt, Recipient(breaks_at=3)))
        self.core.clock.advance(KEPT + WINDOW)
        ledger = self.done(self.ledgers.read(self.key))
        self.assertEqual((Reason.EXPIRED, [ClaimState.LAPSED]), self.told(ledger))
        self.assertEqual((None, [ClaimState.SUSPENDED]), self.told(self.core.ledger(self.receipt)))

    def told(self, ledger: Ledger | None) -> tuple[Reason | None, list[ClaimState]]:
        """Return a drop's reason and the states of its claims."""
        if ledger is None:
            raise AssertionError("the drop is not there")
        return ledger.drop.reason, [claim.state for claim in ledger.claims]

    def test_never_there(self):
        """Of what was never there, there is nothing."""
        self.assertIsNone(self.done(self.ledgers.read(b"x" * 32)))
        self.assertIsNone(self.done(self.ledgers.change(b"x" * 32, self.noted)))


class ChangeTests(LedgersTestCase):
    """What becomes of it."""

    def test_result(self):
        """The rule's result comes back, and what it made is kept."""
        self.assertEqual("noted", self.done(self.ledgers.change(self.key, self.noted)))
        self.assertEqual(["previewed"], self.core.touches(self.receipt))

    def test_time_first(self):
        """The rule is given what time has brought, the time, and the operator's numbers."""
        given: list[tuple[Any, ...]] = []

        def rule(ledger: Ledger, now: float, policy: Policy) -> tuple[Ledger, None]:
            given.append((ledger.drop.reason, now, policy))
            return ledger, None

        self.core.clock.advance(KEPT)
        self.done(self.ledgers.change(self.key, rule))
        self.assertEqual([(Reason.EXPIRED, self.core.wall(), Policy())], given)
        self.assertEqual(DropState.GONE, self.core.row(self.receipt).state)

    def test_due(self):
        """When it is due next is worked out anew: a claim's window, the expiry, at once."""
        self.done(self.core.deliver(self.receipt, Recipient(breaks_at=3)))
        self.assertEqual(self.core.wall() + WINDOW, self.core.row(self.receipt).due_at)
        self.core.clock.advance(WINDOW)
        self.done(self.ledgers.change(self.key, self.noted))
        self.assertEqual(self.receipt.drop.expires_at, self.core.row(self.receipt).due_at)
        self.done(self.core.drops.revoke(self.receipt.link, self.receipt.owner))
        self.assertEqual(self.core.wall(), self.core.row(self.receipt).due_at)

    def test_due_of_what_is_finished(self):
        """When the deletion of what is finished is due is not touched: it may be being tried again."""
        self.done(self.core.drops.revoke(self.receipt.link, self.receipt.owner))
        self.done(self.core.kept.purge_failed(self.key, 2e9))
        self.done(self.ledgers.change(self.key, self.noted))
        self.assertEqual(2e9, self.core.row(self.receipt).due_at)

    def test_raises(self):
        """What a rule raises comes out, and nothing was changed."""

        def rule(ledger: Ledger, now: float, policy: Policy) -> tuple[Ledger, None]:
            raise ValueError("no")

        before = self.core.ledger(self.receipt)
        self.refused(ValueError, self.ledgers.change(self.key, rule))
        self.assertEqual(before, self.core.ledger(self.receipt))


class WordTests(LedgersTestCase):
    """Word of it."""

    def setUp(self) -> None:
        super().setUp()
        self.heard: list[Drop] = []
        self.ledgers.tell(self.heard.append)

    def test_told(self):
        """Whoever wants to hear is told of each change, with the drop as it is now."""
        self.done(self.ledgers.change(self.key, self.noted))
        self.assertEqual([self.core.row(self.receipt)], self.heard)

    def test_several(self):
        """Any number may want to."""
        more: list[Drop] = []
        self.ledgers.tell(more.append)
        self.done(self.ledgers.change(self.key, self.noted))
        self.assertEqual((1, self.heard), (len(more), more))

    def test_durable_before(self):
        """They are told when it is durable, and not before."""
        self.core.journal.hold("after records.change")
        changing = self.begun(self.ledgers.change(self.key, self.noted))
        self.assertEqual([], self.heard)
        self.core.journal.release("after records.change")
        self.done(changing)
        self.assertEqual(1, len(self.heard))

    def test_not_durable(self):
        """Of what could not be kept nothing is said."""
        self.core.journal.fail("records.change", Unavailable("away"))
        with capturedLogs() as events:
            self.refused(Unavailable, self.ledgers.change(self.key, self.noted))
        self.assertEqual(([], []), (self.heard, list(events)))

    def test_nothing(self):
        """Nor where nothing was changed."""
        with capturedLogs() as events:
            self.assertEqual("nothing", self.done(self.ledgers.change(self.key, self.nothing)))
        self.assertEqual(([], []), (self.heard, list(events)))

    def test_run_again(self):
        """A rule that had to be run again is told of once, as it came out."""

        def twice(ledger: Ledger, now: float, policy: Policy) -> tuple[Ledger, str]:
            attempts.append(ledger)
            return self.noted(ledger, now, policy)

        async def change(key: bytes, rule: Any) -> Any:
            rule(await self.core.kept.ledger(key))
            return await kept(key, rule)

        attempts: list[Ledger] = []
        kept, self.core.kept.change = self.core.kept.change, change  # type: ignore[method-assign]
        with capturedLogs() as events:
            self.done(self.ledgers.change(self.key, twice))
        self.assertEqual((2, 1, 1), (len(attempts), len(self.heard), len(events)))


class LogTests(LedgersTestCase):
    """The log."""

    def lines(self, *touches: dict[str, Any]) -> list[str | None]:
        """Return what the log says of these touches, all at once."""

        def rule(ledger: Ledger, now: float, _policy: Policy) -> tuple[Ledger, None]:
            for touch in touches:
                ledger = ledger.noted(touch.pop("touch"), now, **touch)
            return ledger, None

        with capturedLogs() as events:
            self.done(self.ledgers.change(self.key, rule))
        return [formatEvent(event) for event in events]

    def test_each(self):
        """Events are lines: of which drop, what, which claim, at which byte, by whom; but for those that a request's is."""
        name = short(self.key)
        self.assertEqual(
            [
                f"drop {name} previewed, Slack",
                f"drop {name} resumed, claim 2, byte 3 of 7",
                f"drop {name} delivered, claim 1",
            ],
            self.lines(
                {"touch": Touch.OPENED},
                {"touch": Touch.PREVIEWED, "who": "Slack"},
                {"touch": Touch.RESUMED, "claim": 2, "offset": 3},
                {"touch": Touch.CLAIMED, "claim": 1, "offset": 0},
                {"touch": Touch.DELIVERED, "claim": 1},
            ),
        )

    def test_no_secrets(self):
        """No line of a drop's life leads to it or to anybody."""
        with capturedLogs() as events:
            receipt = self.life()
        text = repr(list(events))
        self.assertIn("lapsed", text)
        for claim in self.core.claims(receipt):
            for secret in (claim.id, claim_token(receipt.link, claim.id).text, (claim.recipient or b"?").hex()):
                self.assertNotIn(secret, text)
        for secret in (receipt.link.text, receipt.owner.text, receipt.drop.key.hex(), "192.0.2", "name.txt"):
            self.assertNotIn(secret, text)

    def life(self) -> Receipt:
        """Let a drop live, and return it."""
        receipt = self.done(self.core.upload(downloads=2))
        self.done(self.core.deliver(receipt, Recipient(breaks_at=3)))
        self.done(self.core.deliver(receipt, Recipient(quiet=True)))
        self.core.elapse(WINDOW)
        self.done(self.core.drops.touched(receipt.drop, Touch.PREVIEWED, "Slack"))
        self.done(self.core.deliver(receipt, Recipient(breaks_at=3, source="192.0.2.9\nwget")))
        self.core.elapse(WINDOW)
        self.done(self.ledgers.change(receipt.drop.key, lambda ledger, *_: (attrs.evolve(ledger), None)))
        return receipt
