"""Names of any script: what was sent is what comes back, made safe, in one line.

``FILEDROPD_NAMES=10000 trial tests.test_names`` tries so many; the default is a thousand.
"""

from __future__ import annotations

import os
import re
import unicodedata
from typing import Final
from urllib.parse import quote, unquote

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from filedropd.names import MAX_NAME, safe_name, stands
from filedropd.testing import Wire
from tests.api import APITestCase, file_part, form
from tests.bad_inputs import put
from tests.test_bad_forms import sent_form
from tests.test_http_disposition import names as odd_names

EXAMPLES: Final = int(os.environ.get("FILEDROPD_NAMES", "1000"))

#: First and last letters of scripts.
SCRIPTS: Final = [
    "AZ", "az", "09", "\u00c0\u017f", "\u0391\u03c9", "\u0410\u044f", "\u0531\u0556", "\u05d0\u05ea", "\u0621\u064a",
    "\u0905\u0939", "\u0995\u09a8", "\u0e01\u0e2e", "\u10d0\u10f0", "\u1200\u1248", "\u1780\u17b3", "\u3041\u3096",
    "\u30a1\u30fa", "\u4e00\u9fff", "\uac00\ud7a3", "\U00010330\U0001034a", "\U0001f600\U0001f64f",
]  # fmt: skip
#: What stands between letters: marks that combine, spaces, and what some system or header minds.
BETWEEN: Final = " .-_~+,;=@!#$%&'()[]{}^`\u0301\u0308\u093e\u0e31\u3099\u00a0\u3000·’—"
#: What must not come through.
UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

_words = st.sampled_from(SCRIPTS).flatmap(
    lambda ends: st.text(st.characters(min_codepoint=ord(ends[0]), max_codepoint=ord(ends[1])), min_size=1, max_size=60)
)
_of_a_script = st.lists(st.one_of(_words, st.text(st.sampled_from(BETWEEN), max_size=3)), min_size=1, max_size=8).map(
    "".join
)
_spoilt = st.tuples(
    _of_a_script, st.sampled_from(["\u202e", "\u200b", "\ufeff", "\x00", "\r\n", "/", "\\", ":", '"', "\x7f", "\u2028"])
).map(lambda both: both[0][:3] + both[1] + both[0][3:])
any_name = st.one_of(_of_a_script, _spoilt, st.text(max_size=300), odd_names).filter(
    lambda name: not any(unicodedata.category(character) == "Cs" for character in name)
)

# RFC 6266 section 4.1 and RFC 8187 section 3.2.1, no more than we have a use for.
_FIELD: Final = re.compile(
    r"attachment; filename=(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|\"((?:[ !#-\[\]-~]|\\[\"\\])*)\")"
    r"(?:; filename\*=UTF-8''((?:[!#$&+.^_`|~0-9A-Za-z-]|%[0-9A-F]{2})+))?"
)


def parsed(field: str) -> tuple[str, str]:
    """Return the name that a Content-Disposition gives to clients of today, and to old ones.

    :raises AssertionError: it is not by the letter.
    """
    match = _FIELD.fullmatch(field)
    if match is None:
        raise AssertionError(f"not by the letter: {field!r}")
    old = match[1] if match[1] is not None else re.sub(r"\\(.)", r"\1", match[2])
    return (unquote(match[3], errors="strict") if match[3] is not None else old), old


class RoundTripTests(APITestCase):
    """A name goes in by an upload and comes out by a download."""

    def fetched(self, sent: bytes) -> str:
        """Upload with ``sent`` and return the Content-Disposition of the download."""
        wire = Wire(self.factory)
        wire.send(sent)
        (answer,) = wire.responses()
        self.assertEqual(201, answer.status, answer.body)
        path = (answer.header("Location") or "").removeprefix("http://a")
        wire.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        wire.advance(2)
        head = wire.received.partition(b"\r\n\r\n")[2].partition(b"\r\n\r\n")[0]
        lines = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-disposition:")]
        self.assertEqual(1, len(lines), head)
        wire.close()
        return lines[0].partition(b": ")[2].decode("ascii")

    def check(self, name: str, sent: bytes) -> None:
        """What comes out is one line, and its name is ``name`` made safe."""
        field = self.fetched(sent)
        told, old = parsed(field)
        self.assertEqual(safe_name(name), told)
        self.assertEqual(safe_name(old), old)
        self.assertTrue(0 < len(told.encode()) <= MAX_NAME)
        seen = {unicodedata.category(each) for place, each in enumerate(told) if not stands(told, place)}
        self.assertFalse(seen & UNSAFE, ascii(told))
        self.assertIsNone(re.search(r'[/\\:*?"<>|]', told))

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(any_name)
    @example("")
    @example("日本語.txt")
    @example("مرحبا.pdf")
    @example("می\u200cخواهم 👩\u200d🚀.pdf")
    @example("a\u0301" * 200 + ".tar.gz")
    def test_any(self, name: str) -> None:
        """However a name is sent, raw in a form, as filename*, or in the address, it comes back the same."""
        self.core.clear()
        extended = f"filename*=UTF-8''{quote(name, safe='')}".encode()
        self.check(name, sent_form(form(file_part()).replace(b'filename="report.xls"', extended)))
        # In a quoted name browsers write a quote as %22, and read none of it back.
        if not re.search(r"[\x00-\x1f\x7f\\]|%22|%0[AaDd]", name):
            raw = b'filename="' + name.replace('"', "%22").encode() + b'"'
            self.check(name, sent_form(form(file_part()).replace(b'filename="report.xls"', raw)))
        if name not in {".", ".."} and not re.search(r"[\x00-\x1f\x7f/\\]", name):
            self.check(name, put(b"Content-Length: 1", b"x", b"/" + quote(name, safe="").encode()))

    @settings(max_examples=EXAMPLES // 10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(_of_a_script.map(lambda name: name[:60]).filter(lambda name: name not in {".", ".."}))
    def test_survives(self, name: str) -> None:
        """A name of letters, short enough, survives as it is: in form C, without what hides or ends it."""
        told, _ = parsed(self.fetched(put(b"Content-Length: 1", b"x", b"/" + quote(name, safe="").encode())))
        letters = [character for character in unicodedata.normalize("NFC", name) if character.isalnum()]
        if letters:
            self.assertEqual(letters, [character for character in told if character.isalnum()])
