"""What TorchServe makes of a request, as the request that every server of segplug answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segplug.serving.requests import OPACITY_HEADER, OUTPUT_HEADER, RefusedRequestError, Request

__all__ = ["request_of"]

_CONTROLS = {"output": OUTPUT_HEADER.lower(), "opacity": OPACITY_HEADER.lower()}
"""What may be asked for in a field, and the header that does the same."""

_BODIES = ("body", "data", "image")
"""Names under which TorchServe or its clients hand over an image: the raw body's comes first."""


def request_of(row: Mapping[str, Any], headers: Mapping[str, Any]) -> Request:
    """One row of a batch: query parameters and form fields by name, the raw body as ``body``.

    Args:
        row: As TorchServe gives it: bytes, text, or JSON that it has read already.
        headers: Of the request; a form field's own are a mapping under the field's name.

    Raises:
        RefusedRequestError: it cannot be told which field holds the image.
    """
    plain = {name.lower(): value for name, value in headers.items() if isinstance(value, str)}
    controls = {name: _text(row.get(name)) or plain.get(header, "") for name, header in _CONTROLS.items()}
    name = _image_field([name for name in row if name not in _CONTROLS])
    body = None if name is None else _body(row[name], is_field=name != "body")
    own = headers.get(name) if name is not None else None
    kind = own.get("content-type", "") if isinstance(own, Mapping) else ""
    if isinstance(body, str) and kind.startswith("text/"):
        kind = ""  # base64 text in a form field, which is called text/plain by default
    elif name == "body":
        kind = kind or plain.get("content-type", "")
    return Request(body=body, content_type=kind, **controls)


def _image_field(names: list[str]) -> str | None:
    if len(names) <= 1:
        return names[0] if names else None
    known = next((name for name in _BODIES if name in names), None)
    if known is None:
        raise RefusedRequestError(400, "several fields could be the image: call its field 'image'")
    return known


def _body(value: Any, *, is_field: bool) -> bytes | str | Mapping[str, Any] | None:
    if isinstance(value, (bytes, bytearray)):
        # No image is ASCII alone: a form's field that is so holds base64.
        return bytes(value).decode() if is_field and value.isascii() else bytes(value)
    if value is None or isinstance(value, (str, Mapping)):
        return _single_instance(value)
    raise RefusedRequestError(400, 'JSON holds an image as {"image": "<base64>"}')


def _single_instance(value: str | Mapping[str, Any] | None) -> str | Mapping[str, Any] | None:
    """KServe's form, ``{"instances": [...]}``, with one image."""
    instances = value.get("instances") if isinstance(value, Mapping) else None
    if instances is None:
        return value
    first = instances[0] if isinstance(instances, list) and len(instances) == 1 else None
    if not isinstance(first, (str, Mapping)):
        raise RefusedRequestError(400, "instances holds one image: send a request for each")
    return {"image": first} if isinstance(first, str) else first


def _text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "replace")
    return value if isinstance(value, str) else ""
