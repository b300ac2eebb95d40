"""An upload request becomes a drop: what its head tells is judged first, then its body streams in."""

from __future__ import annotations

from typing import Final

import attrs

from filedropd.drops import Drops
from filedropd.errors import BadRequest, LengthRequired, TooLarge, UnsupportedMediaType
from filedropd.http.disposition import safe_name
from filedropd.http.multipart import MAX_OVERHEAD, Field, FileData, FilePart, is_form, read_form
from filedropd.http.request import Request
from filedropd.upload import Receipt, Upload
from filedropd.web import fields

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
    _check_declared(request, drops.rules.max_file_size, form=form)
    if not form and (form_only or _is_urlencoded(content_type)):
        raise BadRequest(_NO_FILE)
    await drops.admit(client)
    # Who waits to be asked for the body is told first whether there is room.
    expected = None if request.head.expects_continue else request.body.length
    async with drops.upload(expected) as upload:
        if form:
            received = await _read(request, upload)
        else:
            await request.body.copy_to(upload)
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


async def _read(request: Request, upload: Upload) -> _Received:
    """Read a form to its end, its file into ``upload``."""
    file: FilePart | None = None
    options: dict[str, str] = {}
    async for part in read_form(request.body, request.header("Content-Type") or "", FILE_FIELD):
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
        raise BadRequest(_NO_FILE)
    return _Received(file.filename, file.content_type, options)


def _only(before: FilePart | None, part: FilePart) -> FilePart:
    if before is not None:
        raise BadRequest("There are two files. Send one, and the other with a form of its own.")
    if part.name != FILE_FIELD:
        raise BadRequest(f"The file must be in the part named {FILE_FIELD!r}.")
    return part


def _is_urlencoded(content_type: str | None) -> bool:
    return (content_type or "").partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"
