"""Hostile requests, and the status that each must get."""

from __future__ import annotations

import json

from serve_support.bombs import png_of, png_of_chunks, png_of_texts, scans
from serve_support.servers import picture, png


def _form_of_text(text: bytes) -> bytes:
    return b'--edge\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + text + b"\r\n--edge--\r\n"


WHOLE = png(picture(0))

REQUESTS: dict[str, tuple[bytes, str, int]] = {
    "no image": (b"I am no image at all", "image/png", 400),
    "cut off": (WHOLE[: len(WHOLE) // 2], "image/png", 400),
    "a bit turned over": (WHOLE[:60] + bytes([WHOLE[60] ^ 255]) + WHOLE[61:100], "image/png", 400),
    "empty": (b"", "image/png", 400),
    "a bomb": (png_of(60_000, 60_000), "image/png", 413),
    "20000 wide": (png_of(20_000, 10), "image/png", 413),
    "thousands of scans": (scans(4000), "image/jpeg", 413),
    "21 scans of all pixels": (scans(20, 5792), "image/jpeg", 413),
    "texts of gigabytes": (png_of_texts(400), "image/png", 413),
    "a million chunks": (png_of_chunks(1_000_000), "image/png", 400),
    "another type": (WHOLE, "text/html", 415),
    "no JSON": (b"{", "application/json", 400),
    "JSON without an image": (b'{"x": 1}', "application/json", 400),
    "bad base64": (json.dumps({"image": "%%%"}).encode(), "application/json", 400),
    "deep JSON": (b"[" * 100_000, "application/json", 400),
    "no form": (b"nothing", "multipart/form-data; boundary=edge", 400),
    "a form without its edge": (b"nothing", "multipart/form-data", 400),
    "a form of an odd edge": (b"nothing", 'multipart/form-data; boundary="a\\"b"', 400),
    "a codec without end": (
        _form_of_text(b"a" * 200_000 + b"-" + b"a" * 200_000),
        "multipart/form-data; boundary=edge; charset=punycode",
        400,
    ),
    "a codec that fails": (_form_of_text(b"x"), "multipart/form-data; boundary=edge; charset=undefined", 400),
}
"""Name to body, content type and status."""
