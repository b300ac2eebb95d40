"""What Twisted says went wrong, in words."""

from __future__ import annotations

from typing import Final

from OpenSSL.SSL import Error as TLSError
from service_identity import VerificationError
from twisted.internet import error as network
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.web.error import SchemeNotSupported

from filedropd.client.errors import ClientError, Local, Stalled, Unreachable, Untrusted

#: What each kind of error is, in words; the first that fits.
_KINDS: Final[tuple[tuple[type[Exception], type[ClientError], str], ...]] = (
    (VerificationError, Untrusted, "The certificate is not that of {host}. Check the address."),
    (network.DNSLookupError, Unreachable, "There is no host {host}. Check the address, and that you are connected."),
    (network.ConnectionRefusedError, Unreachable, "Nothing answers at {host}. Check the address, or try again later."),
    (network.TimeoutError, Unreachable, "{host} does not answer. Check the address, or try again later."),
    (network.UserError, Unreachable, "{host} does not answer. Check the address, or try again later."),
    (CancelledError, Stalled, "{host} did not answer in time. Try again later."),
    (SchemeNotSupported, Local, "An address begins with http:// or https://."),
    (network.ConnectError, Unreachable, "{host} cannot be reached. Check the address, or try again later."),
)


def explained(error: Exception, host: str) -> ClientError:
    """Return ``error``, which befell a request to ``host``, as one of ours; nothing is raised."""
    for each in _causes(error):
        if isinstance(each, ClientError):
            return each
        if isinstance(each, TLSError):
            return _tls(each, host)
        for kind, ours, words in _KINDS:
            if isinstance(each, kind):
                return ours(words.format(host=host))
    return Unreachable(f"The connection to {host} broke. Try again.")


def cancelled(error: Exception) -> bool:
    """Tell whether a request ended because somebody cancelled it; Twisted may wrap that, too."""
    return any(isinstance(each, CancelledError) for each in _causes(error))


def _causes(error: BaseException) -> list[BaseException]:
    """Return ``error`` and what Twisted wraps in it, from the inside."""
    found: list[BaseException] = []
    for reason in getattr(error, "reasons", ()):
        cause = reason.value if isinstance(reason, Failure) else reason
        found += _causes(cause) if isinstance(cause, BaseException) else []
    return [*found, error]


def _tls(error: TLSError, host: str) -> ClientError:
    words = ", ".join(entry[2] for entry in error.args[0]) if error.args and isinstance(error.args[0], list) else ""
    if "certificate" in words:
        return Untrusted(
            f"The certificate of {host} is not trusted ({words}). If you know its authority, name it with --ca; "
            "--insecure trusts anybody."
        )
    return Untrusted(f"There is no encrypted connection to {host}: {words or 'it was closed'}. Is it https?")
