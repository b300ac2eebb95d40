"""An upload request becomes a drop: what its head tells is judged first, then its body streams in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import attrs

from filedropd.digests import Summing, check
from filedropd.drops import Drops
from filedropd.errors import BadRequest, LengthRequired, TooLarge, UnsupportedMediaType
from filedropd.http.body import Body
from filedropd.http.multipart import MAX_OVERHEAD, Field, FileData, FilePart, is_form, read_form
from filedropd.http.request import Request
from filedropd.names import safe_name
from filedropd.upload import Receipt, Upload
from filedropd.web import digests, fields

#: The name of the form's part that carries the file.
FILE_FIELD: Final = "file"

_NO_FILE: Final = (
    f"There is no file. Send a form with a part named {FILE_FIELD!r} (curl -F {FILE_FIELD}=@name), "
    "or PUT the bytes alone (curl -T name)."
)


@attrs.frozen
class _Received:
    """An upload whose bytes are in, before it is kept.

    :ivar filename: as its sender gave it.
    :ivar content_type: likewise.
    :ivar options: those of the form.
    """

    filename: str = attrs.field(repr=False)
    content_type: str | None
    options: dict[str, str] = attrs.field(repr=False)


async def receive(
    request: Request, drops: Drops, *, client: str | None, name: str = "", form_only: bool = False
) -> Receipt:
    """Keep what ``request`` uploads, as a form or as the bytes alone.

    :param client: from where it comes, as limits call it.
    :param name: what a file is called that comes alone.
    :param form_only: the bytes alone are not taken here.
    :raises FiledropError: it cannot be kept; nothing of it is.
    """
    content_type = request.header("Content-Type")
    form = is_form(content_type)
    options = fields.header_options(request)
    fields.terms(options, drops.rules)
    said = digests.asked(request)
    _check_declared(request, drops.rules.max_file_size, form=form)
    if not form and (form_only or _is_urlencoded(content_type)):
        raise BadRequest(_NO_FILE, about="file")
    await drops.admit(client)
    # Who waits to be asked for the body is told first whether there is room.
    expected = None if request.head.expects_continue else request.body.length
    async with drops.upload(expected) as upload:
        if form:
            received = await _read_checked(request, drops, upload, said)
        else:
            await _copy(request.body, upload, said)
            received = _Received(name, content_type, {})
        safe = safe_name(received.filename)
        return await upload.keep(
            safe,
            fields.content_type(received.content_type, safe),
            fields.terms(options | received.options, drops.rules),
        )


def _check_declared(request: Request, limit: int, *, form: bool) -> None:
    coding = request.header("Content-Encoding")
    if coding is not None and coding.strip().lower() not in {"", "identity"}:
        raise UnsupportedMediaType
    length = request.body.length
    if length == 0 and request.header("Content-Length") is None:
        raise LengthRequired
    if length is not None and length > limit + (MAX_OVERHEAD if form else 0):
        raise TooLarge(limit)


async def _copy(body: Body, upload: Upload, said: digests.Asked) -> None:
    """Read the bytes alone into ``upload``; where their digest matters, not past Python.

    To read a file again that has come in past Python would be less work for the reactor's thread, but its client would
    wait for it at the end, and where memory is short it is read from the disk.
    """
    if not (said.wanted or said.expected):
        await body.copy_to(upload)
        return
    upload.hold_to(said.expected)
    async for piece in body:
        await upload.write(piece)


async def _read_checked(request: Request, drops: Drops, upload: Upload, said: digests.Asked) -> _Received:
    """Read a form to its end, as :func:`_read` does, and check what is said of all of it."""
    if not said.expected:
        return await _read(request, request.body, upload)
    summing = drops.summing({each.algorithm for each in said.expected})
    received = await _read(request, _Summed(request.body, summing), upload)
    check(said.expected, await summing.digests())
    return received


class _Summed:
    """A body whose digests are worked out as it is read."""

    def __init__(self, body: AsyncIterator[bytes], summing: Summing) -> None:
        self._body = body
        self._summing = summing

    def __aiter__(self) -> _Summed:
        return self

    async def __anext__(self) -> bytes:
        piece = await anext(self._body)
        await self._summing.take(piece)
        return piece


async def _read(request: Request, body: AsyncIterator[bytes], upload: Upload) -> _Received:
    """Read a form to its end, its file into ``upload``."""
    file: FilePart | None = None
    options: dict[str, str] = {}
    async for part in read_form(body, request.header("Content-Type") or "", FILE_FIELD):
        match part:
            case FileData():
                await upload.write(part.data)
            case FilePart():
                file = _only(file, part)
            case Field() if part.name in fields.OPTIONS:
                if part.value is None or part.name in options:
                    raise BadRequest(f"{part.name} must be given once, in UTF-8.")
                options[part.name] = part.value
    if file is None:
        raise BadRequest(_NO_FILE, about="file")
    return _Received(file.filename, file.content_type, options)


def _only(before: FilePart | None, part: FilePart) -> FilePart:
    if before is not None:
        raise BadRequest("There are two files. Send one, and the other with a form of its own.", about="file")
    if part.name != FILE_FIELD:
        raise BadRequest(f"The file must be in the part named {FILE_FIELD!r}.", about="file")
    return part


def _is_urlencoded(content_type: str | None) -> bool:
    return (content_type or "").partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"
