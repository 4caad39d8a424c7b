"""Converts a row of TorchServe's batch to a request of :mod:`segplug.serving`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segplug.serving.requests import CONTROLS, RefusedRequestError, Request

__all__ = ["read_row"]

_BODIES = ("body", "data", "image")
"""Names of the field with the image, in TorchServe and its clients: first that of a raw body."""


def read_row(row: Mapping[str, Any], headers: Mapping[str, Any]) -> Request:
    """Convert one row: query parameters and form fields by name, a raw body as ``body``.

    Args:
        row: The values from TorchServe: bytes, text, or parsed JSON.
        headers: The headers of the request. The headers of a form's field are a mapping under its name.

    Raises:
        RefusedRequestError: several fields could contain the image, or the value is not an image.
    """
    plain = {name.lower(): value for name, value in headers.items() if isinstance(value, str)}
    controls = {
        name: _text(row.get(name)) or plain.get(header.lower(), "") for name, header in CONTROLS.items()
    }
    name = _image_field([name for name in row if name not in CONTROLS])
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
        raise RefusedRequestError(400, "several fields could be the image: name its field 'image'")
    return known


def _body(value: Any, *, is_field: bool) -> bytes | str | Mapping[str, Any] | None:
    if isinstance(value, (bytes, bytearray)):
        # Every image format has bytes that are no text, a TIFF perhaps zeros only: other fields are base64.
        is_text = is_field and value.isascii() and b"\0" not in value
        return bytes(value).decode() if is_text else bytes(value)
    if value is None or isinstance(value, (str, Mapping)):
        return _single_instance(value)
    raise RefusedRequestError(400, 'the JSON must contain an image: {"image": "<base64>"}')


def _single_instance(value: str | Mapping[str, Any] | None) -> str | Mapping[str, Any] | None:
    """Unwrap KServe's form, ``{"instances": [...]}``, which must have one image."""
    instances = value.get("instances") if isinstance(value, Mapping) else None
    if instances is None:
        return value
    first = instances[0] if isinstance(instances, list) and len(instances) == 1 else None
    if not isinstance(first, (str, Mapping)):
        raise RefusedRequestError(400, "instances must contain one image: send one request for each image")
    return {"image": first} if isinstance(first, str) else first


def _text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "replace")
    return value if isinstance(value, str) else ""
