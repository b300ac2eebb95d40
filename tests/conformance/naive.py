"""Two one-time file drops as they are often written, to see that the cases tell them from a good one.

*Early* forgets a file as soon as anybody asks for it; *late* when all of it is written, and until then
hands it to whoever asks.  Both run HEAD through the same code as GET.  One that does not forget is no such drop.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast


class Naive(ThreadingHTTPServer):
    """A drop at a free port of 127.0.0.1.

    :ivar files: what was left, by its path.
    """

    daemon_threads = True

    def __init__(self, *, late: bool, forgets: bool) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.late = late
        self.forgets = forgets
        self.files: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about clients who leave."""


class Asked(BaseHTTPRequestHandler):
    """One request."""

    @property
    def _drop(self) -> Naive:
        return cast(Naive, self.server)

    def do_PUT(self) -> None:
        """Keep the body, and answer with its link."""
        path = f"/{secrets.token_hex(8)}"
        self._drop.files[path] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(201, f"{self._drop.url}{path}\n".encode())

    def do_GET(self) -> None:
        """Hand out the file, and forget it."""
        files = self._drop.files
        content = files.get(self.path) if self._drop.late else files.pop(self.path, None)
        if content is None:
            self._answer(404, b"gone\n")
            return
        self._answer(200, content)
        if self._drop.forgets:
            files.pop(self.path, None)

    do_HEAD = do_GET

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing."""


@contextlib.contextmanager
def running(*, late: bool, forgets: bool = True) -> Iterator[str]:
    """Run one; yields its URL."""
    with Naive(late=late, forgets=forgets) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()
