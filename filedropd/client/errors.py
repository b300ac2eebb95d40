"""All that can go wrong between here and a filedropd, as one tree.

Each class says *what kind* of thing happened; its text says, in a sentence or two for whoever gave the order,
what happened and what to do about it. What each becomes as an exit status is said once, in
:mod:`filedropd.client.commands.exits`.

No text here carries a password or an owner's token. A link is repeated only to whoever gave it.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class ClientError(Exception):
    """Something went wrong.

    :ivar detail: what happened, and what to do.
    """

    default: ClassVar[str] = "Something went wrong."

    def __init__(self, detail: str = "") -> None:
        self.detail = detail or self.default
        super().__init__(self.detail)


# -- the way there ---------------------------------------------------------------------------------


class Unreachable(ClientError):
    """There is no connection to the server, or it broke and could not be had again within the time given."""

    default = "The server cannot be reached. Try again later."


class Untrusted(Unreachable):
    """The server's certificate is not one that we trust, or there is no talking with it under TLS at all."""

    default = (
        "The server's certificate is not trusted. If you know its authority, name it with --ca; "
        "--insecure trusts anybody."
    )


class Stalled(Unreachable):
    """Nothing arrives, or nothing is taken, although the connection stands."""

    default = "The server has gone quiet. Try again later."


# -- what the server said --------------------------------------------------------------------------


class Refused(ClientError):
    """The server answered, and the answer is no.

    :ivar status: the HTTP status code.
    """

    default = "The server refused this."

    def __init__(self, detail: str = "", *, status: int = 400) -> None:
        self.status = status
        super().__init__(detail)


class Unauthorized(Refused):
    """401: the password, or the owner's token, is missing or wrong."""

    default = "The password is missing or wrong."

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, status=401)


class PasswordRequired(Unauthorized):
    """401: the file has a password, and none was shown or a wrong one."""

    default = "The password is missing or wrong. Give it with --password, --password-file or FILEDROP_PASSWORD."


class OwnerRequired(Unauthorized):
    """401: the owner's token is not this drop's."""

    default = "The owner's token is not the one that this drop was left with."


class NotFound(Refused):
    """404: there is no such drop, or it is long forgotten."""

    default = "There is no such file there, or its link is long forgotten. Check the link for a missing character."

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, status=404)


class Gone(Refused):
    """410: there was a file, and now there is none.

    :ivar reason: ``delivered``, ``expired``, ``revoked`` or ``abandoned``; empty where the server did not say.
    """

    details: ClassVar[dict[str, str]] = {
        "delivered": "The file is gone: it was downloaded as often as its sender allowed. Ask its sender for a new link.",
        "expired": "The file is gone: its time was over. Ask its sender for a new link.",
        "revoked": "The file is gone: its sender took it back.",
        "abandoned": (
            "The file is gone: its download was begun and given up too often. Ask its sender for a new link."
        ),
    }

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(self.details.get(reason, "The file is gone. Ask its sender for a new link."), status=410)


class TooLarge(Refused):
    """413: the server takes no file of this size."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or "The file is larger than the server takes.", status=413)


class Later(Refused):
    """The server cannot do it now; it may later.

    :ivar retry_after: seconds after which it makes sense to ask again (RFC 9110 section 10.2.3); ``None`` where
        the server did not say.
    """

    def __init__(self, detail: str = "", *, status: int, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(detail, status=status)


class Locked(Later):
    """423: somebody else has begun to download the last copy that is free."""

    default = (
        "Somebody else has begun to download this file. If that breaks off and is not taken up again it can be had: "
        "try later, or add --wait."
    )

    def __init__(self, *, retry_after: float | None = None) -> None:
        super().__init__(status=423, retry_after=retry_after)


class TooManyRequests(Later):
    """429: too often, here or in all."""

    def __init__(self, *, retry_after: float | None = None) -> None:
        super().__init__(f"That was too often. {_when(retry_after)}", status=429, retry_after=retry_after)


class Unavailable(Later):
    """503: the server, or what stands before it, cannot answer now."""

    def __init__(self, *, status: int = 503, retry_after: float | None = None) -> None:
        super().__init__(f"The server is busy or down. {_when(retry_after)}", status=status, retry_after=retry_after)


class NoRoom(Later):
    """507: the server has no room for the file."""

    default = "The server has no room for this file now. Nothing of it was kept. Try again later."

    def __init__(self, *, retry_after: float | None = None) -> None:
        super().__init__(status=507, retry_after=retry_after)


class NotADrop(Refused):
    """What answers is no filedropd, or the address leads to nothing of it."""

    default = "What answers there is no filedropd. Check the address."


class Redirected(NotADrop):
    """3xx: the server sends us elsewhere, and we do not take secrets there unasked.

    :ivar location: where.
    """

    def __init__(self, location: str, *, status: int) -> None:
        self.location = location
        super().__init__(
            f"The server sends us to {location or 'another place'}. If you trust that, use that address.",
            status=status,
        )


# -- what came -------------------------------------------------------------------------------------


class Damaged(ClientError):
    """What arrived is not what was sent: its size or its digest is another one."""

    default = "What arrived is not what was sent. Nothing of it was kept; try again."


# -- this side -------------------------------------------------------------------------------------


class Local(ClientError):
    """Something on this machine is in the way."""


class Exists(Local):
    """There is a file of that name, and it is not overwritten unasked.

    :ivar path: it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"{path} exists. Name another file with -o, or overwrite it with --force.")


class InTheWay(Local):
    """A file that belongs to another download, or to nobody we know, has the name that a part needs.

    :ivar path: it.
    """

    def __init__(self, path: Path, why: str) -> None:
        self.path = path
        super().__init__(f"{path} {why}")


class NotReadable(Local):
    """What is to be left cannot be read, or not as often as it takes."""


def _when(retry_after: float | None) -> str:
    return "Try again later." if retry_after is None else f"Try again in {retry_after:.0f} s."
