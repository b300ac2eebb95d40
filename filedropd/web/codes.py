"""QR codes of links, for whoever hands a link from one screen to another."""

from __future__ import annotations

import io

import segno


def square(link: str, title: str) -> str:
    """Return the QR code of ``link`` as SVG, black on white whatever the page around it looks like.

    :param title: what it is called where it is not seen.
    """
    out = io.BytesIO()
    code = segno.make_qr(link, error="m")
    code.save(
        out, kind="svg", border=4, dark="#000", light="#fff", xmldecl=False, omitsize=True, title=title, svgclass="code"
    )
    return out.getvalue().decode("utf-8").strip()
