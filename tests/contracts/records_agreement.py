"""Whatever is done in whatever order: every :class:`filedropd.interfaces.IRecords` does the same as one in memory."""

from __future__ import annotations

from typing import Any, cast

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import blockingCallFromThread, deferToThread

from filedropd.interfaces import IRecords
from filedropd.model import Outcome, Reason
from filedropd.testing import MemoryRecords
from tests.contracts.records_base import RecordsBase, a_claim, a_drop, key_of

DROPS = 2

#: The name of a method, and its arguments.
Call = tuple[str, tuple[Any, ...]]

_keys = st.integers(0, DROPS - 1).map(key_of)
_ids = st.sampled_from("abcdef")
_times = st.integers(0, 10).map(float)
_bytes = st.integers(0, 4)
_claims = st.builds(lambda name, n, first, length: a_claim(name, first, length, number=n), _ids, st.integers(0, DROPS), _bytes, _bytes)  # fmt: skip
_outcomes = st.builds(lambda acknowledged, complete: Outcome(acknowledged=acknowledged, complete=complete), _bytes, st.booleans())  # fmt: skip

_calls: st.SearchStrategy[Call] = st.one_of(
    # Twice, since most of the others need an open claim.
    st.tuples(st.just("open_claim"), st.tuples(_claims, _times)),
    st.tuples(st.just("open_claim"), st.tuples(_claims, _times)),
    st.tuples(st.just("end_claim"), st.tuples(_ids, _outcomes, _times)),
    st.tuples(st.just("end_claim"), st.tuples(_ids, _outcomes, _times)),
    st.tuples(st.just("release_claim"), st.tuples(_ids)),
    st.tuples(st.just("close_open_claims"), st.tuples(_times)),
    st.tuples(st.just("end"), st.tuples(_keys, st.sampled_from(Reason), _times)),
    st.tuples(st.just("purged"), st.tuples(_keys, _times)),
    st.tuples(st.just("purge_failed"), st.tuples(_keys, _times)),
    st.tuples(st.just("forget"), st.tuples(_keys)),
    st.tuples(st.just("due"), st.tuples(_times, st.integers(0, 3))),
)

_drops = st.tuples(
    *(
        st.builds(
            lambda size, downloads, expires_at, number=number: attrs.evolve(
                a_drop(number, size=size, downloads=downloads), expires_at=expires_at, due_at=expires_at
            ),
            _bytes,
            st.integers(1, 3),
            _times,
        )
        for number in range(DROPS)
    )
)


async def done(records: IRecords, call: Call) -> object:
    """Return what comes of ``call``; of a refusal only that it was one, since each store has its own words."""
    name, arguments = call
    try:
        return await getattr(records, name)(*arguments)
    except Exception:  # noqa: BLE001 - whatever a store raises for a bug
        return "refused"


async def everything(records: IRecords) -> list[object]:
    """Return all that can be known."""
    known: list[object] = [await records.next_due(), await records.due(1e9, 99)]
    for number in range(DROPS):
        known += [await records.find(key_of(number)), await records.claims(key_of(number))]
        known.append(await records.has_blob(a_drop(number).blob))
    return known


class AgreementContract(RecordsBase):
    """It does what :class:`filedropd.testing.MemoryRecords` does."""

    async def test_agreement(self):
        """After any sequence of operations, both gave the same answers and know the same."""

        @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
        @given(_drops, st.lists(_calls, max_size=40))
        def agree(drops, calls):
            blockingCallFromThread(
                cast(IReactorFromThreads, reactor), lambda: Deferred.fromCoroutine(self.agree(drops, calls))
            )

        await deferToThread(agree)

    async def agree(self, drops, calls):
        """Do the same to one of each."""
        memory, records = MemoryRecords(), await self.make()
        await memory.open()
        await records.open()
        try:
            for drop in drops:
                await memory.insert(drop)
                await records.insert(drop)
            for call in calls:
                self.assertEqual(await done(memory, call), await done(records, call), call)
            self.assertEqual(await everything(memory), await everything(records))
        finally:
            await records.close()
