"""Several daemons on one database: who lives, and who takes over."""

from __future__ import annotations

from functools import partial
from typing import cast

from filedropd.claims import asking
from filedropd.errors import Unavailable
from filedropd.interfaces import IRecords
from filedropd.leases import BEAT, LEASE, Leases
from filedropd.model import ClaimState
from filedropd.tokens import Token
from tests.journal import Watched
from tests.support import CoreTestCase, Recipient

MINE, OTHERS = "mine", "theirs"


class LeasesTests(CoreTestCase):
    """One daemon's lease, and what it does for others."""

    def setUp(self) -> None:
        super().setUp()
        records = cast(IRecords, Watched(self.core.kept, "records", self.core.journal))
        self.leases = Leases(MINE, records, self.core.reaper, self.core.clock, self.core.wall)
        self.core.reaper.start()

    def alive(self) -> frozenset[str]:
        """Return who lives."""
        return self.done(self.core.kept.alive(self.core.wall()))

    def test_life(self):
        """It lives from when it begins until it stops, however long that is."""
        self.done(self.leases.begin())
        self.core.elapse(10 * LEASE)
        self.assertEqual({MINE}, self.alive())
        self.done(self.leases.stop())
        self.assertEqual(frozenset(), self.alive())
        self.done(self.leases.stop())
        self.done(self.core.reaper.stop())
        self.assertEqual([], self.core.clock.getDelayedCalls())

    def test_killed(self):
        """One that says nothing any more is taken for dead when its lease is over."""
        self.done(self.core.kept.lease(OTHERS, self.core.wall() + LEASE))
        self.core.elapse(LEASE - 0.1)
        self.assertEqual({OTHERS}, self.alive())
        self.core.elapse(0.1)
        self.assertEqual(frozenset(), self.alive())

    def sending(self, daemon):
        """Leave a drop which that daemon is sending."""
        receipt = self.done(self.core.upload())
        wish = asking.Wish(
            recipient=asking.Recipient(link=Token.mint(), source="a"),
            claim=daemon,
            transfer=daemon,
            daemon=daemon,
            first=0,
            length=7,
        )
        self.done(self.core.ledgers.change(receipt.drop.key, partial(self.asked, wish)))
        return receipt

    def test_takes_over(self):
        """What a dead daemon was sending waits for its recipient; what a living one sends goes on."""
        receipts = [self.sending(daemon) for daemon in (OTHERS, MINE)]
        self.done(self.core.kept.lease(OTHERS, self.core.wall() + LEASE))
        self.done(self.leases.begin())
        self.core.elapse(BEAT)
        self.assertEqual([ClaimState.OPEN] * 2, [self.core.claims(receipt)[0].state for receipt in receipts])
        self.core.elapse(LEASE)
        states = [self.core.claims(receipt)[0].state for receipt in receipts]
        self.assertEqual([ClaimState.SUSPENDED, ClaimState.OPEN], states)

    @staticmethod
    def asked(wish, ledger, now, policy):
        """Ask by the rules, as a daemon does."""
        return asking.ask(ledger, wish, {}, now, policy)

    def test_records_away(self):
        """While the records are away it goes on trying."""
        self.done(self.leases.begin())
        self.core.journal.fail("records.interrupted", Unavailable("away"))
        self.core.elapse(3 * BEAT)
        self.core.journal.mend()
        self.core.elapse(BEAT)
        self.assertEqual({MINE}, self.alive())

    def test_others_after_an_outage(self):
        """When the records are back, who could not say that he lives has a lease's time to; who says nothing is dead."""
        receipt = self.sending(OTHERS)
        self.done(self.leases.begin())
        self.done(self.core.kept.lease(OTHERS, self.core.wall() + LEASE))
        self.core.journal.fail("records.lease", Unavailable("away"))
        self.core.elapse(LEASE + BEAT)
        self.core.journal.mend()
        self.core.elapse(LEASE)
        self.assertEqual(({MINE}, ClaimState.OPEN), (self.alive(), self.core.claims(receipt)[0].state))
        self.core.elapse(BEAT)
        self.assertEqual(ClaimState.SUSPENDED, self.core.claims(receipt)[0].state)

    def test_own_transfers(self):
        """A running download is its daemon's, and not taken over."""
        receipt = self.done(self.core.upload())
        self.begun(self.core.deliver(receipt, Recipient().hold_sends()))
        (transfer,) = self.core.ledger(receipt).transfers
        self.assertEqual(self.core.drops._downloads._daemon, transfer.daemon)
