"""What a request may hold. It comes from anybody: everything is checked before it costs much."""

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
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "OPACITY_HEADER",
    "OUTPUT_HEADER",
    "Limits",
    "Output",
    "RefusedRequestError",
    "Request",
    "image_of",
    "opacity_of",
    "output_of",
]

Output = Literal["mask", "painted", "json", "meta"]
"""What a client may ask for: a PNG of labels, a painted PNG, class shares, or the model's metadata."""

OUTPUT_HEADER = "X-Segplug-Output"
OPACITY_HEADER = "X-Segplug-Opacity"
"""Headers that say what ``output`` and ``opacity`` say, for servers that keep the query to themselves."""

_IMAGE_KEYS = ("image", "data", "b64", "body")
"""Where JSON may hold the base64 of an image."""

_MOST_PARTS = 1000
"""Of JSON: brackets, braces, commas and colons."""

_ANY_CONTENT = ("", "application/octet-stream", "application/x-www-form-urlencoded")
"""Content types that clients send who did not think of one, curl's default among them."""


class RefusedRequestError(SegplugError):
    """A request that is answered with a status of 400 to 499: its sender can mend it.

    Args:
        status: The HTTP status.
        message: One line for the sender.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Limits:
    """What a request may cost."""

    bytes: int = 32 << 20
    """Of the encoded image."""
    pixels: int = 1 << 25
    """Of the image: 33.5 million, a little more than 8K video."""
    edge: int = 16384
    """Pixels of height or width."""


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    body: bytes | str | Mapping[str, Any] | None
    """The bytes of an image; base64 text; JSON (as text, bytes or read already) that holds base64."""
    content_type: str = ""
    """The header as it came; empty: none, or already taken apart by the server."""
    output: str = ""
    """What is asked for (:data:`Output`); empty: ``mask``."""
    opacity: str = ""
    """Of the paint, above 0 and at most 1; empty: 0.5."""


def output_of(request: Request) -> Output:
    """What is asked for; raises :class:`RefusedRequestError` (400)."""
    asked = (request.output or "mask").lower()
    if asked not in get_args(Output):
        raise RefusedRequestError(400, f"output is one of {', '.join(get_args(Output))}, not {asked[:40]!r}")
    return cast(Output, asked)


def opacity_of(request: Request) -> float:
    """How strong the paint is; raises :class:`RefusedRequestError` (400)."""
    try:
        opacity = float(request.opacity or 0.5)
    except ValueError:
        opacity = math.nan
    if not 0 < opacity <= 1:
        raise RefusedRequestError(400, f"opacity is above 0 and at most 1, not {request.opacity[:40]!r}")
    return opacity


def image_of(request: Request, limits: Limits) -> npt.NDArray[np.uint8]:
    """Decode the image that a request holds.

    Returns:
        uint8 ``(H, W, 3)``, BGR.

    Raises:
        RefusedRequestError: 400: there is none, or it is damaged; 413: it is too large; 415: the content
            type is no image's.
    """
    from segplug.errors import DatasetError
    from segplug.runtime.read import TooLargeError, decode_image

    content = _encoded(request, limits)
    try:
        return decode_image(content, "in the request", most_pixels=limits.pixels, longest_edge=limits.edge)
    except TooLargeError as error:
        raise RefusedRequestError(413, error.message) from error
    except DatasetError as error:
        raise RefusedRequestError(400, error.message) from error


def _encoded(request: Request, limits: Limits) -> bytes:
    body, kind = request.body, request.content_type.partition(";")[0].strip().lower()
    if not body:
        raise RefusedRequestError(400, "the request holds no image")
    if isinstance(body, Mapping):
        content = _base64(_of_json(body), limits)
    elif kind == "application/json":
        _refuse_large(len(body), limits, share=4 / 3)
        content = _base64(_of_json(_json(body)), limits)
    elif kind not in _ANY_CONTENT and not kind.startswith("image/"):
        raise RefusedRequestError(
            415, f"an image, or JSON that holds one in base64, is taken; not {kind[:60]}"
        )
    else:
        content = _base64(body, limits) if isinstance(body, str) else bytes(body)
    _refuse_large(len(content), limits)
    if not content:
        raise RefusedRequestError(400, "the request holds no image")
    return content


def _json(body: bytes | str) -> Any:
    # An image is one long string. Thousands of small parts would hold the interpreter for seconds.
    text = body.encode("utf-8", "replace") if isinstance(body, str) else body
    if sum(text.count(sign) for sign in (b"[", b"{", b",", b":")) > _MOST_PARTS:
        raise RefusedRequestError(400, 'JSON holds an image as {"image": "<base64>"}, and little else')
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedRequestError(400, "the body is no JSON") from error


def _of_json(read: Any) -> str:
    if isinstance(read, Mapping):
        found = next((read[key] for key in _IMAGE_KEYS if key in read), None)
        if isinstance(found, Mapping):  # {"image": {"b64": ...}}
            return _of_json(found)
        if isinstance(found, str):
            return found
    if isinstance(read, str):
        return read
    raise RefusedRequestError(400, 'JSON holds an image as {"image": "<base64>"}')


def _base64(text: str, limits: Limits) -> bytes:
    _refuse_large(len(text), limits, share=4 / 3)
    payload = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(payload.encode("ascii").translate(None, b" \t\r\n"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedRequestError(400, "the text is no base64 of an image") from error


def _refuse_large(size: int, limits: Limits, *, share: float = 1.0) -> None:
    if size > limits.bytes * share + 1024:
        raise RefusedRequestError(413, f"the image has more than {limits.bytes} bytes")
