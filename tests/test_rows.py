"""Values to rows and back."""

from __future__ import annotations

import string

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from filedropd import spans
from filedropd.model import Claim, ClaimState, Drop, DropState, Event, Reason, Touch, Transfer
from filedropd.records import rows
from filedropd.spans import Spans
from tests.contracts.records_base import a_drop

_counts = st.integers(0, 2**62)
_times = st.floats(0, 2**40)
_keys = st.binary(min_size=32, max_size=32)
_texts = st.text(string.printable + "年🤖")
_spans = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), min_size=1).map(
    lambda pairs: spans.union(*(spans.of(first, first + length) for first, length in pairs))
)


def layers(sets: list[Spans]) -> tuple[Spans, ...]:
    """Count each of ``sets`` once."""
    counted: tuple[Spans, ...] = ()
    for each in sets:
        counted = spans.stacked(counted, each)
    return counted


_drops = st.builds(
    Drop,
    key=_keys,
    owner_key=_keys,
    blob=_texts,
    name=_texts,
    content_type=_texts,
    size=_counts,
    sha256=st.none() | _keys,
    password=st.none() | _texts,
    downloads=_counts,
    delivered=_counts,
    live=_counts,
    presumed=_counts,
    opened=_counts,
    touches=_counts,
    created_at=_times,
    expires_at=_times,
    state=st.sampled_from(DropState),
    reason=st.none() | st.sampled_from(Reason),
    gone_at=st.none() | _times,
    due_at=_times,
    purge_attempts=_counts,
)

_claims = st.builds(
    Claim,
    id=_texts,
    drop=_keys,
    number=_counts,
    copy=_counts,
    recipient=st.none() | _keys,
    opened_at=_times,
    state=st.sampled_from(ClaimState),
    sent=st.lists(_spans, max_size=4).map(layers),
    confirmed=st.just(spans.NONE) | _spans,
    until=_times,
    lapses=_counts,
    ended_at=st.none() | _times,
)

_transfers = st.builds(
    Transfer,
    id=_texts,
    claim=_texts,
    first=_counts,
    length=_counts,
    reserved=_counts,
    acknowledged=_counts,
    settling=st.booleans(),
    settled=st.booleans(),
)

_events = st.builds(
    Event,
    drop=_keys,
    number=_counts,
    at=_times,
    touch=st.sampled_from(Touch),
    claim=st.none() | _counts,
    offset=st.none() | _counts,
    who=st.none() | _texts,
)


def given_back(row: dict[str, rows.Value]) -> rows.Row:
    """Return a row as a database gives it back: with columns of its own, and bytes as some drivers have them."""
    values = {name: memoryview(value) if isinstance(value, bytes) else value for name, value in row.items()}
    return values | {"revision": 7, "more": None}


class RowTests(SynchronousTestCase):
    """What is read is what was written."""

    @given(_drops)
    def test_drop(self, drop):
        """A drop."""
        self.assertEqual(drop, rows.drop_from(given_back(rows.drop_row(drop))))

    @given(_claims)
    def test_claim(self, claim):
        """A claim, in layers however deep."""
        self.assertEqual(claim, rows.claim_from(given_back(rows.claim_row(claim))))

    @given(_transfers)
    def test_transfer(self, transfer):
        """A transfer, but for whether it settles, which is known where it runs and nowhere else."""
        kept = attrs.evolve(transfer, settling=False)
        self.assertEqual(kept, rows.transfer_from(given_back(rows.transfer_row(transfer, a_drop()))))

    @given(_events)
    def test_event(self, event):
        """An event."""
        self.assertEqual(event, rows.event_from(given_back(rows.event_row(event))))

    @given(_drops, _claims, _transfers, _events)
    def test_columns(self, drop, claim, transfer, event):
        """A column holds text, bytes, a number or nothing; keys and hashes are bytes as they are."""
        written = [
            rows.drop_row(drop),
            rows.claim_row(claim),
            rows.transfer_row(transfer, drop),
            rows.event_row(event),
        ]
        for value in (value for row in written for value in row.values()):
            self.assertIn(type(value), (bytes, str, int, float, type(None)))
        self.assertEqual((drop.key, drop.key), (written[0]["key"], written[2]["drop"]))

    def test_claim_row(self):
        """Sets of bytes are written with their last bytes, one set after the other."""
        claim = Claim(
            id="c",
            drop=b"",
            number=1,
            opened_at=0,
            until=0,
            sent=(((0, 10), (20, 30)), ((0, 1),)),
            confirmed=((0, 10),),
        )
        row = rows.claim_row(claim)
        self.assertEqual(("0-9,20-29;0-0", "0-9"), (row["sent"], row["confirmed"]))

    def test_damaged(self):
        """What is no set of bytes is not taken for one: bytes would be handed out again."""
        row = rows.claim_row(Claim(id="c", drop=b"", number=1, opened_at=0, until=0))
        for text in ("0", "0-9,", "0-9,10-19", "5-9,0-1", "0-9,5-12", "-5", "0-9 ", "٣-٤"):
            self.assertRaises(ValueError, rows.claim_from, row | {"sent": text})
            self.assertRaises(ValueError, rows.claim_from, row | {"confirmed": text})
