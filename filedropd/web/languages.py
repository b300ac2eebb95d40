"""The words on the pages: a catalogue for each language, and which of them a reader prefers.

A catalogue is a file in ``ui/words/``, named by the code of its language; to add one is to add a language.  What
it lacks is said in English.  Texts name their values as ``{value}``; one that depends on a number is a table of
forms, of which ``{count}`` chooses.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final, TypeAlias

import attrs
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

#: What is said where a catalogue says nothing, and spoken to whoever understands nothing else that there is.
FALLBACK: Final = "en"

#: So many preferences are remembered, of so many characters at most.
REMEMBERED: Final = 256
LENGTH: Final = 256

Words: TypeAlias = Mapping[str, Any]


def _slavic(count: int) -> str:
    if count % 10 == 1 and count % 100 != 11:
        return "one"
    return "few" if count % 10 in {2, 3, 4} and count % 100 not in {12, 13, 14} else "many"


def _arabic(count: int) -> str:
    if count < 3:
        return ("zero", "one", "two")[count]
    if 3 <= count % 100 <= 10:
        return "few"
    return "many" if count % 100 >= 11 else "other"


#: Which form of a text a whole number takes (the cardinal rules of CLDR), for each family of languages.
PLURALS: Final[Mapping[str, Callable[[int], str]]] = {
    "other": lambda _: "other",  # Chinese, Japanese, Korean, Turkish
    "one-other": lambda count: "one" if count == 1 else "other",  # most of Europe
    "zero-one-other": lambda count: "one" if count < 2 else "other",  # French, Portuguese
    "one-two-other": lambda count: {1: "one", 2: "two"}.get(count, "other"),  # Hebrew
    "one-few-many": lambda count: "one" if count == 1 else _slavic(count) if count % 10 != 1 else "many",  # Polish
    "one-few-other": lambda count: "one" if count == 1 else "few" if 2 <= count <= 4 else "other",  # Czech
    "slavic": _slavic,  # Russian, Ukrainian
    "arabic": _arabic,
}

_SIZES: Final = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_SPANS: Final = ((86_400, "days"), (3_600, "hours"), (60, "minutes"), (1, "seconds"))


@attrs.frozen(eq=False)
class Language:
    """One language, and how it says things.

    :ivar code: as HTML and HTTP name it.
    :ivar words: its catalogue, and English where that has nothing.
    """

    code: str
    words: Words

    @property
    def direction(self) -> str:
        """The way in which it is written, ``ltr`` or ``rtl``."""
        return str(self.words["language"]["direction"])

    def say(self, key: str, **values: object) -> str:
        """Return a text, its values filled in.

        :param key: its place in the catalogue, with dots.
        :raises KeyError: there is none, or it needs a value that is not given.
        """
        found = self.find(key)
        if isinstance(found, Mapping):
            found = found.get(self._form(values["count"]), found["other"])
        return str(found).format_map(values)

    def find(self, key: str) -> Any:
        """Return what stands in the catalogue at ``key``.

        :raises KeyError: nothing.
        """
        found: Any = self.words
        for name in key.split("."):
            found = found[name]
        return found

    def has(self, key: str) -> bool:
        """Tell whether there is something at ``key``."""
        try:
            self.find(key)
        except KeyError:
            return False
        return True

    def sections(self, *names: str) -> dict[str, Any]:
        """Return parts of the catalogue, for a script that says it itself."""
        return {name: self.words[name] for name in names}

    def size(self, octets: int) -> str:
        """Return a number of bytes as people read it, exact where it is a whole number of units."""
        for unit, name in _SIZES:
            if octets >= unit:
                number = f"{octets / unit:.1f}".removesuffix(".0")
                text = f"{number.replace('.', self.words['language']['decimal'])} {name}"
                # Latin letters after a number would change places with it where writing runs from the right.
                return (
                    f"\N{LEFT-TO-RIGHT ISOLATE}{text}\N{POP DIRECTIONAL ISOLATE}" if self.direction == "rtl" else text
                )
        return self.say("units.bytes", count=octets)

    def span(self, seconds: float) -> str:
        """Return a time in one unit, the largest in which it is a whole number."""
        unit, name = next((each for each in _SPANS if seconds >= each[0] and seconds % each[0] == 0), _SPANS[-1])
        return self.say(f"units.{name}", count=int(seconds // unit))

    def wait(self, seconds: int) -> str:
        """Return a time to wait, in whole units, and never too short."""
        unit, name = next((each for each in _SPANS if seconds >= 2 * each[0]), _SPANS[-1])
        return self.say(f"units.{name}", count=max(-(-seconds // unit), 1))

    def moment(self, seconds: float) -> str:
        """Return a time of the calendar, to the minute."""
        at = datetime.fromtimestamp(seconds, UTC)
        month = self.words["language"]["months"][at.month - 1]
        return self.say("language.moment", day=at.day, month=month, year=at.year, hour=f"{at:%H}", minute=f"{at:%M}")

    def _form(self, count: object) -> str:
        if not isinstance(count, int):
            raise TypeError(f"count is no whole number: {count!r}")
        return PLURALS[self.words["language"]["plurals"]](count)


class Languages:
    """The languages that there are.

    :param catalogues: by their codes.
    """

    def __init__(self, catalogues: Mapping[str, Words]) -> None:
        english = catalogues[FALLBACK]
        self._languages = {code: Language(code, _over(english, words)) for code, words in catalogues.items()}
        # The first of them is what `*` means.
        self._codes = sorted(self._languages, key=lambda code: (code != FALLBACK, code))
        self._preferred = lru_cache(maxsize=REMEMBERED)(self._find)

    def __iter__(self) -> Any:
        """Go through them."""
        return iter(self._languages.values())

    def __getitem__(self, code: str) -> Language:
        """Return the language of that code.

        :raises KeyError: there is none.
        """
        return self._languages[code]

    def preferred(self, accept: str | None) -> Language:
        """Return the language that a reader prefers of those that there are.

        :param accept: what the request says under Accept-Language.
        """
        if not accept or not accept.isascii() or len(accept) > LENGTH:
            return self._languages[FALLBACK]
        return self._preferred(accept)

    def _find(self, accept: str) -> Language:
        wishes = parse_accept_header(accept, LanguageAccept)
        return self._languages[wishes.best_match(self._codes, FALLBACK)]


@cache
def shipped() -> Languages:
    """Return the languages whose catalogues come with the package."""
    return Languages(read(files("filedropd.web") / "ui" / "words"))


def read(folder: Traversable) -> dict[str, Words]:
    """Return the catalogues in a folder, by the codes of their languages."""
    return {
        file.name.removesuffix(".toml"): tomllib.loads(file.read_text("utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".toml")
    }


def _over(below: Words, above: Words) -> Words:
    """Return ``above``, and what only ``below`` has. A text's forms belong together and are taken as a whole."""
    merged = dict(below)
    for name, value in above.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping) and "other" not in value
        merged[name] = _over(merged[name], value) if nested else value
    return merged
