"""What a phone reads from the picture of a QR code."""

from __future__ import annotations

import io

import zxingcpp
from PIL import Image


def decoded(picture: bytes) -> list[str]:
    """Return the text of each QR code in a picture, as a PNG."""
    with Image.open(io.BytesIO(picture)) as image:
        found = zxingcpp.read_barcodes(
            image.convert("L"), formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)
        )
    return [code.text for code in found]
