"""Digest fields (RFC 9530): what is held against an upload, and what its recipients are told."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from typing import cast

import attrs

from filedropd.testing import Response, Wire, request
from tests.api import BOUNDARY, FILE, APITestCase, file_part, form, part
from tests.support import MemoryRecords

CONTENT = b"content of a file"
#: Another file.
OTHER = b"content of another"


def digest(data: bytes = CONTENT, *algorithms: str) -> str:
    """Return the digests of ``data`` as fields have them."""
    found = {key: hashlib.new(key.replace("-", ""), data).digest() for key in algorithms or ("sha-256",)}
    return ", ".join(f"{key}=:{b64encode(value).decode()}:" for key, value in found.items())


#: Fields of which each part is well formed and something is not, or is not as a digest is.
MALFORMED = {
    "as RFC 3230 had it": f"sha-256={b64encode(bytes(32)).decode()}",
    "in hexadecimal": "sha-256=" + "0f" * 32,
    "a string": 'sha-256="x"',
    "too short": f"sha-256=:{b64encode(bytes(31)).decode()}:",
    "too long": f"sha-256=:{b64encode(bytes(33)).decode()}:",
    "empty": "sha-256=::",
    "another algorithm's": digest(CONTENT, "sha-512").replace("sha-512", "sha-256"),
    "not base64": "sha-256=:!!!!:",
    "padding in the middle": "sha-256=:YQ==YQ==:",
    "not closed": "sha-256=:" + b64encode(bytes(32)).decode(),
    "no value": "sha-256",
    "a list": f"sha-256=({digest().partition('=')[2]})",
    "no key": digest().partition("=")[2],
    "key in capitals": digest().replace("sha", "SHA"),
    "comma behind": digest() + ",",
    "only a comma": ",",
    "beyond ASCII": "sha-256=:\xe4:",
    "unknown, and no digest": "md5=5",
    "one of two": digest() + ", sha-512=:YQ==:",
}


class DigestTestCase(APITestCase):
    """What the tests here share."""

    def put(self, fields: Mapping[str, str], data: bytes = CONTENT) -> Response:
        """Leave the bytes alone."""
        return self.ask("PUT", FILE, fields, data)

    def raw(self, *lines: str, data: bytes = CONTENT) -> Response:
        """Leave the bytes alone, with header lines as they are given."""
        wire = Wire(self.factory)
        head = ("PUT /name HTTP/1.1", "Host: localhost", f"Content-Length: {len(data)}", *lines, "", "")
        wire.send("\r\n".join(head).encode("latin-1") + data)
        return wire.responses("PUT")[0]

    def assertWrong(self, answer: Response, *words: str) -> None:
        """It is refused with words that tell what is wrong, and nothing is kept."""
        self.assertProblem(400, "Bad Request", answer)
        for word in words:
            self.assertIn(word, answer.json()["detail"])
        self.assertNothingKept()


class StatedTests(DigestTestCase):
    """What a sender says of what he sends."""

    def test_right(self) -> None:
        """What is true is kept."""
        for name in ("Repr-Digest", "Content-Digest"):
            for algorithms in (["sha-256"], ["sha-512"], ["sha-512", "sha-256"]):
                answer = self.put({name: digest(CONTENT, *algorithms)})
                self.assertEqual(201, answer.status, answer.body)
                self.assertEqual(hashlib.sha256(CONTENT).hexdigest(), answer.json()["sha256"])

    def test_wrong(self) -> None:
        """What is not true is refused, with the field and the algorithm, and leaves nothing."""
        for name in ("Repr-Digest", "Content-Digest"):
            for algorithm in ("sha-256", "sha-512"):
                self.assertWrong(self.put({name: digest(OTHER, algorithm)}), name, algorithm)
        self.assertNotIn("records.insert", self.core.journal.counts)

    def test_one_of_two(self) -> None:
        """Of two algorithms both must be true, and so must both fields."""
        mixed = f"{digest()}, {digest(OTHER, 'sha-512')}"
        self.assertWrong(self.put({"Repr-Digest": mixed}), "sha-512")
        self.assertWrong(self.put({"Repr-Digest": digest(), "Content-Digest": digest(OTHER)}), "Content-Digest")
        self.assertEqual(201, self.put({"Repr-Digest": digest(), "Content-Digest": digest(CONTENT, "sha-512")}).status)

    def test_empty(self) -> None:
        """An empty file has a digest, too, and so a wrong one."""
        self.assertWrong(self.put({"Repr-Digest": digest(CONTENT)}, b""), "sha-256")
        self.assertEqual(201, self.put({"Repr-Digest": digest(b"")}, b"").status)

    def test_large(self) -> None:
        """It is about all of a file that comes in many pieces."""
        data = bytes(range(256)) * 3000
        self.assertEqual(201, self.put({"Repr-Digest": digest(data)}, data).status)
        self.core.clear()
        self.assertWrong(self.put({"Repr-Digest": digest(data)}, data[:-1] + b"\0"), "sha-256")

    def test_chunked(self) -> None:
        """It is about the bytes, whatever chunks they come in; what trailer fields say is not looked at."""
        for data, status in ((CONTENT, 201), (OTHER, 400)):
            wire = Wire(self.factory)
            wire.send(request("PUT", FILE, {"Transfer-Encoding": "chunked", "Content-Digest": digest()}))
            for octet in data:
                wire.send(b"1\r\n%c\r\n" % octet)
            wire.send(b"0\r\nRepr-Digest: nonsense\r\n\r\n")
            (answer,) = wire.responses("PUT")
            self.assertEqual(status, answer.status, answer.body)

    def test_malformed(self) -> None:
        """What is no digest is refused, and the text says how one is written."""
        for name in ("Repr-Digest", "Content-Digest"):
            for what, value in MALFORMED.items():
                with self.subTest(what):
                    self.assertWrong(self.raw(f"{name}: {value}"), name, "sha-256=:…:")

    def test_before_the_body(self) -> None:
        """It is refused before the body is asked for."""
        wire = Wire(self.factory)
        wire.send(request("PUT", FILE, {"Repr-Digest": "x", "Content-Length": "7", "Expect": "100-continue"}))
        (answer,) = wire.responses("PUT")
        self.assertWrong(answer)

    def test_unknown(self) -> None:
        """Algorithms that are not known, or not trusted any more, are ignored, alone and beside others."""
        md5 = f"md5=:{b64encode(bytes(16)).decode()}:"
        self.assertEqual(201, self.put({"Repr-Digest": md5}).status)
        self.assertEqual(201, self.put({"Repr-Digest": f"{md5}, {digest()};by=me, new-one=:YQ==:"}).status)
        self.core.clear()
        self.assertWrong(self.put({"Repr-Digest": f"{md5}, {digest(OTHER)}"}), "sha-256")

    def test_repeated(self) -> None:
        """Lines of one field are one field: each of its algorithms counts, and of one twice the last (RFC 9651)."""
        right, wrong = f"Repr-Digest: {digest()}", f"Repr-Digest: {digest(OTHER)}"
        other = f"Repr-Digest: {digest(OTHER, 'sha-512')}"
        for lines in ((right, other), (other, right)):
            self.assertWrong(self.raw(*lines), "sha-512")
        self.assertWrong(self.raw(right, wrong), "sha-256")
        self.assertWrong(self.raw(right, "Repr-Digest: x y"))
        self.assertEqual(201, self.raw(wrong, right).status)

    def test_cut_short(self) -> None:
        """A body that ends before its length leaves nothing, also where its digest is that of what came."""
        wire = Wire(self.factory)
        wire.send(request("PUT", FILE, {"Content-Length": "100", "Repr-Digest": digest()}), CONTENT)
        wire.close()
        (answer,) = wire.responses("PUT")
        self.assertWrong(answer, "ended")


class FormTests(DigestTestCase):
    """What is said of a form."""

    parts = (part("downloads", "2"), file_part(CONTENT))

    def test_head(self) -> None:
        """In the request's head it is about all of the form, as RFC 9530 has it, and not about the file."""
        whole = form(*self.parts)
        for name in ("Repr-Digest", "Content-Digest"):
            for algorithm in ("sha-256", "sha-512"):
                self.assertWrong(self.send_form(*self.parts, headers={name: digest(CONTENT, algorithm)}), name)
                answer = self.send_form(*self.parts, headers={name: digest(whole, algorithm)})
                self.assertEqual((201, 2), (answer.status, answer.json()["downloads"]))
                self.assertEqual(hashlib.sha256(CONTENT).hexdigest(), answer.json()["sha256"])
                self.core.clear()

    def test_large(self) -> None:
        """It covers what is behind the file, too."""
        parts = [file_part(bytes(900_000)), part("expires", "90s")]
        body = form(*parts) + b"behind"
        fields = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        right = self.ask("PUT", FILE, fields | {"Repr-Digest": digest(body)}, body)
        self.assertEqual(201, right.status, right.body)
        self.core.clear()
        self.assertWrong(self.ask("PUT", FILE, fields | {"Repr-Digest": digest(body)}, body[:-1] + b"x"))

    def test_part(self) -> None:
        """In a part's header it is ignored, as RFC 7578 section 4.8 demands of all fields there but its own."""
        lines = f"application/x\r\nRepr-Digest: {digest(OTHER)}\r\nContent-Digest: nonsense"
        answer = self.send_form(file_part(CONTENT, content_type=lines))
        self.assertEqual((201, hashlib.sha256(CONTENT).hexdigest()), (answer.status, answer.json()["sha256"]))

    def test_malformed(self) -> None:
        """A malformed one is refused."""
        self.assertWrong(self.send_form(*self.parts, headers={"Content-Digest": "sha-256"}), "Content-Digest")


class WantedTests(DigestTestCase):
    """What a sender asks for."""

    def test_values(self) -> None:
        """Any preference is taken; the digest of what passes through here is known in any case."""
        for value in ("sha-256=10", "sha-256=1", "sha-256=0", "sha-512=3, sha-256=1", "md5=4", "sha-256=2;a=b", ""):
            answer = self.put({"Want-Repr-Digest": value})
            self.assertEqual(201, answer.status, value)
            self.assertEqual(hashlib.sha256(CONTENT).hexdigest(), answer.json()["sha256"])

    def test_malformed(self) -> None:
        """What is no preference is refused, and the text says how one is written."""
        for value in ("sha-256", "sha-256=11", "sha-256=-1", "sha-256=1.0", "sha-256=?1", "sha-256=:YQ==:", "x y", "5"):
            answer = self.put({"Want-Repr-Digest": value})
            self.assertWrong(answer, "Want-Repr-Digest", "sha-256=1")


class ToldTests(DigestTestCase):
    """What recipients, and the owner, are told."""

    told = digest(CONTENT)

    def test_download(self) -> None:
        """A download has the digest of all of the file, and so have HEAD, and a part of it."""
        path = self.leave(CONTENT)["path"]
        for method, fields, status in (
            ("HEAD", {}, 200),
            ("HEAD", {"Range": "bytes=0-3"}, 200),
            ("GET", {"Range": "bytes=0-3"}, 206),
            ("GET", {"Range": "bytes=4-"}, 206),
        ):
            answer = self.ask(method, path, fields)
            self.assertEqual((status, self.told), (answer.status, answer.header("Repr-Digest")))
        path = self.leave(CONTENT)["path"]
        self.assertEqual(self.told, self.ask("GET", path, {"Want-Repr-Digest": "sha-256=0"}).header("Repr-Digest"))

    def test_empty(self) -> None:
        """So has an empty one."""
        self.assertEqual(digest(b""), self.ask("GET", self.leave(b"")["path"]).header("Repr-Digest"))

    def test_nowhere_else(self) -> None:
        """No other answer has it: it would be about a page, or an error, or nothing."""
        path = self.leave(CONTENT)["path"]
        etag = self.ask("HEAD", path).header("ETag") or ""
        answers = [
            self.put({"Repr-Digest": self.told}),
            self.ask("GET", path, {"Accept": "text/html"}),
            self.ask("GET", path, {"If-None-Match": etag}),
            self.ask("GET", path, {"Range": "bytes=99-"}),
            self.ask("POST", path),
            self.ask("GET", path),
            self.ask("GET", path),
        ]
        self.assertEqual([201, 200, 304, 416, 303, 200, 410], [answer.status for answer in answers])
        self.assertEqual([5], [n for n, answer in enumerate(answers) if answer.header("Repr-Digest")])

    def test_not_known(self) -> None:
        """Where it is not known, it is not told, whoever wants it."""
        told = self.leave(CONTENT)
        (drop,) = self.core.rows()
        cast(MemoryRecords, self.core.kept)._tables.put(attrs.evolve(drop, sha256=None))
        answer = self.ask("GET", told["path"], {"Want-Repr-Digest": "sha-256=9"})
        self.assertEqual((200, None), (answer.status, answer.header("Repr-Digest")))
        self.assertIsNone(self.status(told)["sha256"])

    def test_malformed_wish(self) -> None:
        """A wish with a download is not looked at: it never keeps anybody from his file."""
        answer = self.ask("GET", self.leave(CONTENT)["path"], {"Want-Repr-Digest": "x y", "Repr-Digest": "x y"})
        self.assertEqual(200, answer.status)

    def test_owner(self) -> None:
        """The owner is told in hexadecimal, also when it is gone."""
        told = self.leave(CONTENT)
        self.ask("GET", told["path"])
        expected = hashlib.sha256(CONTENT).hexdigest()
        self.assertEqual(("gone", expected), (self.status(told)["state"], self.status(told)["sha256"]))

    def test_described(self) -> None:
        """What sender and owner are told has the members that the API's own description says it has, and no others."""
        schemas = self.ask("GET", "/api/v1.0/openapi.json").json()["components"]["schemas"]
        told = self.put({}).json()
        self.assertEqual(set(schemas["Receipt"]["required"]), set(told))
        told |= {"path": f"{FILE}/{told['id']}"}
        self.assertEqual(set(schemas["Status"]["required"]), set(self.status(told)))
        self.assertRegex(told["sha256"], schemas["Digest"]["pattern"])

    def status(self, told: Mapping[str, str]) -> dict[str, object]:
        """Return what the owner is told."""
        fields = {"Authorization": f"Bearer {told['owner_token']}"}
        status: dict[str, object] = self.ask("GET", f"{told['path']}/status", fields).json()
        return status
