"""How log events are written: each is one line, whatever is in it.

As text for people and for journald::

    2026-11-23T21:44:11.123Z info     web.access: 192.0.2.1:54321 GET /healthz 200 17 bytes in 0.001 s

A line break becomes a bar (so a traceback is one line, too), and every other character that is not
printable (controls, ESC, bidi and zero-width marks, U+2028) is escaped.  Where the journal reads our
output, it is told the level its own way and keeps the time itself.

As JSON for programs, an object a line: ``time``, ``level``, ``namespace``, ``text``, ``event`` (the
text before its fields were put in: what to select by), the fields, and ``traceback``.

Levels: *info* for what was asked and done, *warn* for what an operator should know of, *error* for
what failed while the daemon goes on, *critical* for what ends it or that nobody expected.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal, TextIO, cast

from twisted.logger import FileLogObserver, ILogObserver, LogEvent, formatEvent
from twisted.python.logfile import LogFile

# What Twisted adds to an event for its own use, and what the fixed fields below already say.
_TWISTEDS = frozenset({"isError", "message", "format", "system", "time", "failure", "why"})
_PLAIN = (str, int, float, bool, type(None))

#: Levels as syslog(3) numbers them, which is how sd-daemon(3) tells them to the journal.
_PRIORITIES: Final = {"debug": 7, "info": 6, "warn": 4, "error": 3, "critical": 2}


def observer(log_format: Literal["text", "json"], out: TextIO, environ: Mapping[str, str] = os.environ) -> ILogObserver:
    """Return what writes log events to ``out``; ``environ`` may say that the journal reads that."""
    if log_format == "json":
        return FileLogObserver(out, as_json)
    write = as_journal_text if _is_journal(out, environ) else as_text
    encoding = getattr(out, "encoding", None) or "utf-8"
    # A character that ``out`` cannot hold must not cost the line.
    return FileLogObserver(out, lambda event: write(event).encode(encoding, "backslashreplace").decode(encoding))


def destination(twistd: Mapping[str, Any], rotate_with: Callable[[Callable[[], None]], object]) -> TextIO | None:
    """Return where ``twistd``'s own options say that the log goes; it is opened as ``twistd`` would.

    :param rotate_with: called, when SIGUSR1 asks for a new file, with what makes it.
    :returns: ``None`` where ``twistd`` is to write it its own way (``--logger``, ``--syslog``).
    """
    if twistd.get("logger") or twistd.get("syslog"):
        return None
    name = twistd.get("logfile") or ("-" if twistd.get("nodaemon") else "twistd.log")
    if name == "-":
        # A daemon has no output: twistd refuses that, if it is left to.
        return sys.stdout if twistd.get("nodaemon") else None
    log = LogFile.fromFullPath(name)
    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, lambda *_: rotate_with(log.rotate))
    return cast(TextIO, log)  # it has of one what observers need


def as_text(event: LogEvent) -> str:
    """Return ``event`` as a line: when, how grave, where, the text, and the traceback if there is one."""
    moment = _moment(event).replace("+00:00", "Z")
    return f"{moment} {_level(event):<8} {_place(event)}: {_told(event)}\n"


def as_journal_text(event: LogEvent) -> str:
    """Return ``event`` as a line for the journal: its level as sd-daemon(3) has it, and no time."""
    return f"<{_PRIORITIES.get(_level(event), 6)}>{_place(event)}: {_told(event)}\n"


def as_json(event: LogEvent) -> str:
    """Return ``event`` as a JSON object in one line."""
    failure = event.get("log_failure")
    told: dict[str, object] = {
        "time": _moment(event),
        "level": _level(event),
        "namespace": event.get("log_namespace", ""),
        "text": _text(event),
        "event": event.get("log_format"),
    }
    told |= {
        # JSON has no word for a number that is none.
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in event.items()
        if name not in told.keys() | _TWISTEDS and not name.startswith("log_") and isinstance(value, _PLAIN)
    }
    if failure is not None:
        told["traceback"] = failure.getTraceback()
    return json.dumps(told, ensure_ascii=True) + "\n"


def one_line(text: str) -> str:
    """Return ``text`` without line breaks, and with nothing in it that a terminal would act on."""
    joined = " | ".join(line for each in text.split("\n") if (line := each.strip()))
    if joined.isprintable():
        return joined
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in joined)


def _text(event: LogEvent) -> str:
    """Return what ``formatEvent`` does; where the format calls nothing, as ours do, in a tenth of its time."""
    log_format = event.get("log_format")
    if isinstance(log_format, str) and "(" not in log_format and "log_flattened" not in event:
        try:
            return log_format.format_map(event)
        except Exception:  # noqa: BLE001 - Twisted's words for what cannot be formatted are better
            return formatEvent(event)
    return formatEvent(event)


def _told(event: LogEvent) -> str:
    failure = event.get("log_failure")
    return one_line(_text(event) + ("" if failure is None else "\n" + failure.getTraceback()))


def _moment(event: LogEvent) -> str:
    seconds, milliseconds = divmod(int(event["log_time"] * 1000), 1000)
    return f"{_second(seconds)}.{milliseconds:03d}+00:00"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _level(event: LogEvent) -> str:
    return str(getattr(event.get("log_level"), "name", "info"))


def _place(event: LogEvent) -> str:
    """Return where an event comes from, in short: our modules without our name, of others the package."""
    return _short(str(event.get("log_namespace", "-")))


@lru_cache(maxsize=256)
def _short(namespace: str) -> str:
    first, *rest = one_line(namespace).split(".")
    if first != "filedropd":
        return "-" if first == "log_legacy" else first
    return ".".join(part for part in rest if part == part.lower()) or first


def _is_journal(out: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether the journal reads ``out`` (systemd.exec(5), ``$JOURNAL_STREAM``)."""
    with contextlib.suppress(OSError, AttributeError):  # twistd's log file has no number
        status = os.fstat(out.fileno())
        return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
    return False
