"""The library with a daemon at the other end, and with servers that are none, or do it wrong."""

from __future__ import annotations

import atexit
import base64
import hashlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import cache
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from filedropd.client import (
    Damaged,
    Exists,
    Gone,
    Local,
    Locked,
    NoRoom,
    NotADrop,
    NotFound,
    NotReadable,
    OwnerRequired,
    PasswordRequired,
    Progress,
    Receipt,
    Received,
    Redirected,
    Refused,
    TooLarge,
    Unavailable,
    Unreachable,
    download,
    revoke,
    status,
    upload,
    watch,
)
from filedropd.client.downloads.notes import Claimed
from filedropd.client.downloads.partial import PartFile
from filedropd.client.uploads.zipping import zipped
from filedropd.client.values import Link
from tests.daemon import Daemon

_REACTOR: Any = reactor
MIB = 2**20


@cache
def daemon() -> Daemon:
    """Return the daemon of all tests here, which ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="filedrop-client-"))
    started = Daemon(folder, "--max-file-size=32MiB", "--durability=none")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(started.kill)
    return started.start()


class TransferTestCase(TestCase):
    """A daemon for all tests."""

    def setUp(self):
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.server = daemon().url()

    def file(self, data: bytes, name: str = "a.bin") -> Path:
        """Return a file."""
        path = self.folder / name
        path.write_bytes(data)
        return path

    async def left(self, data: bytes = b"bytes", **given: Any) -> Receipt:
        """Leave some bytes."""
        return await upload(data, self.server, name="left.bin", **given)


class UploadTests(TransferTestCase):
    """What is left is what is there."""

    async def check(self, receipt: Receipt, data: bytes) -> None:
        """Make sure of it."""
        found = io.BytesIO()
        received = await download(receipt.url, found)
        self.assertEqual((len(data), receipt.size), (received.size, len(data)))
        self.assertEqual(hashlib.sha256(data).digest(), hashlib.sha256(found.getvalue()).digest())

    async def test_sources(self):
        """Paths, files from where they stand, bytes and iterators can be left."""
        data = os.urandom(3 * MIB + 1)
        path = self.file(data)

        async def pieces() -> AsyncIterator[bytes]:
            for at in range(0, len(data), 100_000):
                yield data[at : at + 100_000]
                yield b""

        with path.open("rb") as file, path.open("rb") as later:
            later.seek(MIB)
            for source, expected in (
                (path, data),
                (str(path), data),
                (data, data),
                (b"", b""),
                (file, data),
                (later, data[MIB:]),
                (pieces(), data),
            ):
                await self.check(await upload(source, self.server), expected)
            self.assertFalse(file.closed)

    async def test_terms(self):
        """Name, password, expiry and copies are as they were asked for."""
        receipt = await upload(b"x", self.server, name="ü ?#/ö.txt", password="pässword", expires="90s", downloads=3)
        self.assertEqual((3, 1), (receipt.downloads, receipt.size))
        with self.assertRaises(PasswordRequired):
            await download(receipt.url, self.folder)
        received = await download(receipt.url, self.folder, password="pässword")
        self.assertEqual("ö.txt", received.name)
        self.assertEqual(1, (await status(receipt.url, receipt.owner_token)).delivered)

    async def test_refused(self):
        """What the server says is said, and of what is too large nothing is sent on."""
        with self.assertRaisesRegex(Refused, "expires"):
            await self.left(expires="soon")
        with self.assertRaises(TooLarge):
            await upload(bytes(40 * MIB), self.server)

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield bytes(MIB)

        with self.assertRaises(TooLarge):
            await upload(endless(), self.server)

    async def test_not_readable(self):
        """What cannot be read is said, and nothing is left."""
        for path, words in ((self.folder / "nothing", "No such file"), (self.folder, "--zip")):
            with self.assertRaisesRegex(NotReadable, words):
                await upload(path, self.server)

        async def broken() -> AsyncIterator[bytes]:
            yield b"some"
            raise NotReadable("no more")

        with self.assertRaisesRegex(NotReadable, "no more"):
            await upload(broken(), self.server)

    async def test_changing(self):
        """A file that shrinks while it is sent is not taken for whole."""
        path = self.file(bytes(30 * MIB))

        def cut(progress: Progress) -> None:
            os.truncate(path, 12 * MIB)

        with self.assertRaisesRegex(NotReadable, "shrank"):
            await upload(path, self.server, progress=cut)

    async def test_progress(self):
        """Who wants to know is told, up to the end."""
        told: list[Progress] = []
        await upload(self.file(bytes(3 * MIB)), self.server, progress=told.append)
        self.assertEqual(Progress(3 * MIB, 3 * MIB), told[-1])
        self.assertEqual(sorted(each.done for each in told), [each.done for each in told])

    async def test_cancelled(self):
        """Who is cancelled has left nothing, and leaves nothing open."""
        began: Deferred[None] = Deferred()

        async def slow() -> AsyncIterator[bytes]:
            yield b"some"
            _REACTOR.callLater(0, began.callback, None)
            await Deferred()

        uploading = Deferred.fromCoroutine(upload(slow(), self.server))
        await began
        uploading.cancel()
        with self.assertRaises(CancelledError):
            await uploading

    async def test_zip(self):
        """A folder goes as a zip whose size is known, or smaller."""
        tree = self.folder / "tree"
        (tree / "empty").mkdir(parents=True)
        (tree / "é.txt").write_text("some text " * 1000)
        os.mkfifo(tree / "fifo")
        sizes = []
        for compress in (False, True):
            source = await zipped([tree], _REACTOR, compress=compress)
            self.assertEqual(compress, source.length is None)
            receipt = await upload(source, self.server)
            received = await download(receipt.url, self.folder, overwrite=True)
            sizes.append(received.size)
            with zipfile.ZipFile(self.folder / "tree.zip") as found:
                self.assertEqual({"tree/empty/", "tree/é.txt"}, set(found.namelist()))
                self.assertIsNone(found.testzip())
        self.assertGreater(sizes[0], sizes[1])
        with self.assertRaisesRegex(NotReadable, "same name"):
            await zipped([tree, tree], _REACTOR)
        with self.assertRaisesRegex(NotReadable, "No such"):
            await zipped([tree / "nothing"], _REACTOR)
        with self.assertRaisesRegex(NotReadable, "neither a file nor a folder"):
            await zipped([tree / "fifo"], _REACTOR)
        (tree / os.fsdecode(b"\xff.txt")).write_text("its name is no text")
        with self.assertRaisesRegex(NotReadable, "not UTF-8"):
            await zipped([tree], _REACTOR)


class DownloadTests(TransferTestCase):
    """What is fetched is what was left, once."""

    async def test_targets(self):
        """Into a folder, by a name, into a file that is open, piece by piece."""
        data = os.urandom(MIB)
        receipt = await self.left(data, downloads=4)
        pieces: list[bytes] = []

        async def take(piece: bytes) -> None:
            pieces.append(piece)

        opened = io.BytesIO()
        self.assertEqual(self.folder / "left.bin", (await download(receipt.url, self.folder)).path)
        self.assertEqual(self.folder / "b", (await download(receipt.url, self.folder / "b")).path)
        self.assertIsNone((await download(receipt.url, opened)).path)
        self.assertEqual("left.bin", (await download(receipt.url, take)).name)
        found = [(self.folder / "left.bin").read_bytes(), (self.folder / "b").read_bytes()]
        self.assertEqual([data] * 4, [*found, opened.getvalue(), b"".join(pieces)])
        self.assertEqual(["b", "left.bin"], sorted(os.listdir(self.folder)))

    async def test_progress(self):
        """How much there is is known before all of it has come."""
        receipt = await upload(self.file(bytes(3 * MIB)), self.server)
        told: list[Progress] = []
        await download(receipt.url, self.folder, overwrite=True, progress=told.append)
        self.assertEqual({3 * MIB}, {each.total for each in told})
        self.assertEqual(3 * MIB, told[-1].done)

    async def test_once(self):
        """It is delivered when the call returns, and gone for the next one."""
        receipt = await self.left()
        await download(receipt.url, self.folder)
        self.assertEqual("delivered", (await status(receipt.url, receipt.owner_token)).reason)
        with self.assertRaises(Gone) as caught:
            await download(receipt.url, self.folder / "again")
        self.assertEqual("delivered", caught.exception.reason)

    async def test_exists(self):
        """A file that is there is not overwritten, and the copy is not used up."""
        receipt = await self.left()
        path = self.file(b"mine", "left.bin")
        for target in (self.folder, path):
            with self.assertRaises(Exists):
                await download(receipt.url, target)
        self.assertEqual(b"mine", path.read_bytes())
        self.assertEqual((), (await status(receipt.url, receipt.owner_token)).claims)
        await download(receipt.url, path, overwrite=True)
        self.assertEqual(b"bytes", path.read_bytes())

    async def test_not_kept(self):
        """A copy that cannot be kept here is not delivered: it can be fetched again."""
        receipt = await self.left(os.urandom(MIB))

        async def full(_: bytes) -> None:
            raise Local("The disk is full.")

        with self.assertRaisesRegex(Local, "full"):
            await download(receipt.url, full)
        found = await status(receipt.url, receipt.owner_token)
        self.assertEqual(("available", 0), (found.state, found.delivered))
        await download(receipt.url, self.folder)

    async def test_not_published(self):
        """Nor is one whose last step fails: it is reset after its last byte, and waits for us."""
        receipt = await self.left()
        path = self.folder / "a"

        def taken(progress: Progress) -> None:
            if progress.done == progress.total:
                path.write_bytes(b"somebody else's")

        with self.assertRaises(Exists):
            await download(receipt.url, path, progress=taken)
        self.assertEqual(b"somebody else's", path.read_bytes())
        path.unlink()
        self.assertEqual(path, (await download(receipt.url, path)).path)
        self.assertEqual(b"bytes", path.read_bytes())

    async def whole(self, receipt: Receipt) -> Path:
        """Bring all of a drop, and reset the connection before it has its name; returns where it will be."""
        path = self.folder / "a"

        def last(progress: Progress) -> None:
            if progress.done == progress.total:
                path.write_bytes(b"")

        with self.assertRaises(Exists):
            await download(receipt.url, path, progress=last)
        path.unlink()
        return path

    async def test_told_later(self):
        """Where all was here already the server is told so: it is delivered at once, for one byte more."""
        data = os.urandom(3 * MIB)
        receipt = await self.left(data)
        path = await self.whole(receipt)
        self.assertEqual("available", (await status(receipt.url, receipt.owner_token)).state)
        await download(receipt.url, path)
        self.assertEqual(data, path.read_bytes())
        found = await status(receipt.url, receipt.owner_token)
        self.assertEqual(("gone", "delivered", 1), (found.state, found.reason, found.delivered))
        self.assertEqual((1, len(data)), (found.acknowledged, found.claims[0]["handed_out"]))

    async def test_told_to_nobody(self):
        """Where it cannot be told any more the file is here all the same."""
        receipt = await self.left()
        path = await self.whole(receipt)
        await revoke(receipt.url, receipt.owner_token)
        self.assertEqual(path, (await download(receipt.url, path)).path)
        self.assertEqual(b"bytes", path.read_bytes())

    async def test_cancelled(self):
        """Who is cancelled has a part, and goes on with it."""
        data = os.urandom(4 * MIB)
        receipt = await self.left(data)
        begun: Deferred[None] = Deferred()

        def tell(progress: Progress) -> None:
            if progress.done > MIB and not waiting:
                waiting.append(_REACTOR.callLater(0, begun.callback, None))

        waiting: list[Any] = []
        downloading = Deferred.fromCoroutine(download(receipt.url, self.folder, progress=tell, rate=MIB))
        await begun
        downloading.cancel()
        with self.assertRaises(CancelledError):
            await downloading
        self.assertEqual(["left.bin.part", "left.bin.part.claim"], sorted(os.listdir(self.folder)))
        first: list[Progress] = []
        await download(receipt.url, self.folder, progress=first.append)
        self.assertGreater(first[0].done, MIB)
        self.assertEqual(data, (self.folder / "left.bin").read_bytes())

    async def test_passwords(self):
        """The right one opens; a claim that was begun goes on without."""
        receipt = await self.left(b"bytes", password="a: b")
        for password in (None, "x"):
            with self.assertRaises(PasswordRequired):
                await download(receipt.url, self.folder, password=password)
        await download(receipt.url, self.folder, password="a: b")
        self.assertEqual(["left.bin"], os.listdir(self.folder))

    async def test_locked(self):
        """While somebody else has the copy it is locked, or waited for."""
        receipt = await self.left(os.urandom(24 * MIB))
        begun: Deferred[None] = Deferred()

        async def slow(_: bytes) -> None:
            if not begun.called:
                begun.callback(None)
            await Deferred()

        other = Deferred.fromCoroutine(download(receipt.url, slow))
        await begun
        with self.assertRaises(Locked):
            await download(receipt.url, self.folder)
        other.cancel()
        with self.assertRaises(CancelledError):
            await other

    async def test_not_found(self):
        """What is not there is said; nothing is left beside it."""
        for link, kind in (("0" * 32, NotFound), ("", NotADrop)):
            with self.assertRaises(kind):
                await download(f"{self.server}api/v1.0/file/{link}" if link else self.server, self.folder)
        self.assertEqual([], os.listdir(self.folder))

    async def test_nothing_there(self):
        """Where nobody answers, that is said at once."""
        with self.assertRaisesRegex(Unreachable, "Nothing answers"):
            await download("http://127.0.0.1:1/x", self.folder)
        with self.assertRaisesRegex(Unreachable, "Nothing answers"):
            await upload(b"x", "http://127.0.0.1:1")


class OwnerTests(TransferTestCase):
    """Looking after what was left."""

    async def test_watch(self):
        """What happens is told as it happens, until it is gone."""
        receipt = await self.left()
        told = []
        async with aclosing(watch(receipt.url, receipt.owner_token)) as statuses:
            async for each in statuses:
                told.append(each)
                if len(told) == 1:
                    await download(receipt.url, io.BytesIO())
        self.assertEqual(("available", "gone"), (told[0].state, told[-1].state))
        self.assertEqual(["claimed", "delivered"], [event.what for event in told[-1].events])

    async def test_revoke(self):
        """What is taken back is gone, once."""
        receipt = await self.left()
        await revoke(receipt.url, receipt.owner_token)
        with self.assertRaises(Gone):
            await revoke(receipt.url, receipt.owner_token)
        self.assertEqual("revoked", (await status(receipt.url, receipt.owner_token)).reason)

    async def test_stranger(self):
        """Who is not the owner is told nothing."""
        receipt = await self.left()
        for act in (status, revoke):
            with self.assertRaises(OwnerRequired):
                await act(receipt.url, "0" * 32)
        with self.assertRaises(OwnerRequired):
            await anext(watch(receipt.url, "0" * 32))


class Answers(Resource):
    """Answers as it is told, and remembers what it was asked."""

    isLeaf = True

    def __init__(self, answer: Callable[[Any], bytes | int]) -> None:
        super().__init__()
        self._answer = answer
        self.asked: list[tuple[bytes, dict[bytes, bytes]]] = []

    def render(self, request: Any) -> bytes | int:
        """See IResource."""
        self.asked.append((request.method, dict(request.getAllHeaders())))
        return self._answer(request)


class OtherServerTests(TestCase):
    """Servers that are no filedropd, or do it wrong."""

    def setUp(self):
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)

    def serve(self, answer: Callable[[Any], bytes | int]) -> Answers:
        """Serve these answers."""
        answers = Answers(answer)
        site = Site(answers)
        port = _REACTOR.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.url = f"http://127.0.0.1:{port.getHost().port}/"
        return answers

    async def test_redirects(self):
        """No password goes where we are sent, nor does anything else."""

        def elsewhere(request: Any) -> bytes:
            request.setResponseCode(307)
            request.setHeader("Location", f"{self.url}elsewhere")
            return b""

        answers = self.serve(elsewhere)
        for act in (
            lambda: download(self.url + "x", self.folder, password="secret"),
            lambda: upload(b"x", self.url, password="secret"),
            lambda: status(self.url + "x", "0" * 32),
        ):
            with self.assertRaisesRegex(Redirected, "elsewhere"):
                await act()
        self.assertEqual(3, len(answers.asked))

    async def test_retry_after(self):
        """Retry-After is honoured, and what comes after that is taken."""
        times: list[float] = []

        def busy(request: Any) -> bytes:
            times.append(_REACTOR.seconds())
            if len(times) == 1:
                request.setResponseCode(503)
                request.setHeader("Retry-After", "1")
            else:
                request.setResponseCode(404)
            return b""

        self.serve(busy)
        waiting: list[Progress] = []
        with self.assertRaises(NotFound):
            await download(self.url, self.folder, progress=waiting.append)
        self.assertGreaterEqual(times[1] - times[0], 1.0)
        self.assertIsInstance(waiting[0].waiting, Unavailable)

    async def test_no_patience(self):
        """A Retry-After beyond all patience is told at once."""

        def busy(request: Any) -> bytes:
            request.setResponseCode(429)
            request.setHeader("Retry-After", "3600")
            return b'{"detail": "x"}'

        self.serve(busy)
        with self.assertRaisesRegex(Refused, "3600 s"):
            await upload(b"x", self.url)

    async def test_strangers(self):
        """What answers otherwise is no filedropd; what it says is told without what a terminal would act on."""
        self.serve(lambda _: b"<html>welcome")
        with self.assertRaises(NotADrop):
            await download(self.url + "x", self.folder)
        with self.assertRaises(NotADrop):
            await upload(b"x", self.url)

        def rude(request: Any) -> bytes:
            request.setResponseCode(400)
            return b'{"detail": "\\u001b[2Jno"}'

        self.serve(rude)
        with self.assertRaises(Refused) as caught:
            await upload(b"x", self.url)
        self.assertEqual("�[2Jno", caught.exception.detail)

    def drop(self, data: bytes, digest: bytes, wrong: int = 0) -> Answers:
        """Serve a drop, whose bytes are other ones so many times."""

        def answer(request: Any) -> bytes:
            nonlocal wrong
            if request.method == b"POST":
                request.setResponseCode(303)
                request.setHeader("Filedrop-Claim", "c" * 32)
                return b""
            request.setHeader("Content-Disposition", "attachment; filename=a")
            request.setHeader("ETag", '"e"')
            request.setHeader("Repr-Digest", f"sha-256=:{base64.b64encode(digest).decode()}:")
            request.setHeader("Content-Length", str(len(data)))
            if request.method == b"HEAD":
                return b""
            wrong -= 1
            return data if wrong < 0 else bytes(len(data))

        return self.serve(answer)

    async def test_verified(self):
        """Where the server offers a digest it is compared."""
        data = os.urandom(MIB)
        self.drop(data, hashlib.sha256(data).digest())
        self.assertTrue((await download(self.url + "x", self.folder)).verified)
        self.assertTrue((await download(self.url + "x", io.BytesIO())).verified)

    async def test_damaged(self):
        """What is damaged is fetched once more; what stays so never gets its name."""
        data = os.urandom(MIB)
        digest = hashlib.sha256(data).digest()
        answers = self.drop(data, digest, wrong=1)
        received = await download(self.url + "x", self.folder)
        self.assertEqual([b"HEAD", b"POST", b"GET", b"GET"], [method for method, _ in answers.asked])
        self.assertEqual(data, (self.folder / "a").read_bytes())
        self.assertTrue(received.verified)
        (self.folder / "a").unlink()
        self.drop(data, digest, wrong=9)
        with self.assertRaises(Damaged):
            await download(self.url + "y", self.folder)
        self.assertFalse((self.folder / "a").exists())
        with self.assertRaisesRegex(Damaged, "Do not use"):
            await download(self.url + "z", io.BytesIO())

    async def test_range_ignored(self):
        """Where a server, or what is before it, sends all of it again, what is here is left out."""
        data = os.urandom(3 * MIB)
        times = 0

        def answer(request: Any) -> bytes | int:
            nonlocal times
            if request.method == b"POST":
                request.setResponseCode(303)
                request.setHeader("Filedrop-Claim", "c" * 32)
                return b""
            request.setHeader("Content-Disposition", "attachment; filename=a.part.claim")
            request.setHeader("Content-Length", str(len(data)))
            if request.method == b"HEAD":
                return b""
            times += 1
            if times == 1:
                request.write(data[: MIB + 1])
                _REACTOR.callLater(0.1, request.transport.loseConnection)
                return NOT_DONE_YET
            return data

        answers = self.serve(answer)
        received = await download(self.url + "x", self.folder)
        self.assertEqual(2, times)
        self.assertTrue(answers.asked[-1][1][b"range"].startswith(b"bytes="))
        assert received.path is not None
        self.assertEqual("a.part.claim_", received.path.name)
        self.assertEqual(data, (self.folder / received.name).read_bytes())

    async def brought(self, url: str, data: bytes) -> Received:
        """Fetch what an earlier process has brought, whole."""
        path, link = self.folder / "a", Link.parse(url)
        part = PartFile(path)
        part.open(link.key)
        part.remember(Claimed(link=link.key, token="c" * 32, size=len(data)))
        part.write([data], hashing=False)
        part.close()
        return await download(url, path)

    async def test_away(self):
        """A server that is away costs nobody a file that is here already."""
        self.assertEqual(self.folder / "a", (await self.brought("http://127.0.0.1:1/x", b"bytes")).path)
        self.assertEqual(["a"], os.listdir(self.folder))

    async def test_no_byte_more(self):
        """Of a file that is here already the last byte is asked for; one that sends all of it again is cut short."""
        data = os.urandom(16 * MIB)
        answers = self.serve(lambda _: data)
        self.assertEqual(len(data), (await self.brought(self.url + "x", data)).size)
        ((method, fields),) = answers.asked
        self.assertEqual((b"GET", b"bytes=%d-" % (len(data) - 1)), (method, fields[b"range"]))

    async def test_no_room(self):
        """What has no room is told at once."""

        def full(request: Any) -> bytes:
            request.setResponseCode(507)
            return b"{}"

        answers = self.serve(full)
        with self.assertRaises(NoRoom):
            await upload(b"x", self.url)
        self.assertEqual(1, len(answers.asked))

    async def test_token(self):
        """The claim's token goes in a field of its own, with each request for bytes, and never into an address."""
        data = b"bytes"
        answers = self.drop(data, hashlib.sha256(data).digest())
        await download(self.url + "x", self.folder, password="secret")
        _, asked = answers.asked[-1]
        self.assertEqual(b"c" * 32, asked[b"filedrop-claim"])
        self.assertEqual(b"identity", asked[b"accept-encoding"])
        self.assertTrue(asked[b"user-agent"].startswith(b"filedrop/"))
        self.assertEqual(b"Basic " + base64.b64encode(b":secret"), asked[b"authorization"])

    async def test_upload_again(self):
        """What breaks while it is sent is sent again, from its beginning."""
        path = self.folder / "big"
        path.write_bytes(os.urandom(4 * MIB))
        times = 0

        def answer(request: Any) -> bytes | int:
            nonlocal times
            times += 1
            if times == 1:
                request.transport.abortConnection()
                return NOT_DONE_YET
            digest = hashlib.sha256(request.content.read()).hexdigest()
            self.assertEqual(hashlib.sha256(path.read_bytes()).hexdigest(), digest)
            request.setResponseCode(201)
            return b'{"url": "http://x/y", "owner_token": "o", "size": %d, "downloads": 1, "sha256": "%s"}' % (
                path.stat().st_size,
                digest.encode(),
            )

        self.serve(answer)
        self.assertEqual(4 * MIB, (await upload(path, self.url)).size)

    async def test_kept_otherwise(self):
        """What the server keeps is not what was sent: it is taken back."""

        def answer(request: Any) -> bytes:
            if request.method == b"DELETE":
                request.setResponseCode(204)
                return b""
            request.setResponseCode(201)
            return b'{"url": "%sx", "owner_token": "o", "size": 5, "downloads": 1, "sha256": "00"}' % self.url.encode()

        answers = self.serve(answer)
        with self.assertRaises(Damaged):
            await upload(b"bytes", self.url)
        self.assertEqual(b"Bearer o", answers.asked[-1][1][b"authorization"])
