"""What pages load: kept for ever, whole or compressed, and by nobody else's leave."""

from __future__ import annotations

import gzip
import re
from importlib.resources import files
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from filedropd.testing import Response
from filedropd.web.assets import FOREVER, Assets, shipped
from tests.api import APITestCase

STYLE = shipped().path("style.css")


class PathTests(SynchronousTestCase):
    """Where an asset is."""

    CONTENTS: ClassVar = {
        "a.js": b'import { b } from "./b.js";\n',
        "b.js": b'import {\n  c,\n} from "./c.js";\n',
        "c.js": b"",
    }

    def test_changes(self):
        """The address of each changes with any of them: scripts name each other as neighbours."""
        before, after = Assets(self.CONTENTS), Assets(self.CONTENTS | {"c.js": b"1;\n"})
        self.assertNotEqual(before.path("a.js"), after.path("a.js"))
        self.assertEqual(before.path("a.js"), Assets(dict(reversed(self.CONTENTS.items()))).path("a.js"))

    def test_unknown(self):
        """There is no address for what is not there."""
        self.assertRaises(KeyError, shipped().path, "other.css")

    def test_modules(self):
        """The scripts that a script needs are found, however far away, once."""
        self.assertEqual(["a.js", "b.js", "c.js"], Assets(self.CONTENTS).modules("a.js"))
        self.assertEqual(["c.js"], Assets(self.CONTENTS).modules("c.js"))

    def test_whole(self):
        """Each script that one of ours imports is there, now or later."""
        folder = files("filedropd.web") / "ui" / "assets"
        names = {file.name for file in folder.iterdir()}
        for file in folder.iterdir():
            if file.name.endswith(".js"):
                imported = set(re.findall(r"""["']\./([\w.-]+)["']""", file.read_text("utf-8")))
                self.assertLessEqual(imported, names, file.name)


class ServedTests(APITestCase):
    """How assets are answered."""

    def served(self, path: str = STYLE, **headers: str) -> Response:
        """Ask for one."""
        return self.ask("GET", path, {name.replace("_", "-"): value for name, value in headers.items()})

    def test_plain(self) -> None:
        """It is served as what it is, may be kept for ever, and is for our pages alone."""
        answer = self.served()
        self.assertEqual((200, "text/css; charset=utf-8"), (answer.status, answer.header("Content-Type")))
        self.assertEqual(FOREVER, answer.header("Cache-Control"))
        self.assertEqual("nosniff", answer.header("X-Content-Type-Options"))
        self.assertEqual("same-origin", answer.header("Cross-Origin-Resource-Policy"))
        self.assertEqual("Accept-Encoding", answer.header("Vary"))
        self.assertIsNone(answer.header("Content-Encoding"))
        self.assertIn(b"prefers-color-scheme: dark", answer.body)

    def test_compressed(self) -> None:
        """Who takes gzip gets it, under another entity tag; who does not, does not."""
        plain, packed = self.served(), self.served(Accept_Encoding="br, gzip;q=0.5")
        self.assertEqual("gzip", packed.header("Content-Encoding"))
        self.assertEqual(plain.body, gzip.decompress(packed.body))
        self.assertLess(len(packed.body), len(plain.body) / 2)
        self.assertNotEqual(plain.header("ETag"), packed.header("ETag"))
        for accept in ("identity", "gzip;q=0", "br", "", "\u00e9"):
            self.assertIsNone(self.served(Accept_Encoding=accept).header("Content-Encoding"), accept)

    def test_small(self) -> None:
        """What would gain nothing goes out as it is."""
        answer = self.served(shipped().path("icon.svg"), Accept_Encoding="gzip")
        self.assertEqual(("image/svg+xml", None), (answer.header("Content-Type"), answer.header("Content-Encoding")))

    def test_unchanged(self) -> None:
        """Who has it already is told so."""
        for accept in ("gzip", "identity"):
            answer = self.served(Accept_Encoding=accept)
            again = self.served(Accept_Encoding=accept, If_None_Match=answer.header("ETag") or "")
            self.assertEqual((304, b"", answer.header("ETag")), (again.status, again.body, again.header("ETag")))

    def test_head(self) -> None:
        """HEAD tells what GET would."""
        head, got = self.ask("HEAD", STYLE), self.ask("GET", STYLE)
        self.assertEqual((b"", got.headers), (head.body, head.headers))

    def test_elsewhere(self) -> None:
        """Nothing is under another digest, another name or a path that leads elsewhere."""
        folder = STYLE.rpartition("/")[0]
        for path in ("/ui/0123456789ab/style.css", f"{folder}/other.css", f"{folder}/..%2fpages%2flayout.html", folder):
            self.assertEqual(404, self.ask("GET", path).status, path)

    def test_favicon(self) -> None:
        """There is a picture for whoever does not read where it is."""
        answer = self.ask("GET", "/favicon.ico")
        self.assertEqual((200, "image/svg+xml"), (answer.status, answer.header("Content-Type")))
        self.assertEqual("public, max-age=86400", answer.header("Cache-Control"))
