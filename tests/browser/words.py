"""What things are called on the pages, in whatever language: tests find a button by its name in the catalogues.

What a page must *say* stands in the tests, in English.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, Final

_VALUE: Final = re.compile(r"\\\{\w+\\\}")


def said(key: str) -> re.Pattern[str]:
    """Return what finds the text of ``key`` ("drops.copy"), in any language and with any values."""
    texts = [_at(catalogue, key) for catalogue in _catalogues()]
    forms = [form for text in texts for form in (text.values() if isinstance(text, dict) else [text])]
    return re.compile("|".join(_VALUE.sub(".+", re.escape(form)) for form in forms))


def _at(catalogue: dict[str, Any], key: str) -> Any:
    found: Any = catalogue
    for part in key.split("."):
        found = found[part]
    return found


@cache
def _catalogues() -> list[dict[str, Any]]:
    folder = files("filedropd.web") / "ui" / "words"
    return [tomllib.loads(each.read_text("utf-8")) for each in folder.iterdir() if each.name.endswith(".toml")]
