"""How somebody gives files to a page other than by its picker: drops them on it, or pastes them."""

from __future__ import annotations

from typing import Final

import attrs
from playwright.sync_api import Page


@attrs.frozen
class Given:
    """A file as a page gets it.

    :ivar size: of what it is filled with, where ``text`` is none: made in the page, and not sent there first.
    """

    name: str
    text: str | None = None
    type: str = "text/plain"
    size: int = 0


_DROP: Final = """
    ([files, steps]) => {
        const carried = new DataTransfer();
        for (const {name, text, type, size} of files)
            carried.items.add(new File([text ?? new Uint8Array(size)], name, {type}));
        const target = document.elementFromPoint(innerWidth / 2, innerHeight - 8) ?? document.body;
        const went = steps.map(step => target.dispatchEvent(
            new DragEvent(step, {bubbles: true, cancelable: true, composed: true, dataTransfer: carried})));
        return went.at(-1);
    }
"""
_COPY_IMAGE: Final = """
    async (others) => {
        const canvas = new OffscreenCanvas(32, 32);
        const context = canvas.getContext("2d");
        context.fillRect(8, 8, 16, 16);
        const blob = await canvas.convertToBlob({type: "image/png"});
        await navigator.clipboard.write([new ClipboardItem({"image/png": blob, ...others})]);
    }
"""


def drop(page: Page, *files: Given) -> None:
    """Drag files over the page from the desktop, and drop them near its lower edge.

    :raises AssertionError: the page lets the browser open them in its place.
    """
    if page.evaluate(_DROP, [[attrs.asdict(file) for file in files], ["dragenter", "dragover", "drop"]]):
        raise AssertionError("the page did not take what was dropped on it")


def drag_over(page: Page, *files: Given) -> None:
    """Drag files over the page, and hold them there."""
    page.evaluate(_DROP, [[attrs.asdict(file) for file in files], ["dragenter", "dragover"]])


def paste_text(page: Page, text: str) -> None:
    """Copy a text, and paste it into the page."""
    page.evaluate("text => navigator.clipboard.writeText(text)", text)
    page.keyboard.press("Control+V")


def paste_image(page: Page, **others: str) -> None:
    """Copy a picture, and paste it into the page.

    :param others: what else is copied with it, as ``plain`` or ``html`` text.
    """
    page.evaluate(_COPY_IMAGE, {f"text/{kind}": text for kind, text in others.items()})
    page.keyboard.press("Control+V")
