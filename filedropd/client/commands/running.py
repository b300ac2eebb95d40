"""One coroutine on the reactor, from its start to its end, and signals to those who wait at a terminal."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import click
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from filedropd.client.commands import streams
from filedropd.client.commands.exits import INTERRUPTED, status_of
from filedropd.client.errors import ClientError

#: What a command does on the reactor; it returns an exit status.
Work = Callable[[Any], Coroutine[Any, Any, int]]


def run(work: Work) -> int:
    """Run ``work`` and return its status. Once in a process.

    The first SIGINT or SIGTERM cancels it: files are closed, and what can be gone on with stays. The second ends the
    process where it is.
    """
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it

    everything: Any = reactor
    outcomes: list[int | Failure] = []

    def ended(outcome: int | Failure) -> None:
        outcomes.append(outcome)
        everything.stop()

    def begin() -> None:
        working = Deferred.fromCoroutine(explained(work(everything)))
        _on_signals(everything, working)
        working.addBoth(ended)

    everything.callWhenRunning(begin)
    everything.run()
    if isinstance(outcomes[0], Failure):
        outcomes[0].raiseException()
    return outcomes[0]


def _on_signals(reactor: Any, working: Deferred[int]) -> None:
    asked: list[int] = []

    def received(number: int, _frame: object) -> None:
        if asked:
            os._exit(128 + number)
        asked.append(number)
        reactor.callFromThread(working.cancel)

    for number in (signal.SIGINT, signal.SIGTERM):
        # One that is ignored, since the shell started us in the background, stays so.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, received)


@contextlib.contextmanager
def interruptible() -> Generator[None, None, None]:
    """Let SIGINT break off what blocks meanwhile, such as a question at the terminal (KeyboardInterrupt)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


async def explained(work: Coroutine[Any, Any, int]) -> int:
    """Return the status of ``work``; what it could not do is said on the standard error, in a line."""
    try:
        return await work
    except (CancelledError, KeyboardInterrupt, click.Abort):
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError as error:
        streams.unwritable(error)  # who reads it has had enough, and it is not worth a word
        return status_of(error)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        complain(f"{where}{error.strerror or error}")
        return status_of(error)
    except ClientError as error:
        complain(error.detail)
        return status_of(error)


def complain(words: str) -> None:
    """Say something on the standard error, in a line."""
    click.echo(f"filedrop: {' '.join(words.split())}", err=True)
