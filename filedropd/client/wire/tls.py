"""Whom to trust under https."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

from cryptography.x509 import load_pem_x509_certificates
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from filedropd.client.errors import Local


@implementer(IPolicyForHTTPS)
class Trust:
    """Verifies that a server's certificate is its own and that somebody we trust says so.

    Without ``ca`` those are trusted whom this machine trusts; OpenSSL's ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` say
    otherwise.

    :param ca: a file of PEM certificates, which alone are trusted then.
    :raises Local: it cannot be read, or holds none.
    """

    def __init__(self, ca: Path | None = None) -> None:
        self._root: Any = platformTrust() if ca is None else trustRootFromCertificates(_certificates(ca))

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        """See IPolicyForHTTPS."""
        return optionsForClientTLS(hostname.decode("ascii"), trustRoot=self._root)


def _certificates(path: Path) -> list[Certificate]:
    try:
        found = load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise Local(f"The certificates in {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise Local(f"{path} holds no certificates in PEM form.") from error
    return [Certificate(X509.from_cryptography(certificate)) for certificate in found]


@implementer(IPolicyForHTTPS)
class Anybody:
    """Encrypts, to whoever answers: ``--insecure``."""

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        """See IPolicyForHTTPS."""
        return _Unverified(hostname)


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    def __init__(self, hostname: bytes) -> None:
        self._hostname = hostname
        self._context = CertificateOptions(verify=False).getContext()

    def clientConnectionForTLS(self, _protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See IOpenSSLClientConnectionCreator."""
        connection = SSL.Connection(self._context, None)
        try:
            ipaddress.ip_address(self._hostname.decode("ascii"))
        except ValueError:  # RFC 6066 section 3: no addresses in server_name
            connection.set_tlsext_host_name(self._hostname)
        return connection
