"""Digests by a daemon of its own process: bodies that go past Python and bodies that do not, TLS, and a restart."""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from collections.abc import Iterator
from typing import cast

import requests
from twisted.trial import util
from urllib3.exceptions import InsecureRequestWarning

from filedropd.digests import PATIENCE
from tests.daemon import OPTIONS, eventually
from tests.daemon import PATIENCE as SECONDS
from tests.test_daemon import API, MIB, DaemonCase, begun, left, request
from tests.test_daemon_life import DaemonLifeCase, path_of

#: So much goes past Python where it can.
LARGE = 5 * MIB + 1


def digest(data: bytes, algorithm: str = "sha-256") -> str:
    """Return a digest as fields have it."""
    return f"{algorithm}=:{b64encode(hashlib.new(algorithm.replace('-', ''), data).digest()).decode()}:"


class DigestsCase(DaemonCase):
    """What the tests here share."""

    def setUp(self):
        super().setUp()
        self.content = os.urandom(LARGE)

    def put(self, *, scheme: str = "http", data: bytes | Iterator[bytes] | None = None, **fields: str):
        """Leave the bytes alone; underscores in names of fields are dashes."""
        port = self.daemon.ports[scheme == "https"]
        return requests.put(
            f"{scheme}://localhost:{port}{API}",
            self.content if data is None else data,
            headers={name.replace("_", "-"): value for name, value in fields.items()},
            timeout=SECONDS,
            verify=False,
            proxies={scheme: ""},
        )

    def unseen(self) -> str | None:
        """Return what is known of a body that nobody asks about: nothing, unless all go the plain way in this run."""
        plain = "--no-zero-copy" in os.environ.get(OPTIONS, "")
        return hashlib.sha256(self.content).hexdigest() if plain else None

    def nothing_left(self):
        """Check that no bytes of an upload stay."""
        eventually(lambda: not self.daemon.files("incoming"), "nothing is on its way in")

    def assert_told(self, answer, expected: str | None):
        """The digest is the one that was expected, in the answer, for the owner, and with the bytes."""
        self.assertEqual((201, expected), (answer.status_code, answer.json()["sha256"]))
        told = answer.json()
        link = f"{self.daemon.url(API)}/{told['id']}"
        owner = {"Authorization": f"Bearer {told['owner_token']}"}
        self.assertEqual(expected, request("GET", f"{link}/status", headers=owner).json()["sha256"])
        heads = request("HEAD", link), request("GET", link)
        self.assertEqual(self.content, heads[1].content)
        field = None if expected is None else digest(self.content)
        self.assertEqual([field] * 2, [head.headers.get("Repr-Digest") for head in heads])


class AskedTests(DigestsCase):
    """Bodies that would go past Python."""

    def test_not_asked(self):
        """Of one that nobody asks about it is not known."""
        self.assert_told(self.put(), self.unseen())

    def test_wanted(self):
        """It is known of one whose sender wants it, and of no other."""
        self.assert_told(self.put(Want_Repr_Digest="sha-256=1"), hashlib.sha256(self.content).hexdigest())
        self.assert_told(self.put(Want_Repr_Digest="sha-256=0, sha-512=5"), self.unseen())

    def test_right(self):
        """It is known of one that was checked, by whatever algorithm."""
        for algorithm in ("sha-256", "sha-512"):
            answer = self.put(Content_Digest=digest(self.content, algorithm))
            self.assert_told(answer, hashlib.sha256(self.content).hexdigest())

    def test_wrong(self):
        """One that is not what it is said to be is refused, and leaves neither bytes nor a link."""
        blobs = len(self.daemon.files("blobs"))
        for algorithm in ("sha-256", "sha-512"):
            answer = self.put(Repr_Digest=digest(self.content[1:], algorithm))
            self.assertEqual((400, "Bad Request"), (answer.status_code, answer.json()["error"]))
            self.assertIn(algorithm, answer.json()["detail"])
        self.nothing_left()
        self.assertLessEqual(len(self.daemon.files("blobs")), blobs)

    def test_unknown(self):
        """An algorithm that is not known costs nothing: the body goes past Python."""
        self.assert_told(self.put(Repr_Digest="md5=:YQ==:"), self.unseen())

    def test_cut_short(self):
        """One that ends early is refused for that, and leaves nothing."""
        lines = (f"Content-Length: {LARGE}", f"Repr-Digest: {digest(self.content)}")
        with begun(self.daemon.port, "PUT", API, *lines) as connection:
            connection.sendall(self.content[:-1])
            connection.shutdown(1)
            self.assertIn(b" 400 ", connection.recv(4096))
        self.nothing_left()


class SeenTests(DigestsCase):
    """Bodies that pass through Python."""

    def test_form(self):
        """It is known of the file in a form."""
        answer = request("PUT", self.daemon.url(API), files={"file": ("a", self.content)})
        self.assert_told(answer, hashlib.sha256(self.content).hexdigest())

    def test_form_checked(self):
        """A form is checked as a whole."""
        body = requests.Request("PUT", self.daemon.url(API), files={"file": ("a", self.content)}).prepare()
        form = cast(bytes, body.body)
        fields = {"Content-Type": body.headers["Content-Type"]}
        for said, status in ((form, 201), (self.content, 400)):
            answer = request("PUT", self.daemon.url(API), data=form, headers=fields | {"Content-Digest": digest(said)})
            self.assertEqual(status, answer.status_code)
        self.nothing_left()

    def test_chunks(self):
        """It is known of what comes in chunks."""
        pieces = (self.content[first : first + 70_000] for first in range(0, LARGE, 70_000))
        self.assert_told(self.put(data=pieces), hashlib.sha256(self.content).hexdigest())

    def test_tls(self):
        """It is known of what comes under TLS."""
        self.assert_told(self.put(scheme="https"), hashlib.sha256(self.content).hexdigest())

    test_tls.suppress = (util.suppress(category=InsecureRequestWarning),)  # type: ignore[attr-defined]  # trial's way

    def test_largest(self):
        """However fast it comes, it is known of a file of 16 MiB, which is as much as is taken unless one says otherwise."""
        self.assertEqual(16 * MIB, PATIENCE)
        self.content = os.urandom(PATIENCE)
        answer = request("PUT", self.daemon.url(API), files={"file": ("a", self.content)})
        self.assert_told(answer, hashlib.sha256(self.content).hexdigest())


class LifeTests(DaemonLifeCase):
    """Daemons of their own."""

    content = bytes(range(256)) * 4096

    def test_plain_way(self):
        """Without the way past Python it is known of everything."""
        daemon = self.daemon("--no-zero-copy").start()
        told = requests.put(daemon.url(API), self.content, timeout=SECONDS).json()
        self.assertEqual(hashlib.sha256(self.content).hexdigest(), told["sha256"])

    def test_killed(self):
        """It is there after SIGKILL, also where the bytes had not come to their place yet: recovery finishes that."""
        daemon = self.daemon().start()
        links = [path_of(left(daemon, self.content)["url"]) for _ in range(2)]
        daemon.kill()
        blob, *_ = daemon.files("blobs")
        dead = daemon.data / "incoming" / ("d" * 32)
        dead.mkdir()
        blob.rename(dead / blob.name)
        daemon.start()
        for link in links:
            answer = request("GET", daemon.url(link))
            self.assertEqual((self.content, digest(self.content)), (answer.content, answer.headers["Repr-Digest"]))
