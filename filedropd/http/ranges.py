"""Range, If-Range and conditional requests (RFC 9110 sections 13 and 14), for something that never changes.

What is served here has a strong entity tag and no modification date, so dates never match.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from filedropd.errors import RangeNotSatisfiable

_BYTE_RANGE: Final = re.compile(
    r"bytes[ \t]*=[ \t,]*(?:([0-9]{1,19})-([0-9]{0,19})|-([0-9]{1,19}))[ \t,]*", re.ASCII | re.IGNORECASE
)
# Empty elements of the list are passed over (RFC 9110 section 5.6.1).
_ENTITY_TAG: Final = re.compile(r'[ \t,]*(W/)?("[\x21\x23-\x7e\x80-\U0010ffff]*")[ \t]*(?:,|$)')


@attrs.frozen(kw_only=True)
class Selection:
    """The bytes that an answer carries.

    :ivar first: offset of the first one.
    :ivar length: how many.
    :ivar size: of the whole, in bytes.
    :ivar partial: the answer is a 206 and not a 200.
    """

    first: int
    length: int
    size: int
    partial: bool

    @property
    def content_range(self) -> str:
        """The value of Content-Range (RFC 9110 section 14.4)."""
        return f"bytes {self.first}-{self.first + self.length - 1}/{self.size}"


def select(size: int, etag: str, range_field: str | None, if_range: str | None) -> Selection:
    """Return what a GET with these fields is to be answered with.

    A Range that is malformed, in another unit or of several ranges is ignored, as RFC 9110 section
    14.2 allows, and so is one under an ``If-Range`` that is not exactly ``etag``.

    :raises RangeNotSatisfiable: the range lies outside.
    """
    whole = Selection(first=0, length=size, size=size, partial=False)
    if range_field is None or (if_range is not None and if_range.strip() != etag):
        return whole
    match = _BYTE_RANGE.fullmatch(range_field.strip())
    if match is None:
        return whole
    if match[3] is not None:
        first, last = max(0, size - int(match[3])), size - 1
        satisfiable = int(match[3]) > 0 and size > 0
    else:
        first, last = int(match[1]), min(int(match[2] or size - 1), size - 1)
        if match[2] and int(match[2]) < first:
            return whole  # malformed: section 14.1.1
        satisfiable = first < size
    if not satisfiable:
        raise RangeNotSatisfiable(size)
    return Selection(first=first, length=last - first + 1, size=size, partial=True)


def not_matched(etag: str, if_match: str | None) -> bool:
    """Tell whether ``If-Match`` asks for something else than ``etag``, by the strong comparison (section 13.1.1)."""
    return if_match is not None and not _names(if_match, etag, weak=False)


def not_modified(etag: str, if_none_match: str | None) -> bool:
    """Tell whether ``If-None-Match`` names ``etag``, by the weak comparison (section 13.1.2)."""
    return if_none_match is not None and _names(if_none_match, etag, weak=True)


def _names(field: str, etag: str, *, weak: bool) -> bool:
    """Tell whether a list of entity tags has ``etag`` in it, or stands for whatever is there.

    :param weak: one that is weak is as good.
    """
    if field.strip() == "*":
        return True
    position = 0
    while match := _ENTITY_TAG.match(field, position):
        if match[2] == etag and (weak or not match[1]):
            return True
        position = match.end()
    return False
