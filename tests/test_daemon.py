"""A daemon of its own process, used with the programs that people use: curl, requests, plain sockets."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
from pathlib import Path
from unittest import skipUnless
from urllib.parse import urlsplit

import requests
from twisted.internet.ssl import KeyPair
from twisted.trial.unittest import SynchronousTestCase

from bench.race import race
from tests.daemon import ANY_PORT, PATIENCE, Daemon, eventually

API = "/api/v1.0/file"
LINK = re.compile(r"http://[^/]+/api/v1\.0/file/[0-9a-f]{32}")
MIB = 2**20
#: What makes a request of :func:`begun` one by the same recipient as those of :func:`request`.
SAME = f"User-Agent: {requests.utils.default_user_agent()}"
ELSE = {"User-Agent": "another program"}
NEEDS_CURL = skipUnless(shutil.which("curl"), "curl is not installed")


@functools.cache
def shared_daemon() -> Daemon:
    """Start the one daemon for all tests that leave it alive; it ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="filedropd-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    key = KeyPair.generate(size=2048)
    (folder / "certificate").write_bytes(key.selfSignedCert(1, CN=b"localhost").dumpPEM())
    (folder / "key").write_bytes(key.dump(1))  # OpenSSL's number for PEM
    certificate = f"privateKey={folder}/key:certKey={folder}/certificate"
    listen = (ANY_PORT, f"ssl:0:{certificate}:interface=127.0.0.1", f"unix:{folder}/socket")
    daemon = Daemon(folder, "--password-memory=1MiB", "--password-time=1", listen=listen)
    atexit.register(daemon.kill)
    return daemon.start()


def request(method, url, **named) -> requests.Response:
    """Ask on a connection of its own, which ends with the answer."""
    with requests.Session() as session:
        session.trust_env = False  # no proxies
        return session.request(method, url, timeout=PATIENCE, **named)


def curl(*arguments, cwd=None, given=b"") -> tuple[int, str]:
    """Run curl; returns the status of the answer, and its body."""
    command = ["curl", "-q", "-sS", "--noproxy", "*", "--max-time", str(PATIENCE), "-w", "\n%{http_code}", *arguments]
    done = subprocess.run(command, cwd=cwd, input=given, stdout=subprocess.PIPE, check=True)
    body, _, status = done.stdout.decode("utf-8").rpartition("\n")
    return int(status), body


def left(daemon, content, **data) -> dict[str, str]:
    """Leave a file; returns what its sender is told."""
    answer = request("PUT", daemon.url(API), files={"file": ("report.bin", content)}, data=data)
    answer.raise_for_status()
    told: dict[str, str] = answer.json()
    return told


def begun(port, method, path, *fields) -> socket.socket:
    """Connect and send the head of a request."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    connection.sendall("\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode("ascii"))
    return connection


def reset(connection) -> None:
    """Close a connection with RST, as a program does that is killed with data unread."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class DaemonCase(SynchronousTestCase):
    """Tests on the shared daemon."""

    def setUp(self):
        self.daemon = shared_daemon()
        self.content = os.urandom(300_000)
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.logged = len(self.daemon.log())

    def tearDown(self):
        """Whatever was tried, nothing went wrong that the daemon did not expect."""
        self.assertNotIn("Traceback", self.daemon.log(self.logged))

    def file(self, name) -> str:
        """Write the content to a file; returns its path."""
        path = self.folder / name
        path.write_bytes(self.content)
        return str(path)

    def assert_comes_once(self, link, name, content_type):
        """Fetch the link: the bytes, under their name and type; then it is gone, and JSON says so."""
        first, second = request("GET", link), request("GET", link)
        self.assertEqual(first.status_code, 200)
        self.assertEqual(first.content, self.content)
        self.assertEqual(first.headers["Content-Type"], content_type)
        self.assertRegex(first.headers["Content-Disposition"], f'filename="?{re.escape(name)}"?(;|$)')
        self.assertEqual((second.status_code, second.json()["error"]), (410, "Gone"))
        self.assertEqual(second.json()["reason"], "delivered")


class LeavingTests(DaemonCase):
    """Every way to leave a file that the README shows."""

    def test_put_form(self):
        """A form that is PUT with requests comes back once."""
        files = {"file": ("a.pdf", self.content, "application/pdf")}
        answer = request("PUT", self.daemon.url(API), files=files)
        told = answer.json()
        self.assertEqual((answer.status_code, told["status"]), (201, "File Uploaded Successfully"))
        self.assertEqual(answer.headers["Location"], told["url"])
        self.assert_comes_once(told["url"], "a.pdf", "application/pdf")

    def test_post_form(self):
        """A form that is POSTed with requests comes back once."""
        files = {"file": ("a.png", self.content, "image/png")}
        answer = request("POST", self.daemon.url(API), files=files)
        self.assertEqual(answer.status_code, 201)
        self.assert_comes_once(answer.json()["url"], "a.png", "image/png")

    def test_password(self):
        """Without its password, and with another, a file is refused; with its own it comes once."""
        link = left(self.daemon, self.content, password="s3cret")["url"]
        shown = [{}, {"password": "other"}, {"password": "s3cret"}, {"password": "s3cret"}]
        answers = [request("GET", link, params=params) for params in shown]
        self.assertEqual([answer.status_code for answer in answers], [401, 401, 200, 410])
        self.assertEqual(answers[2].content, self.content)

    def test_browser(self):
        """The plain form is answered with a page that has the link."""
        files = {"file": ("a.gif", self.content, "image/gif")}
        answer = request("POST", self.daemon.url("/"), files=files, headers={"Accept": "text/html,*/*;q=0.8"})
        self.assertEqual(answer.status_code, 201)
        self.assertTrue(answer.headers["Content-Type"].startswith("text/html"))
        self.assert_comes_once(LINK.findall(answer.text)[0], "a.gif", "image/gif")

    def test_too_large(self):
        """A file above the limit is refused before it is sent."""
        with begun(self.daemon.port, "PUT", API, f"Content-Length: {17 * MIB}") as connection:
            self.assertTrue(connection.recv(4096).startswith(b"HTTP/1.1 413 "))

    @NEEDS_CURL
    def test_curl_at_root(self):
        """``curl -T name host/`` prints the link alone; the file keeps its name."""
        status, link = curl("-T", self.file("notes.txt"), self.daemon.url("/"))
        self.assertEqual(status, 201)
        self.assertRegex(link, f"^{LINK.pattern}\n$")
        self.assert_comes_once(link.strip(), "notes.txt", "text/plain")

    @NEEDS_CURL
    def test_curl_to_the_api(self):
        """``curl -T name`` to the API tells JSON; the options are fields of the head."""
        options = ("-H", "Filedrop-Password: s3cret", "-H", "Filedrop-Downloads: 2", "-H", "Filedrop-Expires: 90s")
        status, told = curl("-T", self.file("notes.txt"), *options, self.daemon.url(API))
        link = json.loads(told)["url"]
        self.assertEqual((status, json.loads(told)["downloads"]), (201, 2))
        answers = [request("GET", link, auth=("", password)) for password in ("", "s3cret", "s3cret", "s3cret")]
        self.assertEqual([answer.status_code for answer in answers], [401, 200, 200, 410])

    @NEEDS_CURL
    def test_curl_large(self):
        """Of twelve megabytes, most of which go past the daemon's memory, every one is the one that was sent."""
        self.content = os.urandom(12 * 2**20)
        status, link = curl("-T", self.file("large.bin"), self.daemon.url("/"))
        self.assertEqual(status, 201)
        self.assert_comes_once(link.strip(), "large.bin", "application/octet-stream")

    @NEEDS_CURL
    def test_curl_from_a_pipe(self):
        """``curl -T -`` sends chunks of a length that nobody knows before."""
        status, link = curl("-T", "-", self.daemon.url("/docs.tar"), given=self.content)
        self.assertEqual(status, 201)
        self.assert_comes_once(link.strip(), "docs.tar", "application/x-tar")

    @NEEDS_CURL
    def test_curl_form(self):
        """``curl -F``, by POST and by PUT, keeps name and type."""
        for method in ("POST", "PUT"):
            part = f"file=@{self.file('b.csv')};type=text/csv"
            status, told = curl("-X", method, "-F", "expires=12h", "-F", part, self.daemon.url(API))
            self.assertEqual(status, 201)
            self.assert_comes_once(json.loads(told)["url"], "b.csv", "text/csv")

    @NEEDS_CURL
    def test_curl_saves(self):
        """``curl -OJ`` saves a file under the name that it had."""
        link = left(self.daemon, self.content)["url"]
        curl("-OJ", link, cwd=self.folder)
        self.assertEqual((self.folder / "report.bin").read_bytes(), self.content)

    @NEEDS_CURL
    def test_unix_socket(self):
        """On a UNIX socket a file comes once, too."""
        local = ("--unix-socket", str(self.daemon.folder / "socket"))
        self.content = b"over a socket"
        _, link = curl(*local, "-T", self.file("c.txt"), "http://localhost/")
        self.assertEqual(curl(*local, link.strip()), (200, "over a socket"))
        self.assertEqual(curl(*local, link.strip())[0], 410)

    @NEEDS_CURL
    def test_tls(self):
        """Under TLS a file comes once, too, and its link says https."""
        trusted = ("--cacert", str(self.daemon.folder / "certificate"))
        self.content = b"under TLS"
        for _ in range(5):
            _, link = curl(*trusted, "-T", self.file("c.txt"), f"https://localhost:{self.daemon.ports[1]}/")
            self.assertTrue(link.startswith(f"https://localhost:{self.daemon.ports[1]}/"))
            self.assertEqual(curl(*trusted, link.strip()), (200, "under TLS"))
            self.assertEqual(curl(*trusted, link.strip())[0], 410)


class FetchingTests(DaemonCase):
    """What happens to those who fetch: early, late, in part, and at the same moment."""

    @NEEDS_CURL
    def test_curl_twice(self):
        """``curl link; curl link`` is 200, then 410: thirty times out of thirty."""
        for _ in range(30):
            link = left(self.daemon, b"once")["url"]
            self.assertEqual([curl(link)[0], curl(link)[0]], [200, 410])

    def test_race(self):
        """Of 64 who ask in the same moment, one gets the file, and the others learn that he does."""
        for size in (4096, 4096, 4 * MIB):
            for freeze in (False, True):
                content = os.urandom(size)
                path = urlsplit(left(self.daemon, content)["url"]).path
                ran = race(self.daemon, path, content, 64, freeze=freeze)
                self.assertTrue(ran.right, f"{ran.whole} whole, {dict(ran.statuses)}")

    def test_head_takes_nothing(self):
        """HEAD tells what GET would, and the file is still there."""
        link = left(self.daemon, self.content)["url"]
        head = request("HEAD", link)
        self.assertEqual((head.status_code, head.headers["Content-Length"]), (200, str(len(self.content))))
        self.assert_comes_once(link, "report.bin", "application/octet-stream")

    def test_keeps_the_connection(self):
        """Who has all of it and stays connected, in silence, is taken to have it: others learn 410, not 423."""
        link = left(self.daemon, self.content)["url"]
        with contextlib.closing(begun(self.daemon.port, "GET", urlsplit(link).path)) as connection:
            received = b""
            while not received.endswith(self.content):
                received += connection.recv(MIB)
            self.assertEqual(request("GET", link).status_code, 410)

    def test_broken(self):
        """Who resets the connection half-way can have the file again; others are told to come back, then as before."""
        self.content = os.urandom(12 * MIB)
        link = left(self.daemon, self.content)["url"]
        connection = begun(self.daemon.port, "GET", urlsplit(link).path, SAME)
        connection.recv(100_000)
        self.assertEqual(request("GET", link).status_code, 423)
        self.assertEqual(request("GET", link, headers=ELSE).status_code, 423)
        reset(connection)
        eventually(lambda: request("HEAD", link).status_code == 200, "its recipient can have it again")
        self.assertEqual(request("GET", link, headers=ELSE).status_code, 423)
        self.assert_comes_once(link, "report.bin", "application/octet-stream")

    def test_token(self):
        """With the token of the claim the rest is had by whatever program, from whatever address."""
        self.content = os.urandom(12 * MIB)
        link = left(self.daemon, self.content)["url"]
        connection = begun(self.daemon.port, "GET", urlsplit(link).path, SAME)
        head = connection.recv(100_000)
        token = re.search(rb"(?i)filedrop-claim: ([0-9a-f]{32})", head)
        reset(connection)
        shown = ELSE | {"Filedrop-Claim": token.group(1).decode() if token else "", "Range": "bytes=1000-"}
        eventually(lambda: request("HEAD", link, headers=shown).ok, "its end is noted")
        self.assertEqual(request("GET", link, headers=shown).content, self.content[1000:])

    @NEEDS_CURL
    def test_resumed(self):
        """``curl -C -`` goes on where it was broken off, and that is one download."""
        link, path = left(self.daemon, self.content)["url"], self.folder / "part"
        self.assertEqual(curl("-r", "0-99999", "-o", str(path), link)[0], 206)
        self.assertEqual(curl("-C", "-", "-o", str(path), link)[0], 206)
        self.assertEqual(path.read_bytes(), self.content)
        self.assertEqual(request("GET", link).status_code, 410)

    def test_button(self):
        """A browser is shown a page, whose button leads to the file, once."""
        link = left(self.daemon, self.content)["url"]
        with requests.Session() as browser:
            browser.trust_env = False
            browser.headers["Accept"] = "text/html"
            page = browser.get(link, timeout=PATIENCE)
            self.assertEqual((page.status_code, page.headers["Content-Type"]), (200, "text/html; charset=utf-8"))
            file = browser.post(link, timeout=PATIENCE)
            self.assertEqual((file.status_code, file.content), (200, self.content))
            self.assertEqual([303], [answer.status_code for answer in file.history])
            self.assertEqual(browser.get(link, timeout=PATIENCE).status_code, 410)

    def test_in_parts(self):
        """Two ranges that make up the file are one download."""
        link = left(self.daemon, self.content)["url"]
        answers = [request("GET", link, headers={"Range": asked}) for asked in ("bytes=0-99999", "bytes=100000-", "")]
        self.assertEqual([answer.status_code for answer in answers], [206, 206, 410])
        self.assertEqual(answers[0].content + answers[1].content, self.content)

    def test_revoked(self):
        """Its owner takes a file back; the link says so, and the bytes leave the disk."""
        before = set(self.daemon.files("blobs"))
        told = left(self.daemon, self.content)
        kept = set(self.daemon.files("blobs")) - before
        owner = {"Authorization": f"Bearer {told['owner_token']}"}
        self.assertEqual(request("DELETE", told["url"], headers=owner).status_code, 204)
        self.assertEqual(request("GET", told["url"]).json()["reason"], "revoked")
        self.assertEqual(len(kept), 1)
        eventually(lambda: not kept & set(self.daemon.files("blobs")), "the bytes are deleted")

    def test_expired(self):
        """When its time is over a file is gone, and its bytes leave the disk though nobody asks."""
        before = set(self.daemon.files("blobs"))
        link = left(self.daemon, self.content, expires="1s")["url"]
        kept = set(self.daemon.files("blobs")) - before
        self.assertEqual(len(kept), 1)
        eventually(lambda: not kept & set(self.daemon.files("blobs")), "the bytes are deleted")
        answer = request("GET", link)
        self.assertEqual((answer.status_code, answer.json()["reason"]), (410, "expired"))

    def test_sender_leaves(self):
        """Of an upload whose sender leaves half-way nothing stays."""
        with begun(self.daemon.port, "PUT", API, f"Content-Length: {4 * MIB}") as connection:
            connection.sendall(bytes(MIB))
            eventually(lambda: self.daemon.files("incoming"), "the upload is on its way to the disk")
        eventually(lambda: not self.daemon.files("incoming"), "nothing is left of it")
