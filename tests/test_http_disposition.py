"""Names that are safe to save under, and the header field that carries them."""

from __future__ import annotations

import re
import unicodedata

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from werkzeug.http import parse_options_header

from filedropd.http.disposition import attachment
from filedropd.names import MAX_NAME, safe_name, stands

#: Row 102 of the catalogue of bad inputs: names as they come, and as they are served.
NAMES = [
    ("report.pdf", "report.pdf"),
    ("../../x", "x"),
    ("..\\..\\x", "x"),
    ("C:\\x", "x"),
    ("\\\\host\\share", "share"),
    ("a/b", "b"),
    ("a/", "file"),
    (".", "file"),
    ("..", "file"),
    ("", "file"),
    (" ", "file"),
    ("é" * 300, "é" * 127),
    ("é" * 300 + ".txt", "é" * 125 + ".txt"),
    ("CON", "_CON"),
    ("con.tar.gz", "_con.tar.gz"),
    ("nul.txt", "_nul.txt"),
    ("COM1.", "_COM1"),
    ("COM¹", "_COM¹"),
    ("CON .txt", "_CON .txt"),
    ("console.txt", "console.txt"),
    ("a\r\nX: y", "aX_ y"),
    ('a";x="b', "a_;x=_b"),
    ("%2e%2e%2f", "%2e%2e%2f"),
    ("evil\u202etxt.exe", "eviltxt.exe"),
    ("\ufeff", "file"),
    ("a\u200bb", "ab"),
    ("a:b", "a_b"),
    ("-rf", "rf"),
    (".htaccess", "htaccess"),
    (". .x", "x"),
    ("a\x00b", "ab"),
    ("a\ud800b", "ab"),
    ("e\u0301", "é"),
    ("x. . ", "x"),
    ("?*<>|", "_____"),
    ("می\u200cخواهم.txt", "می\u200cخواهم.txt"),  # Persian, "I want"
    ("क्\u200dष.txt", "क्\u200dष.txt"),  # Hindi, with the half form of a letter
    ("ക്\u200d.txt", "ക്\u200d.txt"),  # Malayalam, a consonant without a vowel at the end
    ("👩\u200d🚀.png", "👩\u200d🚀.png"),
    ("👩🏽\u200d❤\ufe0f\u200d👩🏻.png", "👩🏽\u200d❤\ufe0f\u200d👩🏻.png"),
    ("in\u200cvoice\u200d.exe", "invoice.exe"),
    ("\u200cمی\u200c\u200c.\u200dexe", "می.exe"),
    ("👩\u200da", "👩a"),
    ("e\u200d\u0301", "é"),
    ("م\u200c" * 100 + "م", "م\u200c" * 50 + "م"),
    ("日本語.txt", "日本語.txt"),
    ("😀.png", "😀.png"),
]

names = st.one_of(
    st.text(max_size=30),
    st.text(st.sampled_from('./\\:%"; -_~*()=\r\n\x00\u202e\ufeffaécCON1\u0301\ud800😀'), max_size=30),
    st.text(st.sampled_from("aé日😀. "), min_size=80, max_size=300),
    st.text(
        st.sampled_from("aمی\u064e\u200c\u200dक\u094d\u093c\u0951\u0dd9\u0dca👩❤\ufe0f🏽\u0301/. \u202e"), max_size=200
    ),
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["CON", "nul", "COM1", "lpt9", "aux", ".", "-", "_"]),
        st.sampled_from(["", ".", ". ", " ", ".-", "\u00a0", "\u3000"]),
        st.text(max_size=10),
    ),
)


class SafeNameTests(SynchronousTestCase):
    """What a file is called."""

    def test_table(self):
        """Row 102."""
        self.assertEqual(dict(NAMES), {name: safe_name(name) for name, _ in NAMES})

    @settings(max_examples=2500, deadline=None)
    @given(names)
    @example("a." + "é" * 15 + "x" * 240)
    @example("\u00a0.a")
    @example("a" * 254 + "\u00a0b")
    @example("\u037e/..")
    def test_safe(self, name):
        """Every name is one visible segment of a path, on every system, and stays as it is when made safe again."""
        safe = safe_name(name)
        self.assertEqual(safe, safe_name(safe))
        self.assertTrue(0 < len(safe.encode()) <= MAX_NAME)
        self.assertIsNone(re.search(r'[<>:"|?*\\/]', safe))
        seen = [character for place, character in enumerate(safe) if not stands(safe, place)]
        self.assertFalse({unicodedata.category(character) for character in seen} & {"Cc", "Cf", "Cs", "Zl", "Zp"})
        self.assertFalse(safe.startswith((".", "-", " ")) or safe.endswith((".", " ")), safe)
        device = safe.partition(".")[0].strip().upper()
        self.assertNotIn(device, {"CON", "PRN", "AUX", "NUL", "COM1", "LPT9"})


class AttachmentTests(SynchronousTestCase):
    """Content-Disposition."""

    def test_plain(self):
        """A plain name goes plainly."""
        self.assertEqual('attachment; filename="a b.txt"', attachment("a b.txt"))
        self.assertIn(attachment("a.txt"), {"attachment; filename=a.txt", 'attachment; filename="a.txt"'})

    def test_beyond_ascii(self):
        """A name beyond ASCII goes as filename*, with something close for old clients."""
        self.assertEqual("attachment; filename=cafe.txt; filename*=UTF-8''caf%C3%A9.txt", attachment("café.txt"))

    def test_nothing_close(self):
        """Where nothing close is left, old clients get a name that keeps its extension."""
        self.assertEqual(
            "attachment; filename=file.txt; filename*=UTF-8''%E6%97%A5%E6%9C%AC.txt", attachment("日本.txt")
        )

    def test_percent(self):
        """Old clients that decode percent signs cannot make another name of it."""
        self.assertNotIn("%", attachment("%2e%2e%2f").partition("filename*")[0])

    def test_wide_path(self):
        """Old clients cannot be given a path in the shape of characters that only look like one."""
        self.assertIn("filename=x;", attachment("\uff0e\uff0e\uff0f\uff0e\uff0e\uff0fx"))

    def test_table(self):
        """The header field of every bad name is one line of ASCII, and says what the safe name is."""
        for name, safe in NAMES:
            self.check(name, safe)

    @settings(max_examples=2500, deadline=None)
    @given(names)
    def test_any(self, name):
        """The same of every other name."""
        self.check(name, safe_name(name))

    def check(self, name: str, safe: str) -> None:
        field = attachment(name)
        self.assertTrue(field.isascii() and field.isprintable(), field)
        kind, parameters = parse_options_header(field)
        self.assertEqual(("attachment", {"filename": safe}), (kind, parameters))
        _, parameters = parse_options_header(field.partition("; filename*")[0])
        self.assertEqual({"filename": safe_name(parameters["filename"])}, parameters)
