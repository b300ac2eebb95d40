"""Figures become tables, for people and for ``docs/performance.md``."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import attrs

from bench.sides import MIB, Figures

BEGIN: Final = "<!-- measured: begin -->"
END: Final = "<!-- measured: end -->"
_BETWEEN: Final = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)


class Report(Protocol):
    """What a row came to."""

    def text(self) -> str:
        """Return it as Markdown."""

    def missed(self) -> list[str]:
        """Return which targets are missed, in words."""


@attrs.frozen(kw_only=True)
class Target:
    """What is asked of filedropd beside a peer.

    :ivar peer: that peer.
    :ivar ours: which of our sides is meant.
    :ivar rate: the least ratio of the rates.
    :ivar cpu: the greatest ratio of the CPU times.
    """

    peer: str
    ours: str
    rate: float
    cpu: float | None = None

    def words(self) -> str:
        """Return it in words."""
        return f"≥ {self.rate:g} ×" + (f" at ≤ {self.cpu:g} × its CPU" if self.cpu is not None else "")


@attrs.frozen(kw_only=True)
class Comparison:
    """A row in which sides are compared.

    :ivar note: what was done, in a sentence.
    :ivar unit: of the rates.
    :ivar per: how many units the CPU time is told for, and their name.
    :ivar ours: our sides; the others are peers.
    :ivar ran: what each side came to, run by run.
    :ivar absent: who could not be asked, in words.
    """

    title: str
    note: str
    unit: str
    per: tuple[float, str]
    ours: Sequence[str]
    ran: Mapping[str, Sequence[Figures]]
    targets: Sequence[Target]
    absent: Sequence[str]

    def text(self) -> str:
        """Return the table."""
        heads = [self.unit, f"CPU s/{self.per[1]}", "peak MiB", "client busy", "others busy"]
        ratios = [f"{own} ÷ it: {what}" for own in self.ours for what in ("rate", "CPU")]
        lines = [f"### {self.title}", "", self.note, "", _line(["", *heads, *ratios, "target"])]
        lines.append("|---|" + "---:|" * (len(heads) + len(ratios)) + "---|")
        lines += [self._row(name) for name in self.ran]
        if self.absent:
            lines += ["", *(f"- {each}" for each in self.absent)]
        return "\n".join(lines)

    def _row(self, name: str) -> str:
        ran = self.ran[name]
        cells = [
            _spread([figures.rate for figures in ran]),
            f"{_median(ran, 'cpu') * self.per[0]:.2f}",
            f"{_median(ran, 'peak') / MIB:.0f}",
            f"{_median(ran, 'client'):.0%}",
            f"{_median(ran, 'others'):.2f}",
        ]
        if name in self.ours:
            return _line([f"**{name}**", *cells, *([""] * 2 * len(self.ours)), ""])
        ratios = [f"{self.ratio(own, name, what):.2f}" for own in self.ours for what in ("rate", "cpu")]
        return _line([name, *cells, *ratios, self._judged(name)])

    def _judged(self, name: str) -> str:
        return "; ".join(self._judgement(target) for target in self.targets if target.peer == name)

    def _judgement(self, target: Target) -> str:
        which = f"{target.ours}: " if len(self.ours) > 1 else ""
        return f"{which}{target.words()}: {'met' if self._met(target) else 'missed'}"

    def _met(self, target: Target) -> bool:
        fast = self.ratio(target.ours, target.peer, "rate") >= target.rate
        return fast and (target.cpu is None or self.ratio(target.ours, target.peer, "cpu") <= target.cpu)

    def ratio(self, own: str, peer: str, what: str) -> float:
        """Return the median of the ratios of one figure, run by run."""
        pairs = zip(self.ran[own], self.ran[peer], strict=True)
        return float(statistics.median(getattr(a, what) / (getattr(b, what) or 1e-9) for a, b in pairs))

    def missed(self) -> list[str]:
        """Return which targets are missed."""
        return [
            f"{self.title}: {target.ours}: {self.ratio(target.ours, target.peer, 'rate'):.2f} × the rate of {target.peer} "
            f"at {self.ratio(target.ours, target.peer, 'cpu'):.2f} × its CPU; {target.words()} is asked for"
            for target in self.targets
            if target.peer in self.ran and not self._met(target)
        ]


@attrs.frozen
class Fact:
    """Something measured of filedropd alone.

    :ivar met: whether that is what is asked for; nothing where nothing is.
    """

    what: str
    measured: str
    target: str = ""
    met: bool | None = None


@attrs.frozen(kw_only=True)
class Facts:
    """A row in which filedropd is measured against numbers."""

    title: str
    note: str
    facts: Sequence[Fact]

    def text(self) -> str:
        """Return the table."""
        lines = [f"### {self.title}", "", self.note, "", "| | measured | target |", "|---|---:|---|"]
        for fact in self.facts:
            judged = "" if fact.met is None else f": {'met' if fact.met else 'missed'}"
            lines.append(_line([fact.what, fact.measured, fact.target + judged]))
        return "\n".join(lines)

    def missed(self) -> list[str]:
        """Return which targets are missed."""
        return [
            f"{self.title}: {fact.what}: {fact.measured}; {fact.target} is asked for"
            for fact in self.facts
            if fact.met is False
        ]


def write(document: Path, text: str) -> None:
    """Put ``text`` between the two marks in ``document``.

    :raises SystemExit: it has no such marks.
    """
    before = document.read_text(encoding="utf-8")
    after, found = _BETWEEN.subn(lambda _: f"{BEGIN}\n\n{text}\n\n{END}", before)
    if found != 1:
        raise SystemExit(f"{document} has not the marks {BEGIN} and {END}, once each")
    document.write_text(after, encoding="utf-8")


def _median(ran: Sequence[Figures], what: str) -> float:
    return float(statistics.median(getattr(figures, what) for figures in ran))


def _spread(values: Sequence[float]) -> str:
    middle = statistics.median(values)
    return f"{middle:,.0f} ({min(values):,.0f}–{max(values):,.0f})" if len(values) > 1 else f"{middle:,.0f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
