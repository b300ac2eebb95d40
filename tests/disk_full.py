"""A daemon on a disk that is full: a tmpfs of its own, in a mount namespace of its own. Needs no root.

    .venv/bin/python -m tests.disk_full [--uploads 500] [--size 64]

Prints what was asked and what came of it; ends with status 1 where something is not as it must be, and
with 77 where this machine lets us make no namespace.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import select
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from tests.daemon import PATIENCE, Daemon, eventually

API: Final = "/api/v1.0/file"
MIB: Final = 2**20
#: What is sent at once by so many clients.
CLIENTS: Final = 8
#: Bytes of a file that is downloaded.
LEFT: Final = 300_000
#: The longest that is kept: a row that needs room.
LONG_TYPE: Final = "Content-Type: application/octet-stream; a=" + "a" * 200
#: The status with which a test is skipped (automake's).
SKIPPED: Final = 77
#: Seconds within which the daemon is ready once there is room, on a machine that has much else to do.
READY_WITHIN: Final = 10.0

_random = random.Random(20)


class Wrong(Exception):
    """Something is not as it must be."""


def main() -> int:
    """Do it in a namespace."""
    options = _options()
    if options.inside is not None:
        return _inside(options)
    if not possible():
        say("this machine lets us make no mount namespace (unshare -Urm)")
        return SKIPPED
    folder = tempfile.mkdtemp(prefix="filedropd-test-")
    try:
        command = [sys.executable, "-m", "tests.disk_full", *sys.argv[1:], "--inside", folder]
        return subprocess.call(["unshare", "-Urm", *command])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def possible() -> bool:
    """Tell whether we may mount a tmpfs for ourselves."""
    with contextlib.suppress(OSError):
        command = ["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"]
        return subprocess.call(command, stderr=subprocess.DEVNULL) == 0
    return False


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=500, help="into each kind of full disk")
    parser.add_argument("--size", type=int, default=64, help="of the disk, in MiB")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _inside(options: argparse.Namespace) -> int:
    for name, scene in (("one", one_disk), ("two", two_disks), ("start", full_at_the_start)):
        folder = options.inside / name
        try:
            for mounted in (folder / "data", folder / "elsewhere"):
                mounted.mkdir(parents=True)
                subprocess.check_call(["mount", "-t", "tmpfs", "-o", f"size={options.size}m", "none", mounted])
            scene(folder, options.uploads)
        except (Wrong, AssertionError) as error:
            say(f"WRONG: {error}")
            say((folder / "log").read_text()[-4000:])
            return 1
    return 0


# -- what is done --------------------------------------------------------------------------------


def one_disk(folder: Path, uploads: int) -> None:
    """All on one disk: uploads fill it up to the reserve, others the rest."""
    with running(folder) as daemon:
        disk = Disk(daemon.data)
        lasting, once = left(daemon, downloads=1000), left(daemon)
        answers = all_at_once(daemon, [4 * MIB] * (disk.free // (3 * MIB)))
        show("uploads at once, more than there is room for", answers)
        claim(set(answers) == {201, 507}, "some are kept, the others 507")
        claim(disk.free >= disk.reserve, "what is to stay free is free")
        claim(kept(daemon) == answers[201] + 2, "nothing is left of what was refused")
        claim({file.stat().st_size for file in daemon.files("blobs")} == {4 * MIB, LEFT}, "what was kept is whole")

        disk.fill(disk.reserve - 64 * 1024)
        refused(daemon, uploads, "uploads with no more room than is to stay free")
        disk.fill(0)
        refused(daemon, uploads, "uploads without a free byte")
        fetched = Counter(download(daemon, lasting, disk) for _ in range(max(10, uploads // 10)))
        show("downloads without a free byte", fetched)
        claim(set(fetched) == {200}, "downloads go on")
        claim(download(daemon, once, disk) == 200, "a last download goes on")
        eventually(lambda: disk.free > 0, "and its bytes are deleted", READY_WITHIN)
        disk.fill(0)
        daemon.kill()
        daemon.start()
        claim(download(daemon, lasting, disk) == 200, "downloads go on after a crash")
        ready_again(daemon, disk)


def two_disks(folder: Path, uploads: int) -> None:
    """The records on a disk of their own: the bytes have room, and the commit fails."""
    with running(folder, f"--blobs=file:{folder / 'elsewhere'}") as daemon:
        disk = Disk(daemon.data)
        lasting = left(daemon, downloads=1000)
        disk.fill(0)
        answers = Counter[int]()
        while set(answers) <= {201}:
            answers += all_at_once(daemon, [1000] * 64)
        show("uploads noted without a free byte for the records", answers)
        claim(set(answers) == {201, 507}, "those that have no room are 507")
        noted, stored = answers[201], folder / "elsewhere"
        before = [file for file in stored.rglob("*") if file.is_file()]
        answers = all_at_once(daemon, [1000] * uploads)
        show("uploads whose commit fails", answers)
        tells(daemon)
        claim(set(answers) == {507}, "all 507")
        claim(before == [file for file in stored.rglob("*") if file.is_file()], "nothing is left of them")
        claim(len(before) == noted + 1 == rows(daemon), "each row has its bytes")
        status = download(daemon, lasting, disk)
        show("a download whose claim cannot be noted", Counter({status: 1}))
        claim(status in {200, 507}, "it is answered by what it asked for, or by 507")
        ready_again(daemon, disk)
        claim(download(daemon, lasting, disk) == 200, "a download that was refused can be had")


def full_at_the_start(folder: Path, _: int) -> None:
    """The disk is filled while the daemon is away, which then has no room to open its records."""
    with running(folder) as daemon:
        disk = Disk(daemon.data)
        lasting = left(daemon, downloads=1000)
        daemon.stop()
        for free, what in ((0, "without a free byte"), (16 * 1024, "with hardly a free byte")):
            disk.fill(free)
            daemon.spawn()
            claim(daemon.wait() == 1, f"a start {what} ends with status 1")
            said = daemon.log().rpartition("cannot start: ")[2].partition("\n")[0]
            show(f"a start {what}", Counter({1: 1}), said)
            claim("its disk is full" in said, "the log says why")
            disk.free_again()
        daemon.start()
        claim(download(daemon, lasting, disk) == 200, "it starts when there is room again, with what it had")


def refused(daemon: Daemon, uploads: int, what: str) -> None:
    """Upload all kinds of things; nothing of them is kept."""
    before = daemon.files("blobs"), rows(daemon)
    sizes = [_random.choice([0, 1, 5000, 100_000, 300_000, 2 * MIB]) for _ in range(uploads - uploads // 10)]
    answers = all_at_once(daemon, sizes + [17 * MIB] * (uploads // 10))
    show(what, answers)
    claim(set(answers) == {413, 507}, "507, and 413 where it is too large anyway")
    claim(sum(answers.values()) == uploads, "each is answered")
    claim((daemon.files("blobs"), rows(daemon)) == before, "nothing of them is kept")
    claim(not daemon.files("incoming"), "nothing of them is left")
    tells(daemon)


def tells(daemon: Daemon) -> None:
    """Look at what probes are told by a daemon that takes no files."""

    def ask(path: str) -> requests.Response:
        return requests.get(daemon.url(path), timeout=PATIENCE)

    # Room for a small commit may be left where a larger one failed.
    eventually(lambda: ask("/readyz").status_code == 507, "/readyz tells", READY_WITHIN)
    show("  /readyz", Counter({507: 1}), ask("/readyz").json()["detail"])
    claim(ask("/healthz").status_code == 200, "/healthz does not mind")


def ready_again(daemon: Daemon, disk: Disk) -> None:
    """Give back the room; soon the daemon takes files again."""
    disk.free_again()
    began = time.monotonic()
    status = upload(daemon, 100_000, "raw")
    taken = time.monotonic() - began
    eventually(lambda: requests.get(daemon.url("/readyz"), timeout=PATIENCE).ok, "it is ready", READY_WITHIN)
    ready = time.monotonic() - began
    show(f"  room again: the next upload, taken after {taken:.3f} s, ready after {ready:.3f} s", Counter({status: 1}))
    claim(status == 201, "the first upload is taken")


# -- the disk ------------------------------------------------------------------------------------


class Disk:
    """The disk that ``folder`` is on, which another program fills."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._filler = folder / "of-another-program"

    @property
    def free(self) -> int:
        """Bytes that may be written."""
        told = os.statvfs(self._folder)
        return told.f_bavail * told.f_frsize

    @property
    def reserve(self) -> int:
        """Bytes that uploads leave free, unless told otherwise."""
        told = os.statvfs(self._folder)
        return told.f_blocks * told.f_frsize // 20

    def fill(self, free: int) -> None:
        """Fill it until so many bytes are free, at most."""
        with self._filler.open("ab", buffering=0) as filler, contextlib.suppress(OSError):
            while (more := self.free - free) > 0:
                filler.write(bytes(min(more, MIB)))

    def free_again(self) -> None:
        """Give back what was filled."""
        self._filler.unlink()


# -- the daemon, and its clients -----------------------------------------------------------------


@contextlib.contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Daemon]:
    """Run a daemon on the disk that is mounted at ``folder/data``."""
    daemon = Daemon(folder, *arguments)
    try:
        yield daemon.start()
    finally:
        daemon.kill()


def left(daemon: Daemon, downloads: int = 1) -> dict[str, Any]:
    """Leave a file of :data:`LEFT` bytes; ``content`` is what it has."""
    content = _random.randbytes(LEFT)
    answer = requests.put(
        daemon.url(API), data=content, headers={"Filedrop-Downloads": str(downloads)}, timeout=PATIENCE
    )
    claim(answer.status_code == 201, "a file is kept while there is room")
    return {**answer.json(), "content": content}


def download(daemon: Daemon, told: dict[str, Any], disk: Disk) -> int:
    """Fetch a file on a disk that has no free byte left; returns the status."""
    if disk._filler.exists():
        disk.fill(0)
    answer = requests.get(daemon.url(urlsplit(told["url"]).path), timeout=PATIENCE)
    claim(answer.status_code != 200 or answer.content == told["content"], "a download has the right bytes")
    return answer.status_code


def all_at_once(daemon: Daemon, sizes: list[int]) -> Counter[int]:
    """Upload files of these sizes, some at a time; returns how often each status came."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        kinds = [("raw", "chunked", "form")[number % 3] for number in range(len(sizes))]
        return Counter(clients.map(lambda size, kind: upload(daemon, size, kind), sizes, kinds))


def upload(daemon: Daemon, size: int, kind: str) -> int:
    """Upload a file in one of three ways; returns the status that its client sees."""
    head, body = _request(size, kind)
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=PATIENCE) as connection:
        answer = _exchange(connection, head + body)
    return int(answer.split()[1])


def _request(size: int, kind: str) -> tuple[bytes, bytes]:
    content = bytes(size)
    fields = ["Host: localhost", "Connection: close"]
    if kind == "form":
        fields.append("Content-Type: multipart/form-data; boundary=cut")
        part = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n%b\r\n\r\n' % LONG_TYPE.encode()
        content = part + content + b"\r\n--cut--\r\n"
    else:
        fields.append(LONG_TYPE)
    if kind == "chunked" and size <= 16 * MIB:
        fields.append("Transfer-Encoding: chunked")
        content = (b"%x\r\n%b\r\n" % (size, content) if size else b"") + b"0\r\n\r\n"
    else:
        fields.append(f"Content-Length: {len(content)}")
    return "\r\n".join([f"PUT {API} HTTP/1.1", *fields, "", ""]).encode("ascii"), content


def _exchange(connection: socket.socket, data: bytes) -> bytes:
    """Send ``data`` until it is sent or answered; returns the answer, which ends with the connection."""
    connection.setblocking(False)
    rest, answer = memoryview(data), b""
    while True:
        readable, writable, _ = select.select([connection], [connection] if rest else [], [], PATIENCE)
        if readable:
            piece = connection.recv(65_536)
            if not piece:
                return answer
            answer, rest = answer + piece, rest[:0]
        elif writable:
            rest = rest[connection.send(rest[: 256 * 1024]) :]
        else:
            raise Wrong("no answer in time")


def kept(daemon: Daemon) -> int:
    """Return how many files are kept, each with a row; nothing else is there."""
    claim(not daemon.files("incoming"), "no upload is left half-way")
    published = len(daemon.files("blobs"))
    claim(published == rows(daemon), "each row has its bytes, and all bytes a row")
    return published


def rows(daemon: Daemon) -> int:
    """Return how many drops are available, as the database has it."""
    with contextlib.closing(sqlite3.connect(f"file:{daemon.data / 'drops.db'}?mode=ro", uri=True)) as database:
        (count,) = database.execute("SELECT COUNT(*) FROM drops WHERE state = 'available'").fetchone()
    return int(count)


def claim(holds: bool, what: str) -> None:
    """Go on if ``what`` is so.

    :raises Wrong: it is not.
    """
    if not holds:
        raise Wrong(f"not so: {what}")


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def show(what: str, answers: Counter[int], more: str = "") -> None:
    """Print how often each status came."""
    counted = ", ".join(f"{count} x {status}" for status, count in sorted(answers.items()))
    say(f"{what}: {counted}{f' ({more})' if more else ''}")


if __name__ == "__main__":
    sys.exit(main())
