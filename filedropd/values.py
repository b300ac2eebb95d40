"""Values that never change, and others like them."""

from __future__ import annotations

from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

import attrs

T = TypeVar("T")


@cache
def _fields(kind: Any) -> tuple[tuple[str, ...], Any]:
    names = tuple(field.name for field in attrs.fields(kind))
    return names, attrgetter(*names)


def evolve(value: T, **changes: object) -> T:
    """Return a value like ``value`` but for ``changes``, as :func:`attrs.evolve` does, in a third of its time.

    For values of two fields or more, whose names are those of the arguments that make them.
    """
    kind: Any = type(value)
    names, read = _fields(kind)
    made: T = kind(**(dict(zip(names, read(value), strict=True)) | changes))
    return made
