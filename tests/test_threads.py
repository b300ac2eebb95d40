"""Threads for what blocks."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any, cast
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import TestCase

from filedropd.threads import Threads


class Thing:
    """Something of which it can be seen whether it is still held."""


class ThreadsTests(TestCase):
    """Calls that block."""

    def setUp(self) -> None:
        self.threads = self.some(2)

    def some(self, most: int) -> Threads:
        """Return threads that are stopped after the test."""
        threads = Threads(cast(IReactorFromThreads, reactor), most, "tests")
        self.addCleanup(threads.stop)
        return threads

    async def test_result(self):
        """The call runs on another thread; its result comes back on this one."""
        there = await self.threads.run(threading.get_ident)
        self.assertNotEqual(there, threading.get_ident())
        here: list[int] = []
        await self.threads.run(divmod, 17, 3).addCallback(lambda _: here.append(threading.get_ident()))
        self.assertEqual([threading.get_ident()], here)

    async def test_no_more_threads(self):
        """Where the system gives no more threads, those that there are do all; where there is none, that is said."""
        with patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")):
            self.assertRaises(RuntimeError, self.threads.run, int)
        self.assertEqual(0, await self.threads.run(int))
        with patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")):
            self.assertEqual([0] * 5, await gatherResults([self.threads.run(int) for _ in range(5)]))

    async def test_arguments(self):
        """It is given its arguments, by place and by name."""
        self.assertEqual(-1, await self.threads.run(int, "-1", base=16))

    async def test_failure(self):
        """What it raises comes out, and the thread takes the next call."""
        for _ in range(3):
            with self.assertRaises(ZeroDivisionError):
                await self.threads.run(divmod, 1, 0)
        self.assertEqual((1, 0), await self.threads.run(divmod, 1, 1))

    async def test_exit(self):
        """Not even what would end a program ends a thread."""
        with self.assertRaises(SystemExit):
            await self.some(1).run(exit_now)

    async def test_at_once(self):
        """As many calls run at once as were promised, and no more."""
        barrier = threading.Barrier(2)
        await gatherResults([self.threads.run(barrier.wait, 30) for _ in range(10)])
        self.assertLessEqual(len(await self.names(200)), 2)

    async def test_no_more_than_needed(self):
        """One call at a time takes one thread."""
        one = self.some(8)
        self.assertEqual(1, len({await one.run(threading.get_ident) for _ in range(20)}))

    async def test_order(self):
        """One thread takes its calls in the order in which they were made."""
        one = self.some(1)
        done: list[int] = []
        await gatherResults([one.run(done.append, number) for number in range(100)])
        self.assertEqual(list(range(100)), done)

    async def test_many(self):
        """Of many calls from within the results of others, each gets its own answer."""

        async def chain(first: int) -> int:
            for _ in range(20):
                first = await self.threads.run(lambda number: number + 1, first)
            return first

        got = await gatherResults([Deferred.fromCoroutine(chain(100 * n)) for n in range(50)])
        self.assertEqual([100 * n + 20 for n in range(50)], got)

    async def test_cancelled(self):
        """Who stops waiting is told so, and the call is made all the same."""
        done = threading.Event()
        waiting = self.threads.run(done.set)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        await self.threads.run(done.wait, 30)
        self.assertTrue(done.is_set())

    async def test_stop(self):
        """Stopping waits for the calls that were made; none can be made after it."""
        done: list[int] = []
        calls = [self.threads.run(done.append, number) for number in range(20)]
        self.threads.stop()
        self.assertEqual(20, len(done))
        await gatherResults(calls)
        with self.assertRaises(RuntimeError):
            self.threads.run(done.append, 0)
        self.threads.stop()

    async def test_nothing_held(self):
        """A thread that waits for a call holds nothing of the last one."""
        one = self.some(1)
        thing = Thing()
        seen = weakref.ref(thing)
        await one.run(id, thing)
        del thing
        await one.run(threading.get_ident)
        gc.collect()
        self.assertIsNone(seen())

    async def names(self, calls: int) -> set[Any]:
        """Return the threads that took so many calls."""
        return set(await gatherResults([self.threads.run(threading.get_ident) for _ in range(calls)]))


def exit_now() -> None:
    """Leave the program, as it would be on the main thread."""
    raise SystemExit(3)
