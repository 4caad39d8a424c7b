"""Read and check requests. They are untrusted: everything is checked before it costs much time or memory."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from segplug.errors import SegplugError

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.model import ModelMeta

__all__ = [
    "CONTROLS",
    "Limits",
    "Output",
    "RefusedRequestError",
    "Request",
    "read_bands",
    "read_image",
    "read_opacity",
    "read_output",
    "read_unknown_below",
]

Output = Literal["mask", "color", "painted", "confidence", "json", "meta"]
"""What a client may ask for: a PNG of labels, one of their colours, the image with the colours over it, a
16-bit PNG of the labels' probabilities, class shares, or the model's metadata."""

CONTROLS = {
    "output": "X-Segplug-Output",
    "unknown_below": "X-Segplug-Unknown-Below",
    "opacity": "X-Segplug-Opacity",
    "bands": "X-Segplug-Bands",
}
"""The query parameters, which are fields of :class:`Request`, and the headers that may replace them: not
every server passes a query on."""

_IMAGE_KEYS = ("image", "data", "b64", "body")
"""The keys under which JSON may contain an image in base64."""

_MAX_JSON_SIGNS = 1000
"""Brackets, braces, commas and colons in a JSON body."""

_ANY_CONTENT = ("", "application/octet-stream", "application/x-www-form-urlencoded")
"""Content types that say nothing about the content, such as curl's default."""

_NPY_CONTENT = ("application/x-npy", "application/npy", "application/x-numpy", "application/numpy")
"""Content types that clients give ``.npy`` files; none is registered."""


class RefusedRequestError(SegplugError):
    """A request that is answered with a status of 400 to 499: its sender can correct it.

    Args:
        status: The HTTP status.
        message: One line for the sender.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Limits:
    """The limits of one image."""

    bytes: int = 32 << 20
    """Size of the encoded image."""
    pixels: int = 1 << 25
    """Height times width: 33.5 million, a little more than 8K video."""
    edge: int = 16384
    """The larger of height and width, in pixels."""
    decoded: int = 1 << 28
    """Size of the decoded image in bytes: height times width times channels times the bytes of one value. 256
    MiB: the most pixels of four channels of 16 bits."""


@dataclass(frozen=True)
class Request:
    """One request as it arrived, unchecked."""

    body: bytes | str | Mapping[str, Any] | None
    """The bytes of an image or of a ``.npy`` file; base64 text; or JSON with base64, as text, as bytes or
    parsed."""
    content_type: str = ""
    """The header; empty: there is none, or the server has already parsed the body."""
    output: str = ""
    """The wanted output (:data:`Output`); empty: ``mask``."""
    opacity: str = ""
    """The weight of the class colours in a painted image, above 0 and at most 1; empty: 0.5."""
    unknown_below: str = ""
    """Labels of a lower probability become unknown, 0 to 1; empty: the server's own setting."""
    bands: str = ""
    """The channels that a painted image shows, from 1: one, or three as red, green and blue, with commas.
    Empty: the first three, or the first of one or two."""


def read_output(request: Request) -> Output:
    """The wanted output; raises :class:`RefusedRequestError` (400)."""
    asked = (request.output or "mask").lower()
    if asked not in get_args(Output):
        raise RefusedRequestError(
            400, f"output must be one of {', '.join(get_args(Output))}, not {asked[:40]!r}"
        )
    return cast(Output, asked)


def read_opacity(request: Request) -> float:
    """The weight of the class colours; raises :class:`RefusedRequestError` (400)."""
    try:
        opacity = float(request.opacity or 0.5)
    except ValueError:
        opacity = math.nan
    if not 0 < opacity <= 1:
        raise RefusedRequestError(400, f"opacity must be above 0 and at most 1, not {request.opacity[:40]!r}")
    return opacity


def read_unknown_below(request: Request) -> float | None:
    """The probability below which labels become unknown; ``None``: the request does not say it.

    Raises:
        RefusedRequestError: 400: it is not a number from 0 to 1.
    """
    if not request.unknown_below:
        return None
    try:
        below = float(request.unknown_below)
    except ValueError:
        below = math.nan
    if not 0 <= below <= 1:
        raise RefusedRequestError(400, f"unknown_below must be 0 to 1, not {request.unknown_below[:40]!r}")
    return below


def read_bands(request: Request) -> tuple[int, ...] | None:
    """The channels that a painted image shows, not checked further; ``None``: the usual ones.

    Raises:
        RefusedRequestError: 400: they are not numbers.
    """
    if not request.bands:
        return None
    words = [word.strip() for word in request.bands[:100].split(",")]
    if not all(word.isdecimal() and word.isascii() for word in words):
        raise RefusedRequestError(
            400, f"bands must be one number or three, such as 4,3,2, not {request.bands[:40]!r}"
        )
    return tuple(map(int, words))


def read_image(request: Request, limits: Limits, meta: ModelMeta) -> npt.NDArray[Any]:
    """Decode the image of a request as ``meta.decoding`` says.

    Returns:
        ``(H, W, meta.in_channels)`` of any numeric type; a masked array if the file marks pixels that have no
        data.

    Raises:
        RefusedRequestError: 400: there is no image, it is damaged, or it has other channels; 413: it is too
            large; 415: the content type is not that of an image, or a library to read it is not installed.
    """
    from segplug.errors import DatasetError, MissingDependencyError
    from segplug.runtime.reading import TooLargeError, decode_image

    content = _encoded_image(request, limits)
    try:
        image = decode_image(
            content,
            "in the request",
            meta.decoding,
            channels=meta.in_channels,
            most_pixels=limits.pixels,
            longest_edge=limits.edge,
            most_bytes=limits.decoded,
        )
    except TooLargeError as error:
        raise RefusedRequestError(413, error.message) from error
    except MissingDependencyError as error:
        raise RefusedRequestError(415, error.message) from error
    except DatasetError as error:
        raise RefusedRequestError(400, error.message) from error
    if image.nbytes > limits.decoded:  # the header of a PNG does not say all
        raise RefusedRequestError(413, f"the decoded image has more than {limits.decoded} bytes")
    return image


def _encoded_image(request: Request, limits: Limits) -> bytes:
    body, kind = request.body, request.content_type.partition(";")[0].strip().lower()
    if not body:
        raise RefusedRequestError(400, "the request contains no image")
    if isinstance(body, Mapping):
        content = _decode_base64(_text_in_json(body), limits)
    elif kind == "application/json":
        _refuse_large(len(body), limits, share=4 / 3)
        content = _decode_base64(_text_in_json(_parse_json(body)), limits)
    elif kind not in (*_ANY_CONTENT, *_NPY_CONTENT) and not kind.startswith("image/"):
        raise RefusedRequestError(415, f"the content type must be an image, .npy or JSON, not {kind[:60]}")
    else:
        content = _decode_base64(body, limits) if isinstance(body, str) else bytes(body)
    _refuse_large(len(content), limits)
    if not content:
        raise RefusedRequestError(400, "the request contains no image")
    return content


def _parse_json(body: bytes | str) -> Any:
    # An image is one long string. To parse many small values would block the interpreter for seconds.
    text = body.encode("utf-8", "replace") if isinstance(body, str) else body
    if sum(text.count(sign) for sign in (b"[", b"{", b",", b":")) > _MAX_JSON_SIGNS:
        raise RefusedRequestError(400, 'the JSON has too many values: send {"image": "<base64>"}')
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedRequestError(400, "the body is not valid JSON") from error


def _text_in_json(value: Any) -> str:
    if isinstance(value, Mapping):
        found = next((value[key] for key in _IMAGE_KEYS if key in value), None)
        if isinstance(found, Mapping):  # {"image": {"b64": ...}}
            return _text_in_json(found)
        if isinstance(found, str):
            return found
    if isinstance(value, str):
        return value
    raise RefusedRequestError(400, 'the JSON must contain an image: {"image": "<base64>"}')


def _decode_base64(text: str, limits: Limits) -> bytes:
    _refuse_large(len(text), limits, share=4 / 3)
    payload = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(payload.encode("ascii").translate(None, b" \t\r\n"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedRequestError(400, "the text is not valid base64") from error


def _refuse_large(size: int, limits: Limits, *, share: float = 1.0) -> None:
    if size > limits.bytes * share + 1024:
        raise RefusedRequestError(413, f"the image has more than {limits.bytes} bytes")
