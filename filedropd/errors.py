"""All that can go wrong for a client, as one tree.

Each class says *what kind* of thing happened; its ``detail`` says, in words for the person who
made the request, what happened and what to do about it.  What each becomes on the wire is said
once, in :mod:`filedropd.web.problems`.

Nothing here ever carries a secret: a ``detail`` may be shown to anybody and may be logged.
"""

from __future__ import annotations

from typing import ClassVar


class FiledropError(Exception):
    """Something went wrong for a client.

    :ivar detail: one or two sentences for the client: what happened, what to do.
    """

    default: ClassVar[str] = "Something went wrong."

    def __init__(self, detail: str = "") -> None:
        self.detail = detail or self.default
        super().__init__(self.detail)


# -- the message itself: raised by http/, and the connection cannot go on after any of them ------


class ProtocolError(FiledropError):
    """The bytes on the connection are not a request that we can trust to end where it says."""


class MalformedRequest(ProtocolError):
    """Not HTTP/1.1 by the letter of RFC 9112."""

    default = "The request is not well-formed HTTP/1.1."


class TargetTooLong(ProtocolError):
    """The request target is longer than ``--target-limit``."""

    default = "The address is too long."


class HeadTooLarge(ProtocolError):
    """The header section is larger than ``--header-limit`` or has more fields than ``--header-count``."""

    default = "The request's header fields are too large. Send fewer or shorter ones."


class BodyTooLarge(ProtocolError):
    """A declared length or a chunk size that no number here can hold."""

    default = "The declared length is larger than anything that can be stored here."


class MethodNotImplemented(ProtocolError):
    """A method that this server does not know (RFC 9110 section 9.1: methods are case-sensitive)."""

    default = "This method is not known here. Methods are written in capitals."


class VersionNotSupported(ProtocolError):
    """A version other than HTTP/1.0 and HTTP/1.1."""

    default = "Use HTTP/1.1."


class ExpectationFailed(ProtocolError):
    """An ``Expect`` other than ``100-continue``."""

    default = "The only expectation that can be met here is 100-continue."


class RequestTimeout(ProtocolError):
    """A head or a body that arrives too slowly."""

    default = "The request took too long to arrive. Try again, on a faster connection."


class ClientGone(FiledropError):
    """The client closed the connection; there is nobody left to answer."""

    default = "The client closed the connection."


# -- what was asked ------------------------------------------------------------------------------


class BadRequest(FiledropError):
    """Well-formed HTTP that asks for something that makes no sense.

    :ivar about: what of an upload is wrong, for pages that say it in their own words: ``file``, ``password``,
        ``expires`` or ``downloads``; empty for the rest.
    """

    default = "The request could not be understood."

    def __init__(self, detail: str = "", *, about: str = "") -> None:
        self.about = about
        super().__init__(detail)


class DigestMismatch(BadRequest):
    """The bytes that came are not those that their sender described (RFC 9530)."""

    def __init__(self, source: str, algorithm: str) -> None:
        super().__init__(
            f"What came is not what {source} describes: it has another {algorithm}. "
            "Nothing of it was kept. Send it again, or say what it is."
        )


class LengthRequired(FiledropError):
    """An upload by POST that says neither how long it is nor that it is chunked."""

    default = "Say how long the body is (Content-Length), or send it chunked."


class TooLarge(FiledropError):
    """More bytes than ``--max-file-size`` allows.

    :ivar limit: bytes that would have been accepted.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"A file may have {limit} bytes at most.")


class UnsupportedMediaType(FiledropError):
    """A content coding or type that is not taken."""

    default = "Send the file as it is, without a content coding."


class ForeignOrigin(FiledropError):
    """A page of another site asks for what only our own may ask for."""

    default = "Files are taken from this site's own page and from programs, and not from other sites' pages."


class NotFound(FiledropError):
    """There is nothing there, never was, or it is forgotten."""

    default = "There is no such file here. Check the link for a missing or changed character."


class MethodNotAllowed(FiledropError):
    """A method that the resource does not have.

    :ivar allowed: those that it has.
    """

    def __init__(self, allowed: list[str]) -> None:
        self.allowed = allowed
        super().__init__(f"What can be done here: {', '.join(allowed)}.")


class Gone(FiledropError):
    """There was a file, and now there is none.

    :ivar reason: ``delivered``, ``expired``, ``revoked`` or ``abandoned``.
    """

    details: ClassVar[dict[str, str]] = {
        "delivered": "The file was downloaded as often as its sender allowed, and is gone.",
        "expired": "The file was kept until its expiry, and is gone. Ask its sender for a new link.",
        "revoked": "The file was taken back by its sender.",
        "abandoned": "The file's download was begun and given up too often, and it is gone. Ask its sender for a new link.",
    }

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(self.details.get(reason, "The file is gone."))


class Unauthorized(FiledropError):
    """A password or an owner token is missing or wrong; which of the two is not said.

    :ivar challenge: what ``WWW-Authenticate`` asks for.
    """

    def __init__(self, detail: str, challenge: str) -> None:
        self.challenge = challenge
        super().__init__(detail)


class PasswordRequired(Unauthorized):
    """The drop has a password and the request does not show it."""

    def __init__(self) -> None:
        super().__init__(
            "The password is missing or wrong. Give it as ?password=, by HTTP Basic or as Filedrop-Password.",
            'Basic realm="filedropd", charset="UTF-8"',
        )


class OwnerRequired(Unauthorized):
    """The request does not show the drop's owner token."""

    def __init__(self) -> None:
        super().__init__(
            "The owner token is missing or wrong. Give it as Authorization: Bearer <owner_token>.",
            'Bearer realm="filedropd"',
        )


class Locked(FiledropError):
    """Others have begun to download the copies that are left; whether bytes are on their way now is not said.

    :ivar retry_after: seconds after which it makes sense to ask again.
    """

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(
            "Somebody has begun to download this file. If that breaks off and is not taken up again, "
            "it can be had again: try later."
        )


class TooManyRequests(FiledropError):
    """More of something than one client, or all of them together, may do for now.

    :ivar retry_after: seconds after which it makes sense to ask again.
    """

    def __init__(self, retry_after: int, detail: str = "") -> None:
        self.retry_after = retry_after
        super().__init__(detail or f"That was too often. Try again in {retry_after} s.")


class PreconditionFailed(FiledropError):
    """An ``If-Match`` that names another file than the one that is there (RFC 9110 section 15.5.13)."""

    default = "The file is not the one that If-Match names. Nothing of it was handed out."


class RangeNotSatisfiable(FiledropError):
    """A ``Range`` that begins behind the end of the file (RFC 9110 section 15.5.17).

    :ivar size: of the file, in bytes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(f"The file has {size} bytes; the range asked for lies outside.")


# -- our side ------------------------------------------------------------------------------------


class Unavailable(FiledropError):
    """We cannot do it now, for a reason that passes.

    :ivar retry_after: seconds after which it makes sense to ask again.
    """

    default = "The service is busy. Try again in a moment."

    def __init__(self, detail: str = "", retry_after: int = 1) -> None:
        self.retry_after = retry_after
        super().__init__(detail)


class InsufficientStorage(FiledropError):
    """There is no room for the file."""

    default = "There is no room for this file now. Nothing of it was kept. Try again later."
