"""Runs cases, several at once, each with its own deadline, and says what came of each."""

from __future__ import annotations

import contextlib
import enum
import queue
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from tests.conformance.adapters import ABILITIES, Adapter, Limit, Makes, Server, Starts, starting
from tests.conformance.case import Case
from tests.conformance.stage import Stage, Unkept, Unsafe

#: Most of them wait most of the time.
AT_ONCE: Final = 8
#: Seconds for which a case may outlive its deadline: it finds out when it next waits for something.
_GRACE: Final = 15.0

_PROGRAMS: Final = frozenset({"curl", "wget"})


class Result(enum.Enum):
    """What came of a case.

    ``LIMITED``: what was seen is the :class:`~tests.conformance.adapters.Limit` that the server is known to have
    there; ``SURPASSED``: it is known to have one, and kept the promise.
    """

    PASSED = "passed"
    LIMITED = "limited"
    SURPASSED = "not limited"
    FAILED = "failed"
    NOT_RUN = "not run"


@attrs.frozen
class Outcome:
    """What came of a case, and how.

    :ivar seen: what was seen where it failed; what it lacked where it was not run; the limit.
    """

    case: Case
    result: Result
    seconds: float = 0.0
    seen: str = ""


class Suite:
    """Cases for one server.

    :param server: takes the cases that kill nothing.
    :param starts: starts a server for each of the others, if anything can.
    :param folder: where they keep their data.
    """

    def __init__(self, server: Adapter, starts: Starts | None, folder: Path) -> None:
        self._server = server
        self._starts = starts
        self._folder = folder

    def run(self, cases: Sequence[Case]) -> list[Outcome]:
        """Run cases, and return what came of each, in their order."""
        waiting: queue.SimpleQueue[Case] = queue.SimpleQueue()
        for case in sorted(cases, key=lambda case: -case.seconds):  # what takes long begins early
            waiting.put(case)
        outcomes: dict[str, Outcome] = {}
        workers = [threading.Thread(target=self._work, args=(waiting, outcomes)) for _ in range(AT_ONCE)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return [outcomes[case.name] for case in cases]

    def _work(self, waiting: queue.SimpleQueue[Case], outcomes: dict[str, Outcome]) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                case = waiting.get_nowait()
                outcomes[case.name] = self.outcome(case)

    def outcome(self, case: Case) -> Outcome:
        """Run one case."""
        if lacking := self._lacking(case):
            return Outcome(case, Result.NOT_RUN, seen=f"needs {', '.join(lacking)}")
        began = time.monotonic()
        with contextlib.ExitStack() as undo:
            try:
                server = self._own_server(case, undo) if case.own else self._server
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what was seen
                seen = f"the server does not start: {_in_words(error)}"
                return Outcome(case, Result.FAILED, time.monotonic() - began, seen)
            stage = Stage(server, case.seconds)
            undo.callback(stage.end)
            result, seen = _within(case.seconds + _GRACE, lambda: _judged(case, stage))
        return Outcome(case, result, time.monotonic() - began, seen)

    def _lacking(self, case: Case) -> list[str]:
        """Return what a case needs and has not."""
        lacking = [ABILITIES[name] for name in sorted(case.needs - _PROGRAMS - self._server.dialect.can)]
        lacking += [name for name in sorted(case.needs & _PROGRAMS) if shutil.which(name) is None]
        return lacking + (["a server of its own"] if case.own and self._starts is None else [])

    def _own_server(self, case: Case, undo: contextlib.ExitStack) -> Server:
        if self._starts is None:
            raise RuntimeError("there is nothing that starts servers")
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix=f"{case.name}-", dir=self._folder)))
        server = self._starts(folder, case.window)
        undo.callback(server.close)
        return server


@contextlib.contextmanager
def suite(makes: Makes, url: str | None, options: Mapping[str, str]) -> Iterator[Suite]:
    """Yield a suite for the server at ``url``; without one, for servers that are started here.

    :raises ValueError: the server cannot be reached from here, or nothing here can start one.
    :raises Unfit: one does not start.
    """
    starts = starting(makes)
    if url is not None:
        yield Suite(makes(url, options), None, Path())
    elif starts is None:
        raise ValueError("this adapter starts no servers: say where one is, with --url")
    else:
        with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
            shared = Path(folder, "shared")
            shared.mkdir()
            server = starts(shared)
            try:
                yield Suite(server, starts, Path(folder))
            finally:
                server.close()


def _judged(case: Case, stage: Stage) -> tuple[Result, str]:
    """Run a case; returns what came of it, and what was seen."""
    limit = stage.server.dialect.limits.get(case.name)
    try:
        return _acted(case, stage, limit)
    except Unkept as unkept:
        return Result.FAILED, str(unkept)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what was seen
        return Result.FAILED, _in_words(error)


def _acted(case: Case, stage: Stage, limit: Limit | None) -> tuple[Result, str]:
    try:
        case.act(stage)
    except Unsafe:
        raise
    except Unkept as unkept:
        if limit is None or not re.match(limit.seen, str(unkept)):
            raise
        stage.audit_further()
        return Result.LIMITED, f"{unkept}. {limit.why}"
    stage.audit()
    if limit is None or limit.by_chance:
        return Result.PASSED, ""
    return Result.SURPASSED, f"This was to be expected: {limit.instead}"


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _within(seconds: float, act: Callable[[], tuple[Result, str]]) -> tuple[Result, str]:
    """Return what ``act`` returns, or else that it goes on."""
    returned: queue.SimpleQueue[tuple[Result, str]] = queue.SimpleQueue()
    threading.Thread(target=lambda: returned.put(act()), daemon=True).start()
    try:
        return returned.get(timeout=seconds)
    except queue.Empty:
        return Result.FAILED, f"it goes on after {seconds:g} s"
