"""Names that servers give, as they are used here."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from filedropd.client.wire import naming
from filedropd.names import stands

#: Any text, and such as is likely to do harm.
HOSTILE = st.text() | st.text(alphabet="./\\:-~ \x00\n\x1b\u202e\u200bCONAUX1.é\ufffe\ud800%", max_size=40)


class SafeTests(SynchronousTestCase):
    """Whatever a server says, the name is one that a file may have here."""

    @given(HOSTILE)
    def test_one_segment(self, name: str):
        """It is one visible segment of a path, in the folder that it is put into."""
        safe = naming.safe(name)
        self.assertEqual("folder", (Path("folder") / safe).parent.name)
        self.assertNotIn(safe, {"", ".", ".."})
        self.assertFalse(set(safe) & set('/\\<>:"|?*'))
        self.assertFalse(safe.startswith((".", "-", " ")) or safe.endswith((".", " ")), safe)

    @given(HOSTILE)
    def test_tells_a_terminal_nothing(self, name: str):
        """It has no character that a terminal, or a reader, would take for something else."""
        safe = naming.safe(name)
        categories = {unicodedata.category(each) for place, each in enumerate(safe) if not stands(safe, place)}
        self.assertFalse(categories & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}, categories)

    @given(st.text(min_size=200) | st.text(alphabet="é", min_size=100).map(lambda stem: stem + ".tar"))
    def test_length(self, name: str):
        """File systems take it, with what is added while it comes in."""
        self.assertLessEqual(len(f"{naming.safe(name)}.part.claim~".encode()), 255)

    @given(HOSTILE)
    def test_again(self, name: str):
        """What is safe stays as it is."""
        self.assertEqual(naming.safe(name), naming.safe(naming.safe(name)))

    @given(st.sampled_from(["a.part", "a.part.claim", "a.PART.claim~", ".part", "a.part.claim.part"]))
    def test_ours(self, name: str):
        """No file that comes in passes for what is written down of another."""
        self.assertFalse(naming.saved(naming.safe(name)).lower().endswith((".part", ".part.claim", "~")))

    def test_examples(self):
        """What they become."""
        for name, safe in (
            ("report.pdf", "report.pdf"),
            ("../../etc/passwd", "passwd"),
            ("..\\..\\boot.ini", "boot.ini"),
            (".bashrc", "bashrc"),
            ("-rf", "rf"),
            ("NUL.txt", "_NUL.txt"),
            ("a\x1b[31mb", "a[31mb"),
            ("gpj.\u202eexe", "gpj.exe"),
            ("a:b|c", "a_b_c"),
            ("", "file"),
            ("...", "file"),
        ):
            self.assertEqual(safe, naming.safe(name), name)


class ToldTests(SynchronousTestCase):
    """Content-Disposition (RFC 6266)."""

    @given(st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1, max_size=40))
    def test_extended(self, name: str):
        """The extended form is read, and goes before the other."""
        name = naming.safe(name)
        told = naming.told(f"attachment; filename=other; filename*=UTF-8''{quote(name, safe='')}")
        self.assertEqual(name, told)

    @given(st.text())
    def test_anything(self, field: str):
        """Whatever the field says, there is a name."""
        self.assertTrue(naming.told(field))

    def test_examples(self):
        """What they say."""
        for field, name in (
            (None, "file"),
            ("attachment", "file"),
            ("attachment; filename=a.txt", "a.txt"),
            ('attachment; filename="a b.txt"', "a b.txt"),
            ('attachment; filename="a\\"b;c.txt"', "a_b;c.txt"),
            ("attachment; FileName*=utf-8'en'%e2%82%ac.txt", "€.txt"),
            ("attachment; filename*=koi8-r''%c1", "file"),
            ("attachment; filename*=UTF-8''..%2f..%2fx; filename=y", "x"),
        ):
            self.assertEqual(name, naming.told(field), field)
