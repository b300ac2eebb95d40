"""What the claims cost: small downloads by this code and by an older revision of it, in turn.

The package of each is laid out in a scratch folder of its own (the working tree's as it is now, an
older one's by ``git archive``), and both run in the same environment.  Then, ``--runs`` times: a daemon
of the older one, a daemon of this one, each with an empty data directory.

In each run ``--drops`` files are left, and then each is downloaded once, on ``--connections``
connections at a time, which have an address each (127.0.1.1, 127.0.1.2, ...), so that their recipients
differ.  Who has a whole answer, asks for the next link at once, on the same connection: this is how the
daemon learns that the last one arrived.  With ``--connection-close`` it closes and opens another, as
curl does.  Every body is compared with what was left.

Told are:

- downloads a second, from the first request to the last answer;
- the CPU time of the daemon for each 1000 of them, until all is settled and all bytes are deleted;
- how long after the last answer that was;
- how busy the client was: near 100 % it measures itself;
- how many processors were busy with something else: where that differs from run to run, their rates can
  hardly be compared, and the CPU time is the steadier figure.

Ends with status 1 where this code makes less than ``--limit`` of the older one's downloads a second,
by the median of the pairs.

Run it from the repository: ``python -m bench.claims --against HEAD~10``.  With ``--this`` two revisions are
compared: twice the same one tells how much this machine varies.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import selectors
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from filedropd.config import parse_size
from tests.daemon import PATIENCE, Daemon, eventually

REPOSITORY = Path(__file__).resolve().parent.parent
#: What a daemon consists of.
PACKAGES = ("filedropd", "twisted")
FILE_PATH = "/api/v1.0/file"
#: Downloads for each connection before anything is measured.
WARM = 2
_PIECE = 256 * 1024
_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
#: Tells which code runs, and that twistd would find one plugin, the one of that code.
_WHICH = """
import filedropd.tap
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.plugins import filedropd_plugin
[maker] = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "filedropd"]
if maker is not filedropd_plugin.filedropd:
    raise SystemExit("twistd finds another plugin")
print(filedropd.tap.__file__, filedropd_plugin.__file__, sep="\\n")
"""


# -- two codes ---------------------------------------------------------------------------------------


class DaemonOf(Daemon):
    """A daemon whose code is in the folder ``code``, whatever is installed."""

    def __init__(self, code: Path, folder: Path, *arguments: str) -> None:
        super().__init__(folder, *arguments)
        self._code = code

    def _command(self) -> list[str]:
        return ["env", f"PYTHONPATH={self._code}", *super()._command()]


def lay_out(folder: Path, revision: str | None) -> Path:
    """Put the code of ``revision`` into ``folder``, or that of the working tree; returns ``folder``.

    :raises SystemExit: there is no such revision, or its code would not run.
    """
    folder.mkdir()
    if revision is None:
        for package in PACKAGES:
            ignored = shutil.ignore_patterns("__pycache__", "dropin.cache")
            shutil.copytree(REPOSITORY / package, folder / package, ignore=ignored)
    else:
        archive = subprocess.run(
            ["git", "archive", "--format=tar", revision, *PACKAGES], cwd=REPOSITORY, stdout=subprocess.PIPE, check=False
        )
        if archive.returncode:
            raise SystemExit(f"There is no code of {revision!r}.")
        subprocess.run(["tar", "x", "-C", str(folder)], input=archive.stdout, check=True)
    check(folder)
    return folder


def check(code: Path) -> None:
    """Make sure that a daemon of ``code`` runs that, and nothing that is installed.

    :raises SystemExit: it would not, or would not run at all.
    """
    asked = [sys.executable, "-c", _WHICH]
    environment = os.environ | {"PYTHONPATH": str(code)}
    told = subprocess.run(
        asked,
        cwd=code.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if told.returncode:
        raise SystemExit(f"The code in {code} does not run:\n{told.stdout}")
    strays = [path for path in told.stdout.splitlines() if code not in Path(path).parents]
    if strays:
        raise SystemExit(f"Not the code in {code} would run, but: {', '.join(strays)}")


# -- the client --------------------------------------------------------------------------------------


class Worker:
    """One recipient: an address of its own, one connection at a time, one question at a time."""

    def __init__(self, number: int, port: int) -> None:
        self._from = (f"127.0.{1 + number // 254}.{1 + number % 254}", 0)
        self._to = ("127.0.0.1", port)
        self._socket: socket.socket | None = None
        self._received = bytearray()
        self._body = -1
        self._end = -1
        self.number = -1

    def ask(self, number: int, question: bytes, selector: selectors.BaseSelector) -> None:
        """Send a question, on the connection that there is or on a new one."""
        self.number, self._body, self._end = number, -1, -1
        self._received.clear()
        if self._socket is None:
            self._socket = socket.create_connection(self._to, timeout=PATIENCE, source_address=self._from)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(self._socket, selectors.EVENT_READ, self)
        self._socket.sendall(question)

    def take(self) -> tuple[int, bytes] | None:
        """Read what is there; returns the status and the body when the answer is whole.

        :raises RuntimeError: the connection ended before.
        """
        piece = self._socket.recv(_PIECE) if self._socket else b""
        if not piece:
            raise RuntimeError("a connection ended before its answer")
        self._received += piece
        if self._body < 0 and (head := self._received.find(_HEAD_END)) >= 0:
            length = _LENGTH.search(self._received, 0, head)
            if length is None:
                raise RuntimeError("an answer has no Content-Length")
            self._body = head + len(_HEAD_END)
            self._end = self._body + int(length[1])
        if not 0 <= self._end <= len(self._received):
            return None
        return int(self._received[9:12]), bytes(self._received[self._body : self._end])

    def close(self, selector: selectors.BaseSelector) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            selector.unregister(self._socket)
            self._socket.close()
            self._socket = None


class Crowd:
    """Workers who share the questions among them; each takes the next one when it has its answer.

    :param port: of the daemon.
    :param keep: whether a connection is used again.
    """

    def __init__(self, port: int, workers: int, *, keep: bool) -> None:
        self._workers = [Worker(number, port) for number in range(workers)]
        self._keep = keep

    def ask(self, count: int, question: Callable[[int], bytes], take: Callable[[int, int, bytes], None]) -> None:
        """Ask ``count`` questions; returns when all are answered and all connections are closed.

        :param question: returns that of a number.
        :param take: is called with a number, and the status and the body of its answer.
        """
        left = iter(range(count))
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                self._go_on(worker, left, question, selector)
            while selector.get_map():
                ready = selector.select(PATIENCE)
                if not ready:
                    raise RuntimeError(f"no answer within {PATIENCE:g} s")
                for worker in (key.data for key, _ in ready):
                    answer = worker.take()
                    if answer is not None:
                        take(worker.number, *answer)
                        self._go_on(worker, left, question, selector)

    def _go_on(
        self,
        worker: Worker,
        left: Iterator[int],
        question: Callable[[int], bytes],
        selector: selectors.BaseSelector,
    ) -> None:
        number = next(left, None)
        if number is None or not self._keep:
            worker.close(selector)
        if number is not None:
            worker.ask(number, question(number), selector)


# -- a run -------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Load:
    """What is asked of a daemon.

    :ivar drops: files that are left and downloaded.
    :ivar size: of each.
    :ivar connections: at a time.
    :ivar keep: whether a connection is used again.
    """

    drops: int
    size: int
    connections: int
    keep: bool


@attrs.frozen(kw_only=True)
class Figures:
    """What one run came to.

    :ivar rate: downloads a second.
    :ivar cpu: seconds of the daemon for each 1000 downloads.
    :ivar rest: seconds from the last answer until all bytes were deleted.
    :ivar client: share of the time for which the client was busy.
    :ivar others: processors that were busy with anything else.
    """

    rate: float
    cpu: float
    rest: float
    client: float
    others: float


class Files:
    """The files of a run: different ones, made when they are needed."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rest = os.urandom(size)
        self._paths: dict[int, str] = {}

    def content(self, number: int) -> bytes:
        """Return that of file ``number``."""
        return (number.to_bytes(8, "big") + self._rest)[: self._size]

    def upload(self, number: int) -> bytes:
        """Return the request that leaves it."""
        head = f"PUT {FILE_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {self._size}\r\n\r\n"
        return head.encode("ascii") + self.content(number)

    def uploaded(self, number: int, status: int, body: bytes) -> None:
        """Keep its link."""
        if status != 201:
            raise RuntimeError(f"an upload was answered with {status}")
        self._paths[number] = urlsplit(json.loads(body)["url"]).path

    def download(self, number: int) -> bytes:
        """Return the request that fetches it."""
        return f"GET {self._paths[number]} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("ascii")

    def downloaded(self, number: int, status: int, body: bytes) -> None:
        """Compare it."""
        if status != 200 or body != self.content(number):
            raise RuntimeError(f"a download was answered with {status} and {len(body)} bytes, not those that were left")


def run(daemon: Daemon, load: Load) -> Figures:
    """Leave all files, and download them; a few to warm up before that."""
    measured(daemon, attrs.evolve(load, drops=WARM * load.connections))
    return measured(daemon, load)


def measured(daemon: Daemon, load: Load) -> Figures:
    """Leave all files, then download them and wait until their bytes are deleted."""
    files = Files(load.size)
    Crowd(daemon.port, load.connections, keep=True).ask(load.drops, files.upload, files.uploaded)
    crowd = Crowd(daemon.port, load.connections, keep=load.keep)
    cpu, client, machine = daemon.cpu_seconds(), time.process_time(), machine_seconds()
    began = time.perf_counter()
    crowd.ask(load.drops, files.download, files.downloaded)
    seconds, busy = time.perf_counter() - began, time.process_time() - client
    eventually(lambda: not daemon.files("blobs"), "all bytes are deleted", PATIENCE + load.drops / 100)
    whole = time.perf_counter() - began
    cpu = daemon.cpu_seconds() - cpu
    others = machine_seconds() - machine - cpu - (time.process_time() - client)
    return Figures(
        rate=load.drops / seconds,
        cpu=1000 * cpu / load.drops,
        rest=whole - seconds,
        client=busy / seconds,
        others=others / whole,
    )


def machine_seconds() -> float:
    """Return the CPU time that was used on this machine by anybody."""
    first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()
    user, nice, system, _idle, _waiting, *interrupts = (int(field) for field in first[1:9])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def compare(
    codes: Mapping[str, Path], scratch: Path, load: Load, runs: int, arguments: Sequence[str]
) -> dict[str, list[Figures]]:
    """Run a daemon of each of ``codes`` in turn, and print what each run comes to."""
    ran: dict[str, list[Figures]] = {name: [] for name in codes}
    for number in range(runs):
        for name, code in codes.items():
            with contextlib.ExitStack() as undo:
                folder = Path(undo.enter_context(tempfile.TemporaryDirectory(dir=scratch)))
                daemon = DaemonOf(code, folder, *arguments)
                undo.callback(daemon.kill)
                ran[name].append(run(daemon.start(), load))
            print_row(str(number + 1), name, ran[name][-1])
    return ran


# -- what is told ------------------------------------------------------------------------------------


def print_row(run_: str, name: str, figures: Figures) -> None:
    """Print a line of the table."""
    cells = (
        f"{figures.rate:.0f}",
        f"{figures.cpu:.2f}",
        f"{figures.rest:.2f}",
        f"{figures.client:.0%}",
        f"{figures.others:.2f}",
    )
    print(f"{run_:8}{name:20}" + "".join(f"{cell:>14}" for cell in cells), flush=True)


def median(ran: Sequence[Figures]) -> Figures:
    """Return the median of each figure."""
    each = {field.name: [getattr(figures, field.name) for figures in ran] for field in attrs.fields(Figures)}
    return Figures(**{name: statistics.median(values) for name, values in each.items()})


def ratios(old: Sequence[Figures], new: Sequence[Figures], what: str) -> float:
    """Print the ratios new/old of one figure, pair by pair; returns their median."""
    each = [getattr(b, what) / getattr(a, what) for a, b in zip(old, new, strict=True)]
    middle = float(statistics.median(each))
    print(f"{'new/old':8}{what:20}" + " ".join(f"{ratio:.2f}" for ratio in each) + f"; median {middle:.2f}")
    return middle


def options() -> argparse.Namespace:
    """Return what stands on the command line."""
    parser = argparse.ArgumentParser(description="Compare small downloads with those of an older revision.")
    parser.add_argument("--against", required=True, metavar="REVISION", help="the older one")
    parser.add_argument("--this", metavar="REVISION", help="the newer one [the working tree]")
    parser.add_argument("--size", type=parse_size, default=parse_size("4KiB"), help="of each file [4KiB]")
    parser.add_argument("--drops", type=int, default=2000, help="in each run [2000]")
    parser.add_argument("--connections", type=int, default=32, help="at a time [32]")
    parser.add_argument("--connection-close", action="store_true", help="a connection for each download")
    parser.add_argument("--runs", type=int, default=5, help="of each of the two [5]")
    parser.add_argument("--limit", type=float, default=0.75, help="the least new/old of downloads a second [0.75]")
    parser.add_argument("--daemon-args", type=shlex.split, default=[], help="more options for both, in one word")
    return parser.parse_args()


def main() -> int:
    """Compare; returns 1 if the new code is slower than the limit."""
    given = options()
    load = Load(drops=given.drops, size=given.size, connections=given.connections, keep=not given.connection_close)
    old, new = f"old: {given.against}", f"new: {given.this or 'working tree'}"
    with contextlib.ExitStack() as undo:
        scratch = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="filedropd-claims-")))
        codes = {old: lay_out(scratch / "old", given.against), new: lay_out(scratch / "new", given.this)}
        heads = ("downloads/s", "CPU s/1000", "rest s", "client busy", "others busy")
        print(f"{'run':8}{'':20}" + "".join(f"{head:>14}" for head in heads))
        ran = compare(codes, scratch, load, given.runs, given.daemon_args)
    for name in codes:
        print_row("median", name, median(ran[name]))
    ratios(ran[old], ran[new], "cpu")
    ratio = ratios(ran[old], ran[new], "rate")
    if ratio < given.limit:
        print(f"missed: {ratio:.2f} of the downloads a second, {given.limit:g} are asked for")
    return 1 if ratio < given.limit else 0


if __name__ == "__main__":
    sys.exit(main())
