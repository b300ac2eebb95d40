"""The words on the pages: every catalogue is whole, and a reader gets the one that he prefers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from filedropd.web.languages import LENGTH, PLURALS, Language, Languages, shipped

ENGLISH = shipped()["en"]
GERMAN = shipped()["de"]
UI = files("filedropd.web") / "ui"

Texts = dict[str, str]


def texts(words: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Return the places of a catalogue and their texts; forms that a number chooses are places of their own."""
    for name, value in words.items():
        if isinstance(value, Mapping):
            yield from texts(value, f"{before}{name}.")
        elif isinstance(value, str):
            yield before + name, value


def values(text: str) -> set[str]:
    """Return the names of the values that a text has."""
    return set(re.findall(r"\{(\w+)\}", text))


def a_language(**words: Any) -> Language:
    """Return a language with English words but for these sections."""
    return Languages({"en": ENGLISH.words, "xx": words})["xx"]


class CatalogueTests(SynchronousTestCase):
    """The catalogues that come with the package."""

    def test_whole(self):
        """Each says all that English says, with the same values; what is missing or is never said shows."""
        expected = dict(texts(ENGLISH.words))
        for language in shipped():
            found = dict(texts(language.words))
            self.assertEqual(set(expected), set(found), language.code)
            for key, text in found.items():
                self.assertEqual(values(expected[key]), values(text), (language.code, key))

    def test_untranslated(self):
        """German is German: what is the same in both is meant to be."""
        same = {key for key, text in texts(GERMAN.words) if dict(texts(ENGLISH.words))[key] == text}
        alike = {
            "language.direction", "language.plurals", "units.bytes.one", "terms.downloads.one", "uploaded.link",
            "status.said_gone", "kinds.video", "kinds.text",
        }  # fmt: skip
        self.assertEqual(set(), same - alike)

    def test_used(self):
        """Each text of English is said somewhere, and what is said is there."""
        sources = [file for folder in ("pages", "assets") for file in (UI / folder).iterdir()]
        code = "\n".join(file.read_text("utf-8") for file in sources if not file.name.endswith((".css", ".svg")))
        code += (files("filedropd.web") / "pages.py").read_text("utf-8")
        code += (files("filedropd.web") / "api.py").read_text("utf-8")
        said = set(re.findall(r"""say\(\s*[f]?["'`]([a-z_]+\.[a-z_.0-9]+)["'`]""", code))
        said |= set(re.findall(r'"((?:fetching|status|terms|drops|faults)\.[a-z_]+)"', code))
        # Those that are put together: by an event, a reason, an error, a state, a unit.
        together = ("events.", "faults.", "kinds.", "language.", "problem.", "status.said_", "units.", "download.left_",
                    "status.expired", "status.revoked", "status.abandoned", "download.summary")  # fmt: skip
        keys = {re.sub(r"(?<=\..)(.*)\.(?:one|other)$", r"\1", key) for key, _ in texts(ENGLISH.words)}
        self.assertEqual(set(), {key for key in keys - said if not key.startswith(together)})
        self.assertEqual(set(), {key for key in said - keys if not key.endswith(("_", "."))})

    def test_directions(self):
        """Each says which way it is written, and by which family it counts."""
        for language in shipped():
            self.assertIn(language.direction, {"ltr", "rtl"})
            self.assertIn(language.words["language"]["plurals"], PLURALS)


class SayTests(SynchronousTestCase):
    """How a language says things."""

    def test_values(self):
        """Values stand where the language wants them; text that looks like one in a value is text."""
        self.assertEqual("Downloading, 43 %", ENGLISH.say("status.downloading", percent="43 %"))
        self.assertEqual("{count}: delivered.", ENGLISH.say("status.said_delivered", name="{count}"))

    def test_absent(self):
        """What a catalogue lacks is said in English; what nobody says is an error."""
        language = a_language(upload={"heading": "Hinterlegen"})
        self.assertEqual("Hinterlegen", language.say("upload.heading"))
        self.assertEqual(ENGLISH.say("upload.submit"), language.say("upload.submit"))
        self.assertRaises(KeyError, language.say, "upload.nothing")

    def test_forms(self):
        """A number chooses the form, by the rule of the language's family."""
        forms = {name: name for name in ("zero", "one", "two", "few", "many", "other")}
        for family, expected in {
            "other": {0: "other", 1: "other"},
            "one-other": {0: "other", 1: "one", 2: "other", 21: "other"},
            "zero-one-other": {0: "one", 1: "one", 2: "other"},
            "one-two-other": {1: "one", 2: "two", 3: "other"},
            "one-few-other": {1: "one", 2: "few", 4: "few", 5: "other", 22: "other"},
            "one-few-many": {1: "one", 2: "few", 5: "many", 12: "many", 21: "many", 22: "few"},
            "slavic": {1: "one", 2: "few", 5: "many", 11: "many", 21: "one", 112: "many"},
            "arabic": {0: "zero", 1: "one", 2: "two", 3: "few", 11: "many", 100: "other", 103: "few"},
        }.items():
            language = a_language(language={"plurals": family}, units={"days": forms})
            self.assertEqual(expected, {count: language.say("units.days", count=count) for count in expected}, family)

    def test_sizes(self):
        """Sizes are exact where they are a whole number of units, and have the language's comma."""
        for octets, english, german in [
            (0, "0 bytes", "0 Byte"),
            (1, "1 byte", "1 Byte"),
            (1023, "1023 bytes", "1023 Byte"),
            (1024, "1 KiB", "1 KiB"),
            (3 * 2**19, "1.5 MiB", "1,5 MiB"),
            (16 * 2**20, "16 MiB", "16 MiB"),
            (100 * 2**30, "100 GiB", "100 GiB"),
        ]:
            self.assertEqual((english, german), (ENGLISH.size(octets), GERMAN.size(octets)))

    def test_upright(self):
        """A size keeps its order where writing runs from the right."""
        language = a_language(language={"direction": "rtl"})
        self.assertEqual("\u20661.5 KiB\u2069", language.size(1536))

    def test_spans(self):
        """A time is told in the largest unit of which it is a whole number, one to wait is never too short."""
        self.assertEqual(
            ["7 days", "12 hours", "90 seconds", "1 minute"],
            [ENGLISH.span(each) for each in (604_800.0, 43_200, 90, 60)],
        )
        self.assertEqual(
            ["1 second", "1 second", "90 seconds", "3 minutes", "2 hours", "3 days"],
            [ENGLISH.wait(each) for each in (0, 1, 90, 121, 7200, 200_000)],
        )

    def test_moments(self):
        """A moment is written as the language writes it."""
        self.assertEqual("21 November 2023, 22:13 UTC", ENGLISH.moment(1_700_604_800.5))
        self.assertEqual("21. November 2023, 22:13 UTC", GERMAN.moment(1_700_604_800.5))


class PreferredTests(SynchronousTestCase):
    """Which language a reader gets."""

    def test_preferred(self):
        """The one he likes best of those that there are; English where there is none of them."""
        for accept, code in [
            (None, "en"),
            ("", "en"),
            ("de", "de"),
            ("DE-at", "de"),
            ("de-AT,de;q=0.9,en;q=0.8", "de"),
            ("en-GB,en;q=0.9,de;q=0.8", "en"),
            ("fr,de;q=0.5,en;q=0.4", "de"),
            ("fr,es", "en"),
            ("en;q=0.1,de;q=0.2", "de"),
            ("de;q=0,en;q=0.1", "en"),
            ("*", "en"),
        ]:
            self.assertEqual(code, shipped().preferred(accept).code, accept)

    def test_added(self):
        """A catalogue more is a language more, and one of a region is for that region."""
        languages = Languages({"en": ENGLISH.words, "pt-BR": {}, "he": {"language": {"direction": "rtl"}}})
        self.assertEqual("pt-BR", languages.preferred("pt-BR,pt;q=0.9").code)
        self.assertEqual("rtl", languages.preferred("he-IL").direction)
        self.assertEqual(["en", "pt-BR", "he"], [language.code for language in languages])

    @given(st.text(max_size=40) | st.text(",;=q.-*deni 0123456789", max_size=LENGTH + 50))
    def test_anything(self, accept: str):
        """Whatever is sent, there is a language."""
        self.assertIn(shipped().preferred(accept).code, {"en", "de"})
