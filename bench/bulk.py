"""One large file at a time: raw uploads, uploads as a form, downloads."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import attrs

from bench import wire
from bench.large import make_file
from bench.peers import Copyparty, DavNginx, NotHere, StaticNginx, UploadServer
from bench.report import Comparison, Target
from bench.sides import FILE_PATH, GIB, MIB, Done, Given, Side, alternate, daemon
from bench.usage import Processes
from tests.daemon import Daemon, eventually

FSYNC: Final = "filedropd, fsync"
NONE: Final = "filedropd, none"
_DAV: Final = "nginx, WebDAV PUT"
_SENDFILE: Final = "nginx, sendfile"
_PER_GIB: Final = (GIB / MIB, "GiB")

Tell = Callable[[str], None]


@attrs.define
class Bulk:
    """What the rows here have in common.

    :ivar source: the file that goes in.
    :ivar digest: its SHA-256.
    """

    given: Given
    stack: ExitStack
    client: ProcessPoolExecutor
    source: Path
    digest: bytes
    absent: list[str] = attrs.Factory(list)

    def daemon(self, durability: str) -> Daemon:
        """Start a daemon."""
        return daemon(self.stack, self.given, f"--durability={durability}")

    def peer(self, make: Callable[[], Side]) -> list[Side]:
        """Return a peer, or nothing where it is not here."""
        try:
            return [make()]
        except NotHere as why:
            self.absent.append(str(why))
            return []

    def done(self, took: wire.Took) -> Done:
        """Return what a transfer was."""
        return Done(units=self.given.size / MIB, seconds=took.seconds, client=took.cpu)

    def upload(self, port: int, before: bytes, after: bytes = b"") -> tuple[wire.Took, wire.Answer]:
        """Upload the file."""
        took = self.client.submit(wire.upload, port, before, self.source, self.given.size, after).result()
        return took, took.answers[0]


@contextmanager
def bulk(given: Given) -> Iterator[Bulk]:
    """Make the file and the client."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="filedropd-compare-source-")))
        source = folder / "source"
        digest = make_file(source, given.size)
        client = stack.enter_context(wire.client())
        client.submit(os.getpid).result()
        yield Bulk(given, stack, client, source, digest)


# -- our sides ---------------------------------------------------------------------------------------


class Ours:
    """A daemon to which the file goes, and from which it comes."""

    def __init__(self, bulk: Bulk, daemon: Daemon) -> None:
        self._bulk = bulk
        self._daemon = daemon
        self._told: dict[str, str] = {}
        self.processes = Processes([daemon.pid])

    def put(self) -> Done:
        """Upload it raw."""
        return self._upload(wire.raw_head(FILE_PATH, self._bulk.given.size))

    def form(self) -> Done:
        """Upload it as a form."""
        return self._upload(*wire.form(FILE_PATH, self._bulk.given.size))

    def _upload(self, before: bytes, after: bytes = b"") -> Done:
        took, answer = self._bulk.upload(self._daemon.port, before, after)
        expect(answer, 201)
        self._told = json.loads(answer.body)
        if int(self._told["size"]) != self._bulk.given.size:
            raise RuntimeError(f"{self._told['size']} bytes were kept of {self._bulk.given.size}")
        return self._bulk.done(took)

    def get(self) -> Done:
        """Download it; the next request on the same connection confirms it, and must find it gone."""
        took = self._download(check=False)
        return self._bulk.done(took)

    def check(self) -> None:
        """Download it, and compare."""
        digest = self._download(check=True).answers[0].digest
        if digest != self._bulk.digest:
            raise RuntimeError("the bytes that came out are not those that went in")
        self.swept()

    def _download(self, *, check: bool) -> wire.Took:
        link = urlsplit(self._told["url"]).path
        took = self._bulk.client.submit(wire.download, self._daemon.port, link, link, check=check).result()
        expect(took.answers[0], 200, self._bulk.given.size)
        expect(took.answers[1], 410)
        return took

    def revoke(self) -> None:
        """Take the file back, and wait until its bytes are deleted."""
        link, token = urlsplit(self._told["url"]).path, self._told["owner_token"]
        wire.ask(self._daemon.port, wire.delete(link, token))
        self.swept()

    def swept(self) -> None:
        """Wait until nothing is kept any more."""
        eventually(lambda: not self._daemon.files("blobs"), "the bytes are deleted")


def expect(answer: wire.Answer, status: int, size: int | None = None) -> None:
    """Make sure that an answer is as it must be."""
    if answer.status != status or size not in {None, answer.size}:
        raise RuntimeError(f"answered {answer.status} and {answer.size} bytes, not {status}: {answer.body[:200]!r}")


def _ours(bulk: Bulk, act: Callable[[Ours], Done]) -> list[Side]:
    sides = []
    for name, durability in ((NONE, "none"), (FSYNC, "fsync")):
        ours = Ours(bulk, bulk.daemon(durability))
        act(ours)
        ours.check()
        sides.append(
            Side(name=name, processes=ours.processes, act=lambda ours=ours: act(ours), after=ours.revoke)  # type: ignore[misc]
        )
    return sides


# -- the peers ---------------------------------------------------------------------------------------


def _kept(bulk: Bulk, root: Path) -> None:
    """Delete what a peer has kept; it must be one file of the right size."""
    files = [path for path in root.rglob("*.bin") if path.is_file()]
    if [path.stat().st_size for path in files] != [bulk.given.size]:
        raise RuntimeError(f"{root.name} does not hold the file that was left, and that alone")
    files[0].unlink()


def _peer(bulk: Bulk, name: str, server: DavNginx | Copyparty | UploadServer, parts: tuple[bytes, bytes]) -> Side:
    """Return a side that takes one request with the file in it."""
    bulk.stack.enter_context(server)

    def act() -> Done:
        took, answer = bulk.upload(server.port, *parts)
        if answer.status not in {200, 201, 204}:
            raise RuntimeError(f"{name} answered {answer.status}: {answer.body[:200]!r}")
        return bulk.done(took)

    act()
    _kept(bulk, server.root)
    return Side(name=name, processes=Processes([server.pid]), act=act, after=lambda: _kept(bulk, server.root))


def _dav(bulk: Bulk) -> Side:
    return _peer(bulk, _DAV, DavNginx(), (wire.raw_head("/put/a.bin", bulk.given.size), b""))


def _copyparty(bulk: Bulk) -> Side:
    return _peer(bulk, "copyparty, PUT", Copyparty(), (wire.raw_head("/a.bin", bulk.given.size), b""))


def _uploadserver(bulk: Bulk) -> Side:
    parts = wire.form("/upload", bulk.given.size, method="POST", field="files")
    return _peer(bulk, "uploadserver, form", UploadServer(), parts)


# -- the rows ----------------------------------------------------------------------------------------


def raw(given: Given, tell: Tell) -> Comparison:
    """Raw uploads."""
    with bulk(given) as shared:
        sides = _ours(shared, Ours.put)
        sides += shared.peer(lambda: _dav(shared)) + shared.peer(lambda: _copyparty(shared))
        return Comparison(
            title=f"Raw upload, {given.size / MIB:,.0f} MiB",
            note="The bytes alone, by PUT. The peers do not sync what they keep.",
            unit="MiB/s",
            per=_PER_GIB,
            ours=(NONE, FSYNC),
            ran=alternate(sides, given.runs, tell),
            targets=[Target(peer=_DAV, ours=NONE, rate=1.5, cpu=0.5)],
            absent=shared.absent,
        )


def form(given: Given, tell: Tell) -> Comparison:
    """Uploads as a form."""
    with bulk(given) as shared:
        sides = _ours(shared, Ours.form)
        sides += shared.peer(lambda: _dav(shared)) + shared.peer(lambda: _uploadserver(shared))
        return Comparison(
            title=f"Upload as a form, {given.size / MIB:,.0f} MiB",
            note="The request that `curl -F` sends; nginx is sent the bytes alone. The peers do not sync what they keep.",
            unit="MiB/s",
            per=_PER_GIB,
            ours=(NONE, FSYNC),
            ran=alternate(sides, given.runs, tell),
            targets=[Target(peer=_DAV, ours=NONE, rate=1.0)],
            absent=shared.absent,
        )


def download(given: Given, tell: Tell) -> Comparison:
    """Downloads, claimed and confirmed."""
    with bulk(given) as shared:
        sides = [_fetched(shared, name, kind) for name, kind in ((FSYNC, "fsync"), (NONE, "none"))]
        sides.append(_static(shared))
        return Comparison(
            title=f"Download, {given.size / MIB:,.0f} MiB",
            note=(
                "From the first byte of the request to the answer to a second one on the same connection, which "
                "confirms the delivery and is told 410; nginx is asked for a static file, then for what is 404."
            ),
            unit="MiB/s",
            per=_PER_GIB,
            ours=(FSYNC, NONE),
            ran=alternate(sides, given.runs, tell),
            targets=[Target(peer=_SENDFILE, ours=FSYNC, rate=0.95, cpu=1.25)],
            absent=shared.absent,
        )


def _fetched(bulk: Bulk, name: str, durability: str) -> Side:
    ours = Ours(bulk, bulk.daemon(durability))
    ours.put()
    ours.check()
    ours.put()

    def after() -> None:
        ours.swept()
        ours.put()

    return Side(name=name, processes=ours.processes, act=ours.get, after=after)


def _static(bulk: Bulk) -> Side:
    server = bulk.stack.enter_context(StaticNginx())
    os.link(bulk.source, server.root / "a.bin")
    bulk.source.chmod(0o644)

    def act() -> Done:
        took = bulk.client.submit(wire.download, server.port, "/a.bin", "/gone").result()
        expect(took.answers[0], 200, bulk.given.size)
        expect(took.answers[1], 404)
        return bulk.done(took)

    act()
    return Side(name=_SENDFILE, processes=Processes([server.pid]), act=act)
