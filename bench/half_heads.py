"""Ten thousand connections with half a head: what they cost, whom they hurt, and when they are gone.

Opens ``--connections``, sends half a request's head on each, and meanwhile asks for ``/healthz`` on
one keep-alive connection, again and again.  Prints the daemon's memory before and with them, how
long the small requests took, and how long after the last half the last connection was closed.

Run it from the repository: ``python -m bench.half_heads``.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import selectors
import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from filedropd.descriptors import connections_within
from tests.daemon import PATIENCE, Daemon

HALF = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Half"


class Probe(threading.Thread):
    """Asks for /healthz every few milliseconds, and notes how long each answer took, in seconds."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self._stopping = threading.Event()
        self.took: list[float] = []

    def run(self) -> None:
        """Ask until :meth:`stop`."""
        while not self._stopping.wait(0.01):
            began = time.perf_counter()
            self._connection.request("GET", "/healthz")
            self._connection.getresponse().read()
            self.took.append(time.perf_counter() - began)

    def stop(self) -> list[float]:
        """End; return what was noted since the last call of :meth:`mark`."""
        self._stopping.set()
        self.join()
        return self.took


def opened(port: int, count: int) -> list[socket.socket]:
    """Open ``count`` connections, and send half a head on each."""
    connections = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        connection.sendall(HALF)
        connections.append(connection)
    return connections


def closed(connections: list[socket.socket]) -> dict[bytes, int]:
    """Wait until the other end has closed all of them; return what it answered, and how often."""
    answers: dict[bytes, int] = {}
    by_number = {connection.fileno(): connection for connection in connections}
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        left = len(connections)
        while left:
            for key, _ in selector.select(PATIENCE):
                connection = by_number[key.fd]
                try:
                    data = connection.recv(4096)
                except ConnectionError:
                    data = b""
                if data:
                    status = data[9:12]
                    answers[status] = answers.get(status, 0) + 1
                else:
                    selector.unregister(connection)
                    connection.close()
                    left -= 1
    return answers


def resident(daemon: Daemon) -> float:
    """Return the daemon's resident memory, in MiB."""
    for line in Path(f"/proc/{daemon.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the kernel does not tell")


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10_000)
    arguments = parser.parse_args()
    count = min(arguments.connections, connections_within(arguments.connections))
    with tempfile.TemporaryDirectory(prefix="filedropd-heads-") as folder, contextlib.ExitStack() as stack:
        daemon = Daemon(Path(folder)).start()
        stack.callback(daemon.kill)
        port = daemon.ports[0]
        probe = Probe(port)
        probe.start()
        before = resident(daemon)
        began = time.perf_counter()
        connections = opened(port, count)
        last = time.perf_counter()
        with_them = resident(daemon)
        answers = closed(connections)
        gone = time.perf_counter()
        took = sorted(probe.stop())
    print(f"{count} half heads in {last - began:.1f} s: {before:.0f} -> {with_them:.0f} MiB resident")
    print(
        f"answered { ({code.decode(): n for code, n in answers.items()}) }, the last gone {gone - last:.1f} s after it came"
    )
    p99 = took[int(len(took) * 0.99)]
    print(
        f"{len(took)} small requests meanwhile: p50 {statistics.median(took) * 1e3:.1f} ms, "
        f"p99 {p99 * 1e3:.1f} ms, most {took[-1] * 1e3:.1f} ms"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
