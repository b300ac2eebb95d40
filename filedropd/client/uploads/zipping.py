"""A folder, or several files, as one zip that is made while it is sent."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED

import zipstream

from filedropd.client.errors import NotReadable
from filedropd.client.threads import Thread
from filedropd.client.uploads.sources import Blocking, Pieces

# It says where it took another time for a file's, of before 1980, which a zip cannot have. Where nobody has set logging
# up, that would come out on the standard error.
logging.getLogger("zipstream").addHandler(logging.NullHandler())


async def zipped(paths: Sequence[Path], reactor: Any, *, name: str | None = None, compress: bool = False) -> Blocking:
    """Return the zip of ``paths`` as something that can be left.

    Folders are walked, links are followed, and what is neither file nor folder is left out. Files are stored as
    they are, so that the size is known before anything is sent: the server can refuse it at once, and tell how far
    it is.

    :param name: what it is called; by default as the only folder or file in it, or ``files.zip``.
    :param compress: deflate files; the size is not known then.
    :raises NotReadable: one of them is not there, or two are to have the same name.
    """
    names = [_name(path) for path in paths]
    if len(set(names)) < len(names):
        raise NotReadable("Two of these have the same name, and cannot be in one zip.")
    thread = Thread(reactor)

    def made() -> zipstream.ZipStream:
        return _made(list(zip(paths, names, strict=True)), compress=compress)

    try:
        length = None if compress else await thread.run(lambda: len(made()))
    except BaseException:
        await thread.stop()
        raise
    name = name or (f"{names[0]}.zip" if len(names) == 1 else "files.zip")
    return Blocking(thread, lambda: Pieces(_telling(made())), name, length, again=True)


def _name(path: Path) -> str:
    """Return what something is called in the zip; the folder one is in has a name, too."""
    return path.name if path.name not in {"", ".", ".."} else path.resolve().name or "files"


def _made(named: Iterable[tuple[Path, str]], *, compress: bool) -> zipstream.ZipStream:
    stream = zipstream.ZipStream(compress_type=ZIP_DEFLATED if compress else ZIP_STORED, sized=not compress)
    for path, name in named:
        if os.path.exists(path) and not _fits(path):
            raise NotReadable(f"{path} is neither a file nor a folder, and cannot be in a zip.")
        _in_unicode(name)
        try:
            stream.add_path(path, name, recurse=_walked)
        except OSError as error:
            raise NotReadable(f"{error.filename or path} cannot be read: {error.strerror}.") from error
    return stream


def _walked(path: str) -> Iterator[str]:
    """Yield all files and folders below a folder. To open a FIFO would be to wait for ever."""
    for each in zipstream.walk(path):
        if _fits(each):
            _in_unicode(each)
            yield each


def _fits(path: str | Path) -> bool:
    """Tell whether a zip can have what is there."""
    return os.path.isfile(path) or os.path.isdir(path)


def _in_unicode(name: str) -> None:
    """Return if a zip can have the name."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise NotReadable(f"{name!r} is not UTF-8, as a name in a zip has to be. Rename it.") from error


def _telling(stream: zipstream.ZipStream) -> Iterator[bytes]:
    """Yield what the zip has; what goes wrong with a file in it is said in words of ours."""
    try:
        yield from stream
    except OSError as error:
        raise NotReadable(f"{error.filename or 'A file'} cannot be read: {error.strerror}.") from error
    except RuntimeError as error:  # zipstream's word for a file that has another size than before
        raise NotReadable("A file changed while it was sent. Try again when it is left alone.") from error
