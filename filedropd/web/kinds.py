"""What sort of thing a file is, as people call it, by the media type that its sender gave: a hint, and no promise."""

from __future__ import annotations

import re
from typing import Final

_KINDS: Final = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("pdf", r"application/pdf\b"),
        ("sheet", r"application/(?:vnd\.ms-excel|.*spreadsheet|csv)|text/csv"),
        ("slides", r"application/(?:vnd\.ms-powerpoint|.*presentation)"),
        ("document", r"application/(?:msword|rtf|vnd\.openxmlformats.*wordprocessing|vnd\.oasis\.opendocument\.text)"),
        ("archive", r"application/(?:zip|gzip|x-(?:tar|gtar|bzip2?|xz|7z-compressed|rar.*)|vnd\.rar|zstd)"),
        (
            "program",
            r"application/(?:x-(?:msdownload|msdos-program|executable|sh|elf|apple-diskimage|msi|debian-package)"
            r"|vnd\.(?:microsoft\.portable-executable|android\.package-archive|debian\.binary-package)|java-archive)",
        ),
        ("image", r"image/"),
        ("video", r"video/"),
        ("audio", r"audio/"),
        ("text", r"text/|application/(?:json|xml|yaml|toml)"),
    )
)


def kind(content_type: str) -> str:
    """Return the name of a file's sort, as the catalogues have it under ``kinds``; ``other`` where it is not known."""
    lowered = content_type.lower()
    return next((name for name, pattern in _KINDS if pattern.match(lowered)), "other")
