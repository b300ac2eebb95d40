"""What a port is asked for, step by step: noted, held, or made to fail."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class KilledError(Exception):
    """The process is no more."""


class Journal:
    """What was called, in order, by the names of port and method; and what is to go wrong or to wait.

    :ivar steps: ``records.insert``, ``incoming.publish`` and so on; a call is noted when it returns.
    """

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.counts: defaultdict[str, int] = defaultdict(int)
        self._faults: dict[str, Exception] = {}
        self._killed = False
        self._gates: dict[str, list[Deferred[None]]] = {}

    def fail(self, step: str, error: Exception) -> None:
        """Let every coming call of ``step`` raise ``error``, until :meth:`mend`."""
        self._faults[step] = error

    def mend(self) -> None:
        """Let nothing go wrong any more."""
        self._faults.clear()

    def kill(self) -> None:
        """Let nothing that is called reach the stores any more, as if the process had ended."""
        self._killed = True
        for moment in list(self._gates):
            self.release(moment)

    def hold(self, moment: str) -> None:
        """Let calls wait at ``before records.insert`` or ``after records.insert``, until :meth:`release`."""
        self._gates[moment] = []

    def held(self, moment: str) -> int:
        """Return how many calls wait there."""
        return len(self._gates.get(moment, ()))

    def release(self, moment: str) -> None:
        """Let those that wait go on, and hold no more there."""
        self.by_pass(moment)()

    def by_pass(self, moment: str) -> Callable[[], None]:
        """Hold no more there, and return what lets those go on that wait."""
        gates = self._gates.pop(moment)

        def go_on() -> None:
            for gate in gates:
                if not gate.called:
                    gate.callback(None)

        return go_on

    async def call(self, step: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do ``work``, which is ``step``, as a port would."""
        self.counts[step] += 1
        await self._pass(f"before {step}")
        if self._killed:
            raise KilledError
        if step in self._faults:
            raise self._faults[step]
        result = await work()
        self.steps.append(step)
        await self._pass(f"after {step}")
        return result

    async def _pass(self, moment: str) -> None:
        if moment in self._gates:
            gate: Deferred[None] = Deferred()
            self._gates[moment].append(gate)
            await gate


class Watched:
    """Stands before an implementation of a port, whose coroutines it notes in a journal."""

    def __init__(self, target: object, port: str, journal: Journal) -> None:
        self._target = target
        self._port = port
        self._journal = journal

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if not inspect.iscoroutinefunction(value):
            return value

        async def call(*arguments: Any) -> Any:
            result = await self._journal.call(f"{self._port}.{name}", lambda: value(*arguments))
            return Watched(result, "incoming", self._journal) if name.startswith("receive") else result

        return call
