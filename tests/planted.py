"""Secrets by the thousand, each given to the daemon in one of many places; then a search for where they stayed.

    .venv/bin/python -m tests.planted --secrets 1000

Tokens, those of claims too, owner tokens, passwords and the names of programs that download must be nowhere
but with their owners, and in what an owner is told there is no claim's token; a file's name is kept in the
database, where it belongs, and must be nowhere else.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import random
import re
import socket
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Final

import attrs

from tests.daemon import PATIENCE, Daemon, eventually

_API: Final = "/api/v1.0/file"
_TOKEN: Final = re.compile(r"[0-9a-f]{32}")
_LENGTH: Final = re.compile(rb"\r\nContent-Length: (\d+)")
_OWNER: Final = re.compile(r'"owner_token": "([0-9a-f]{32})"')
_CLAIM: Final = re.compile(r"(?im)^Filedrop-Claim: ([0-9a-f]{32})\r$")
_LINK: Final = re.compile(r"/api/v1\.0/file/([0-9a-f]{32})")
#: Of a secret, so much is looked for: half of it is too much already.
_PART: Final = 12

#: Requests that are refused, or not, with a secret where nobody expects one; as bytes, with
#: ``%s`` for it; ``%n`` is a file's name.
_ODD: Final = (
    b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /x/%s?y=%s HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /api/v1.0/file/%s HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /api/v1.0/file/%s/status HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n\r\n",
    b"DELETE /api/v1.0/file/%s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n\r\n",
    b"DELETE /%s HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /%%2f%s%%00 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /%s\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /%%zz%s HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /#%s HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://%s/x HTTP/1.1\r\nHost: %s\r\n\r\n",
    b"GET http://u:%s@h/x HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET ftp://%s/ HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /healthz?%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nReferer: http://%s/\r\nCookie: %s\r\n\r\n",
    b"GET /readyz?%s HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: %s\r\nX-Forwarded-Host: %s\r\nForwarded: for=%s\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a b%s\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: %s\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n%s(: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00%s\r\n\r\n",
    b"GET / HTTP/%s\r\nHost: a\r\n\r\n",
    b"GET / %s HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nExpect: %s\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"%s" * 1000 + b"\r\n\r\n",
    b"GET /" + b"%s" * 500 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"%s / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"%s\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01%s",
    b"CONNECT %s:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: %s\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n",
    b"PUT /n HTTP/1.1\r\nHost: a\r\nContent-Length: %s\r\n\r\n",
    b"PUT /n HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: %s\r\n\r\n",
    b"PUT /n HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx%s\r\n",
    b"PUT /n HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;%s=%s\r\nx\r\n0\r\nX-Trailer: %s\r\n\r\n",
    b"PUT /n HTTP/1.1\r\nHost: a\r\nContent-Encoding: %s\r\nContent-Length: 1\r\n\r\nx",
    b"PUT /n HTTP/1.1\r\nHost: a\r\nFiledrop-Expires: %s\r\nContent-Length: 1\r\n\r\nx",
    b"PUT /n HTTP/1.1\r\nHost: a\r\nFiledrop-Downloads: %s\r\nContent-Length: 1\r\n\r\nx",
    b"PUT /n HTTP/1.1\r\nHost: a\r\nFiledrop-Password: \xff%s\r\nContent-Length: 1\r\n\r\nx",
    b"PUT /n HTTP/1.1\r\nHost: a\r\nFiledrop-Password: " + b"%s" * 40 + b"\r\nContent-Length: 1\r\n\r\nx",
    b"PUT /%%%n HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
    b"PUT /api/v1.0/file HTTP/1.1\r\nHost: a\r\nFiledrop-Password: %s\r\nContent-Length: 99999\r\n\r\nhalf",
    b"PUT /%s HTTP/1.1\r\nHost: a\r\nFiledrop-Password: %s\r\nContent-Length: 99999999\r\n\r\n",
    b"POST /api/v1.0/file HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=%s\r\n"
    b"Content-Length: 10\r\n\r\n0123456789",
    b"POST /api/v1.0/file HTTP/1.1\r\nHost: a\r\nContent-Type: %s/x\r\nContent-Length: 1\r\n\r\nx",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 41\r\n\r\npassword=%s",
)
#: Parts of forms that are wrong, likewise.
_ODD_PARTS: Final = (
    b'Content-Disposition: form-data; name="%s"\r\n\r\n%s',
    b'Content-Disposition: form-data; name="password"; filename="%s"\r\n\r\n%s',
    b'Content-Disposition: form-data; name="expires"\r\n\r\n%s',
    b'Content-Disposition: form-data; name="downloads"\r\n\r\n%s',
    b'Content-Disposition: %s; name="file"\r\n\r\nx',
    b"%s\r\n\r\nx",
    b'Content-Disposition: form-data; name="password"\r\nContent-Type: text/plain; charset=%s\r\n\r\n\xff%s',
    b"Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''%n\r\n\r\nx",
)


@attrs.define
class Planted:
    """What was planted.

    :ivar secrets: what must be nowhere, and where each was put.
    :ivar names: names of files, likewise.
    :ivar statuses: how often what was answered.
    """

    secrets: dict[str, str] = attrs.field(factory=dict)
    names: dict[str, str] = attrs.field(factory=dict)
    statuses: Counter[str] = attrs.field(factory=Counter)

    def __len__(self) -> int:
        return len(self.secrets) + len(self.names)


class Planter:
    """Gives secrets to a daemon."""

    def __init__(self, daemon: Daemon, seed: int) -> None:
        self.planted = Planted()
        self._daemon = daemon
        self._random = random.Random(seed)
        self.answers: list[str] = []

    def plant(self, count: int) -> Planted:
        """Plant ``count`` secrets at least, and look at what the probes say; returns what was planted."""
        for work in cycle(self._works()):
            if len(self.planted) >= count:
                break
            work()
        self.answers += [
            self._ask(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()) for path in ("/readyz", "/healthz")
        ]
        return self.planted

    def _works(self) -> Iterator[Callable[[], None]]:
        odd = [lambda template=template: self._odd(template) for template in _ODD]
        odd += [lambda template=template: self._odd_part(template) for template in _ODD_PARTS]
        usual = cycle([self._as_bytes, self._as_form, self._aborted, self._failing, self._claimed])
        for work in odd:
            yield work
            yield next(usual)

    # -- what is done -----------------------------------------------------------------------------

    def _as_bytes(self) -> None:
        """Leave the bytes alone, under a name, with a password; ask for it wrongly, and rightly; take it back."""
        name, password = self._name("path"), self._secret("password in a field")
        answer = self._ask(
            f"PUT /{name}.txt HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\nFiledrop-Password: {password}\r\n"
            "Filedrop-Downloads: 2\r\nContent-Length: 7\r\n\r\ncontent".encode()
        )
        link, owner = self._tokens(answer)
        wrong, other = self._secret("wrong password"), self._secret("wrong owner")
        for line, field in (
            (f"GET {link}?password={wrong}", ""),
            (f"HEAD {link}?password={password}&x={wrong}", ""),
            (f"GET {link}/{wrong}?password={password}", ""),
            (f"GET {link}", f"Authorization: Basic {_basic(wrong, wrong)}"),
            (f"GET {link}", f"Authorization: {wrong} {wrong}"),
            (f"GET {link}?password={password}", f"Range: {wrong}\r\nIf-Range: {wrong}\r\nIf-None-Match: {wrong}"),
            (f"PATCH {link}", ""),
            (f"GET {link}/status", f"Authorization: Bearer {other}"),
            (f"GET {link}/status?{owner}", f"Authorization: Bearer {owner}"),
            (f"DELETE {link}?{owner}", f"Authorization: Bearer {owner}"),
            (f"GET {link.upper()}", f"Authorization: Basic {_basic('x', password)}"),
        ):
            self._ask(f"{line} HTTP/1.1\r\nHost: a\r\n{field or 'X: y'}\r\n\r\n".encode())

    def _as_form(self) -> None:
        """Leave a form, and fetch what is in it with a password in the head."""
        name, password = self._name("form"), self._secret("password in a form")
        answer = self._form(
            b'Content-Disposition: form-data; name="password"\r\n\r\n%s' % password.encode(),
            b'Content-Disposition: form-data; name="file"; filename="%s.bin"\r\n\r\ncontent' % name.encode(),
        )
        link, _ = self._tokens(answer)
        self._ask(f"GET {link} HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {_basic('', password)}\r\n\r\n".encode())

    def _claimed(self) -> None:
        """Fetch a part, go on with the claim's token in each of its places, and press the page's button."""
        name, password = self._name("claimed"), self._secret("password in the button's form")
        answer = self._ask(
            f"PUT /{name}.txt HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\nFiledrop-Password: {password}\r\n"
            "Filedrop-Downloads: 2\r\nContent-Length: 7\r\n\r\ncontent".encode()
        )
        link, owner = self._tokens(answer)
        agent, wrong = self._secret("program's name"), self._secret("wrong claim")
        part = self._ask(
            f"GET {link}?password={password} HTTP/1.1\r\nHost: a\r\nUser-Agent: {agent}\r\nRange: bytes=0-0\r\n\r\n".encode()
        )
        (token,) = _CLAIM.findall(part)
        for line, field in (
            (f"GET {link}?claim={token}", f"User-Agent: {agent}\r\nRange: bytes=1-1"),
            (f"GET {link}", f"Cookie: x={wrong}; filedrop-claim={token}\r\nRange: bytes=2-2"),
            (f"GET {link}", f"Filedrop-Claim: {token}\r\nRange: bytes=3-3"),
            (f"GET {link}?claim={wrong}", f"Filedrop-Claim: {wrong}\r\nCookie: filedrop-claim={wrong}"),
            (f"GET {link}", f"Accept: text/html\r\nUser-Agent: {agent} Slackbot"),
            (f"GET {link}/{token}", ""),
            (f"PUT {link}?claim={token}", "Content-Length: 0"),
        ):
            self._ask(f"{line} HTTP/1.1\r\nHost: a\r\n{field or 'X: y'}\r\n\r\n".encode())
        for body in (f"password={password}", f"password={wrong}"):
            self._ask(
                f"POST {link}?x={wrong} HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nContent-Length: {len(body)}\r\n"
                f"Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}".encode()
            )
        told = self._ask(f"GET {link}/status HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {owner}\r\n\r\n".encode())
        self.answers.append(told.replace(link.rpartition("/")[2], "").replace(name, ""))

    def _aborted(self) -> None:
        """Leave half of a form, and reset the connection."""
        name, password = self._name("aborted form"), self._secret("password in an aborted form")
        with socket.create_connection(("127.0.0.1", self._daemon.port), timeout=PATIENCE) as connection:
            body = (
                f'--b\r\nContent-Disposition: form-data; name="password"\r\n\r\n{password}\r\n'
                f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\nhalf'
            )
            connection.sendall(
                f"POST {_API} HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n"
                f"Content-Length: 999999\r\n\r\n{body}".encode()
            )
            eventually(lambda: self._daemon.files("incoming"), "the upload has begun")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        eventually(lambda: not self._daemon.files("incoming"), "nothing is left of the upload")

    def _failing(self) -> None:
        """Fetch a file whose bytes somebody deleted: that is a 500, with a traceback in the log."""
        name, password = self._name("500"), self._secret("password of a 500")
        before = set(self._daemon.files("blobs"))
        answer = self._form(
            b'Content-Disposition: form-data; name="file"; filename="%s"\r\n\r\ncontent' % name.encode(),
            b'Content-Disposition: form-data; name="password"\r\n\r\n%s' % password.encode(),
        )
        link, _ = self._tokens(answer)
        for blob in set(self._daemon.files("blobs")) - before:
            blob.unlink()
        self._ask(f"GET {link}?password={password} HTTP/1.1\r\nHost: a\r\nReferer: {link}\r\n\r\n".encode())

    def _odd(self, template: bytes) -> None:
        self._ask(self._filled(template), ends=True)

    def _odd_part(self, template: bytes) -> None:
        file = b'Content-Disposition: form-data; name="file"; filename="x"\r\n\r\ncontent'
        self._form(self._filled(template), file)

    # -- on the wire ------------------------------------------------------------------------------

    def _form(self, *parts: bytes) -> str:
        body = b"".join(b"--b\r\n%s\r\n" % part for part in parts) + b"--b--\r\n"
        return self._ask(
            b"POST /api/v1.0/file HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )

    def _ask(self, data: bytes, *, ends: bool = False) -> str:
        """Send ``data`` on a connection of its own, with nothing behind it if it ``ends`` there; return the answer."""
        received = b""
        with (
            contextlib.suppress(ConnectionError),  # refused before all was sent
            socket.create_connection(("127.0.0.1", self._daemon.port), timeout=PATIENCE) as connection,
        ):
            connection.sendall(data)
            if ends:
                connection.shutdown(socket.SHUT_WR)
            while not _is_answer(received, data) and (piece := connection.recv(2**16)):
                received += piece
        self.planted.statuses[received[9:12].decode("ascii", "replace") or "nothing"] += 1
        answer = received.decode("utf-8", "replace")
        self.planted.secrets |= dict.fromkeys(_CLAIM.findall(answer), "claim's token")
        return answer

    def _tokens(self, answer: str) -> tuple[str, str]:
        link, owner = _LINK.search(answer), _OWNER.search(answer)
        if link is None or owner is None:
            raise AssertionError(f"not kept: {answer}")
        self.planted.secrets |= {link.group(1): "link", owner.group(1): "owner's token"}
        return link.group(0), owner.group(1)

    def _filled(self, template: bytes) -> bytes:
        where = repr(template[:60])
        if b"%n" in template:
            template = template.replace(b"%n", self._name(where).encode())
        else:
            template = template.replace(b"%s", self._secret(where).encode())
        return template.replace(b"%%", b"%")

    def _secret(self, where: str) -> str:
        secret = "".join(self._random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=32))
        self.planted.secrets[secret] = where
        return secret

    def _name(self, where: str) -> str:
        secret = self._secret(where)
        self.planted.names[secret] = self.planted.secrets.pop(secret)
        return secret


def found(daemon: Daemon, planted: Planted, answers: list[str]) -> list[str]:
    """Return where something that was planted can be read, in words."""
    names = "\n".join(map(str, daemon.data.rglob("*"))).encode()
    files = [path for path in daemon.data.rglob("*") if path.is_file()]
    kept = b"\n".join(path.read_bytes() for path in files)
    places = {
        "the log": daemon.log().encode(),
        "the names of files": names,
        "a probe's answer": "\n".join(answers).encode(),
    }
    faults = []
    for secret, where in (planted.secrets | planted.names).items():
        searched = places if secret in planted.names else {**places, "the data directory": kept}
        for place, content in searched.items():
            if any(form in content for form in _forms(secret)):
                faults.append(f"{secret} ({where}) is in {place}")
    return faults


def _forms(secret: str) -> list[bytes]:
    """Return what to look for: either end of it, as it is, in capitals, in base64, and as the bytes that it means."""
    ends = [secret[:_PART], secret[-_PART:]]
    forms = [end.encode() for end in ends] + [end.upper().encode() for end in ends]
    # Of each position in base64's groups of three, what is the same whatever is around it.
    forms += [base64.b64encode(b"x" * shift + secret.encode())[4:20] for shift in range(3)]
    if _TOKEN.fullmatch(secret):
        forms += [bytes.fromhex(end) for end in (secret[:16], secret[16:])]
    return forms


def _is_answer(received: bytes, asked: bytes) -> bool:
    """Tell whether ``received`` is a whole answer."""
    head, end, body = received.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    nothing = asked.startswith(b"HEAD ") or length is None
    return bool(end) and (nothing or len(body) >= int(length.group(1) if length else 0))


def _basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def searched(folder: Path, count: int, *options: str, seed: int) -> tuple[Planted, list[str], str]:
    """Run a daemon, plant ``count`` secrets, stop it; returns them, where they were found, and the log."""
    daemon = Daemon(folder, "--password-memory=1MiB", "--password-time=1", "--head-timeout=1s", *options).start()
    try:
        planter = Planter(daemon, seed)
        planted = planter.plant(count)
        faults = found(daemon, planted, planter.answers)  # while its database has a write-ahead log
        daemon.stop()
        return planted, faults + found(daemon, planted, planter.answers), daemon.log()
    finally:
        daemon.kill()


def main() -> None:
    """Plant, search and tell."""
    parser = argparse.ArgumentParser(description="Plant secrets in a daemon, and look where they stayed.")
    parser.add_argument("--secrets", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    given = parser.parse_args()
    faults = []
    for log_format in ("text", "json"):
        with tempfile.TemporaryDirectory(prefix="filedropd-planted-") as folder:
            planted, here, log = searched(Path(folder), given.secrets, f"--log-format={log_format}", seed=given.seed)
        answers = ", ".join(f"{number} times {status}" for status, number in sorted(planted.statuses.items()))
        sys.stdout.write(
            f"{log_format}: {len(planted.secrets)} tokens and passwords, {len(planted.names)} names; answered {answers};"
            f" searched {len(log.splitlines())} lines of log; found {len(here)}\n"
        )
        faults += here
    sys.stdout.write("".join(f"{fault}\n" for fault in faults))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
