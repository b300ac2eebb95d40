"""Server-Sent Events (HTML standard, section 9.2.6), as far as they are needed: names and data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import attrs

from filedropd.client.errors import NotADrop

#: Bytes that one event may have.
MOST: Final = 16 * 1024 * 1024

_END: Final = re.compile(rb"\r\n|\r|\n")


@attrs.frozen
class Event:
    """An event."""

    name: str
    data: str


class Events:
    """Reads a stream of events as it comes."""

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that ``data`` completes.

        :raises NotADrop: one of them does not end.
        """
        # A CR at the end may be the first half of a line's end.
        whole = self._rest + data
        *lines, self._rest = [whole] if whole.endswith(b"\r") else _END.split(whole)
        for line in lines:
            yield from self._line(line.decode("utf-8", "replace"))
        if len(self._rest) > MOST:
            raise NotADrop

    def _line(self, line: str) -> Iterator[Event]:
        if not line:
            if self._data:
                yield Event(self._name or "message", "\n".join(self._data))
            self._name, self._data = "", []
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
