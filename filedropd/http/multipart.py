"""Form uploads (RFC 7578): a streaming body in, fields and files out, in the order in which they come.

The library `multipart` parses; this module streams, decodes names and bounds what a form may cost.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Final
from urllib.parse import unquote

import attrs
from multipart import MultipartError, MultipartSegment, PushMultipartParser
from werkzeug.http import parse_options_header

from filedropd.errors import BadRequest

#: Parts of one form.
MAX_PARTS: Final = 64
#: Header fields of one part, and bytes of one of them.
MAX_PART_FIELDS: Final = 16
MAX_PART_FIELD: Final = 8 * 1024
#: Bytes of the value of one field that is not a file.
MAX_VALUE: Final = 8 * 1024
#: Bytes that a form may have beyond the bytes of its file.
MAX_OVERHEAD: Final = 256 * 1024
_MAX_BOUNDARY: Final = 70

# What is not closed goes to the end, or each quote in it would be tried for a beginning.
_QUOTED: Final = re.compile(r'"(?:\\.|[^"\\])*+("?)')
# RFC 8187 section 3.2.1, as one token: what is quoted, or in another charset, goes the way of all other parameters.
_EXTENDED_NAME: Final = re.compile(
    r";\s*filename\*\s*=\s*(?:utf-8|iso-8859-1)'[^\s';,\"]*'([^\s;,\"]*)(?=\s*(?:;|$))", re.IGNORECASE
)
_PARAMETER: Final = re.compile(r";\s*([^\s=;]+)\s*=")


@attrs.frozen
class Field:
    """A field that is not a file.

    :ivar value: its text, or ``None`` where it is not UTF-8.
    """

    name: str
    value: str | None = attrs.field(repr=False)


@attrs.frozen
class FilePart:
    """A file begins; :class:`FileData` follows, and then the next part or the end.

    :ivar filename: as the client gave it; empty where it gave none.
    :ivar content_type: as the client gave it, unchecked; ``None`` where it gave none.
    """

    name: str
    filename: str = attrs.field(repr=False)
    content_type: str | None


@attrs.frozen
class FileData:
    """Some bytes of the file that began last."""

    data: bytes = attrs.field(repr=False)


Part = Field | FilePart | FileData


def is_form(content_type: str | None) -> bool:
    """Tell whether a Content-Type announces a form with files."""
    return content_type is not None and content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def boundary(content_type: str) -> bytes:
    """Return the boundary that a multipart Content-Type names.

    :raises BadRequest: none, or not one (RFC 2046 section 5.1.1).
    """
    value = parse_options_header(content_type)[1].get("boundary", "")
    if not 0 < len(value) <= _MAX_BOUNDARY or not value.isascii() or not value.isprintable():
        raise BadRequest("The form's boundary is missing or malformed.")
    return value.encode("ascii")


async def read_form(body: AsyncIterator[bytes], content_type: str, file_field: str) -> AsyncIterator[Part]:
    """Iterate over the parts of a form.

    A part named ``file_field`` is a file, with or without a file name, and so is any part that has
    a file name; all others are fields.

    :raises BadRequest: it is not a form, it is cut short, or it is over a limit.
    """
    reader = _FormReader(boundary(content_type), file_field)
    async for piece in body:
        for part in reader.feed(piece):
            yield part
    reader.end()


class _FormReader:
    """Turns the library's segments and pieces into parts."""

    def __init__(self, boundary: bytes, file_field: str) -> None:
        self._file_field = file_field
        self._opening = b"--" + boundary
        self._begun: bytes | None = b""  # what has come while it is not known to begin as it must
        try:
            self._parser = PushMultipartParser(
                boundary,
                max_header_size=MAX_PART_FIELD,
                max_header_count=MAX_PART_FIELDS,
                max_segment_count=MAX_PARTS,
                header_charset="latin-1",  # any octet: names are decoded below
                # Strict, it takes the line end behind the last delimiter for an error, if that comes alone.
                strict=False,
            )
        except MultipartError as error:
            raise _malformed(error) from error
        self._name: str | None = None  # of the field whose value is being collected
        self._value = b""
        self._received = 0
        self._carried = 0

    def feed(self, data: bytes) -> Iterator[Part]:
        self._received += len(data)
        for event in self._events(data):
            if isinstance(event, MultipartSegment):
                yield from self._begin(event)
            elif event is None:
                yield from self._end_part()
            else:
                yield from self._piece(bytes(event))
        if self._received - self._carried > MAX_OVERHEAD:
            raise BadRequest("The form has too much besides the file.")

    def _events(self, data: bytes) -> Iterator[MultipartSegment | bytearray | bytes | None]:
        """Iterate over what the library finds; its errors become ours."""
        if self._begun is not None:
            data = self._opened(self._begun + data)
        if not data:
            return
        try:
            yield from self._parser.parse(data)
        except MultipartError as error:
            raise _malformed(error) from error

    def _opened(self, data: bytes) -> bytes:
        """Hold ``data`` back until it is known to begin with the boundary; then return it."""
        self._begun = None if len(data) >= len(self._opening) else data
        if not data.startswith(self._opening[: len(data)]):
            raise BadRequest("The form does not begin with its boundary.")
        return data if self._begun is None else b""

    def end(self) -> None:
        try:
            self._parser.close()  # type: ignore[no-untyped-call]  # the library has no annotations there
        except MultipartError as error:
            raise BadRequest("The form is cut short: its closing boundary is missing.") from error

    def _begin(self, segment: MultipartSegment) -> Iterator[Part]:
        name, filename = _disposition(segment)
        if filename is not None or name == self._file_field:
            self._name = None
            yield FilePart(name, filename or "", segment.header("Content-Type"))
        else:
            self._name, self._value = name, b""

    def _piece(self, data: bytes) -> Iterator[Part]:
        if self._name is None:
            self._carried += len(data)
            yield FileData(data)
            return
        self._value += data
        if len(self._value) > MAX_VALUE:
            raise BadRequest(f"A field of the form is longer than {MAX_VALUE} bytes.")

    def _end_part(self) -> Iterator[Part]:
        if self._name is not None:
            try:
                value: str | None = self._value.decode("utf-8")
            except UnicodeDecodeError:
                value = None
            yield Field(self._name, value)
            self._name = None


def _disposition(segment: MultipartSegment) -> tuple[str, str | None]:
    """Return a part's name and file name.

    File names come as raw UTF-8 (browsers, curl, requests), percent-encoded where a quote would end
    them (the HTML standard), or as ``filename*`` (older libraries), which RFC 7578 section 4.2
    forbids to send and does no harm to read.
    """
    fields = [value for field, value in segment.headerlist if field == "Content-Disposition"]
    text = fields[0]
    parameters = _PARAMETER.findall(_unquoted(text.lower()))
    if len(fields) > 1 or len(parameters) != len(set(parameters)) or "name*" in parameters:
        raise BadRequest("A part of the form has an ambiguous Content-Disposition.")
    if not segment.name:
        raise BadRequest("A part of the form has no name.")
    if "filename*" in parameters:
        return _decoded(segment.name) or "", _extended_name(text)
    return _decoded(segment.name) or "", _decoded(segment.filename)


def _extended_name(text: str) -> str:
    """Return the file name that ``filename*`` gives in a Content-Disposition; empty where it gives none."""
    extended = _EXTENDED_NAME.search(_unquoted(text))
    if extended is None:
        return parse_options_header(text)[1].get("filename", "")
    return _decoded(unquote(extended[1], "latin-1")) or ""


def _unquoted(text: str) -> str:
    """Return ``text`` with nothing in its quotes; what stands behind one that is not closed stays."""
    return _QUOTED.sub(lambda match: '""' if match[1] else match[0], text)


def _decoded(text: str | None) -> str | None:
    """Return octets that were read as Latin-1 as what they are: UTF-8, or else Latin-1."""
    if text is None:
        return None
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return text


def _malformed(error: MultipartError) -> BadRequest:
    return BadRequest(f"The form is malformed or over a limit: {error}.")
