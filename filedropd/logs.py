"""How log events are written: as text, Twisted's own way, or as JSON, one object a line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Literal, TextIO

from twisted.logger import (
    FileLogObserver,
    ILogObserver,
    LogEvent,
    formatEvent,
    formatEventAsClassicLogText,
)

# What Twisted adds to an event for its own use, and what the fixed fields below already say.
_TWISTEDS = frozenset({"isError", "message", "format", "system", "time", "failure", "why"})
_PLAIN = (str, int, float, bool, type(None))


def observer(log_format: Literal["text", "json"], out: TextIO) -> ILogObserver:
    """Return what writes log events to ``out``."""
    return FileLogObserver(out, as_json if log_format == "json" else formatEventAsClassicLogText)


def as_json(event: LogEvent) -> str:
    """Return ``event`` as a JSON object in one line: when, how grave, where, the text, and its fields."""
    failure = event.get("log_failure")
    level = event.get("log_level")
    told: dict[str, object] = {
        "time": datetime.fromtimestamp(event["log_time"], UTC).isoformat(timespec="milliseconds"),
        "level": getattr(level, "name", "info"),
        "namespace": event.get("log_namespace", ""),
        "text": formatEvent(event),
    }
    told |= {
        name: value
        for name, value in event.items()
        if name not in told.keys() | _TWISTEDS and not name.startswith("log_") and isinstance(value, _PLAIN)
    }
    if failure is not None:
        told["traceback"] = failure.getTraceback()
    return json.dumps(told, ensure_ascii=True) + "\n"
