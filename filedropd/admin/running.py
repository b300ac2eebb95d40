"""One coroutine on the reactor, from the start of the process's reactor to its end."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

import click
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import provider

from filedropd.admin.stores import Refused
from filedropd.errors import FiledropError
from filedropd.interfaces import StoreUnusable
from filedropd.records import migrations, postgres_migrating

#: What a command ends with: all is well; it was not done, or something is wrong. (2: the command line is.)
WELL: Final = 0
NOT_WELL: Final = 1

#: Who logs what somebody may have to wait for.
_TELLING: Final = frozenset({migrations.__name__, postgres_migrating.__name__})


def run(work: Callable[[Any], Coroutine[Any, Any, int]]) -> int:
    """Run ``work``, which is given the reactor, and return its status. Once in a process.

    A signal ends the process where it is, as a crash would: every step of the records and of the files is one
    that a crash leaves done or not done, and what is under way on PostgreSQL is not to be cancelled.
    """
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it

    everything: Any = reactor
    outcomes: list[int | Failure] = []

    def ended(outcome: int | Failure) -> None:
        outcomes.append(outcome)
        everything.stop()

    everything.callWhenRunning(lambda: Deferred.fromCoroutine(explained(work(everything))).addBoth(ended))
    everything.run()
    if not outcomes:
        click.echo("filedropd-admin: interrupted", err=True)
        sys.stdout.flush()
        os._exit(NOT_WELL)  # a thread may wait for work still
    if isinstance(outcomes[0], Failure):
        outcomes[0].raiseException()
    return outcomes[0]


async def explained(work: Coroutine[Any, Any, int]) -> int:
    """Return the status of ``work``; what it could not do is said on the standard error."""
    try:
        with _telling():
            return await work
    except BrokenPipeError:
        # Who reads our output has had enough. Nor is anything to be said when Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"filedropd-admin: {where}{error.strerror or error}", err=True)
    except (Refused, StoreUnusable, FiledropError) as error:
        click.echo(f"filedropd-admin: {error}", err=True)
    return NOT_WELL


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    """Say on the standard error that the schema is brought up to date, as a daemon's log does: it may take a while."""

    @provider(ILogObserver)
    def tell(event: LogEvent) -> None:
        if event.get("log_namespace") in _TELLING:
            click.echo(f"filedropd-admin: {formatEvent(event)}", err=True)

    globalLogPublisher.addObserver(tell)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(tell)
