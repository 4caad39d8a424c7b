"""The description of the server's addresses: an OpenAPI document, made from the handler's own facts."""

from __future__ import annotations

from typing import Any, get_args

from segplug import __version__
from segplug.serving.requests import CONTROLS, Limits, Output

__all__ = ["openapi_document"]

_OUTPUTS: dict[Output, str] = {
    "mask": "a PNG with a palette, of the image's size, whose values are the labels; 16 bits in grey if a "
    "label may be above 255. Where a pixel may have several classes (multilabel of meta), bit c of its "
    "value, 1 << c, says whether class c is there",
    "color": "a PNG of the labels' colours; of several classes their mean",
    "painted": "a PNG of the image with the labels' colours over it",
    "confidence": "a PNG of 16 bits in grey: the probability of each pixel's label, times 65535",
    "json": "the classes that occur: label, name, colour, pixels and share of the image",
    "meta": "the model: classes, colours, preprocessing, versions, and the limits of an image; it needs no "
    "image",
}
_PARAMETERS: dict[str, tuple[str, dict[str, Any]]] = {
    "output": (
        "What the answer is:" + "".join(f"\n- {name}: {about}" for name, about in _OUTPUTS.items()),
        {"type": "string", "enum": list(get_args(Output)), "default": "mask"},
    ),
    "unknown_below": (
        "Labels of a lower probability become unknown. The model must give scores.",
        {"type": "number", "minimum": 0, "maximum": 1},
    ),
    "opacity": (
        "The weight of the colours in a painted image.",
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 0.5},
    ),
    "bands": (
        "The channels that a painted image shows, from 1: one, or three as red, green and blue.",
        {"type": "string", "pattern": r"^\d+(,\d+,\d+)?$", "examples": ["4,3,2"]},
    ),
}
_IMAGES = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/tiff", "application/x-npy")
_BINARY = {"type": "string", "format": "binary"}


def openapi_document(
    name: str, *, limits: Limits, timeout: float, max_requests: int, token: bool
) -> dict[str, Any]:
    """The OpenAPI 3.1 document of a server; JSON types.

    Args:
        name: The model's name in URLs.
        limits: The limits of one image.
        timeout: Seconds that a request may take.
        max_requests: The most requests in the server at once.
        token: Whether clients must send a token.
    """
    refused = _refusals(limits, timeout, max_requests, token=token)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": f"Segmentation by {name}",
            "version": __version__,
            "description": "Send an image; the answer is its label mask, or what output asks for.",
        },
        "servers": [{"url": "."}],
        "paths": {
            f"/predictions/{name}": {
                "post": _prediction("segment", refused),
                "put": _prediction("segment_by_put", refused),
                "get": _describe(refused),
            },
            "/models": {
                "get": _get("list_models", "The model's name and addresses", refused=_some(refused, 401))
            },
            "/health": {"get": _get("health", "Whether the process answers; needs no token")},
            "/ready": {
                "get": _get("ready", "Whether the server can answer requests; needs no token")
                | {"responses": _ok("It can.") | {"503": _error("It cannot; the answer says why.")}}
            },
            "/metrics": {
                "get": _get(
                    "metrics", "Metrics for Prometheus", kind="text/plain", refused=_some(refused, 401)
                )
            },
        },
        "components": {"schemas": {"Refusal": _REFUSAL, "Shares": _SHARES}},
    }
    if token:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
        for path in ("/health", "/ready"):
            document["paths"][path]["get"]["security"] = []
    return document


_REFUSAL = {
    "type": "object",
    "required": ["code", "error"],
    "properties": {
        "code": {"type": "integer", "description": "The HTTP status."},
        "error": {"type": "string", "description": "Why, in one line."},
    },
}
_SHARES = {
    "type": "object",
    "required": ["model", "height", "width", "classes"],
    "properties": {
        "model": {"type": "string"},
        "height": {"type": "integer"},
        "width": {"type": "integer"},
        "classes": {
            "type": "array",
            "description": "The labels that occur, largest first. Where a pixel may have several classes, it "
            "counts for each of them, and the label of a class is its bit.",
            "items": {
                "type": "object",
                "required": ["label", "name", "colour", "pixels", "share"],
                "properties": {
                    "label": {"type": "integer"},
                    "name": {"type": "string"},
                    "colour": {
                        "type": "array",
                        "items": {"type": "integer", "minimum": 0, "maximum": 255},
                        "minItems": 3,
                        "maxItems": 3,
                        "description": "Red, green, blue.",
                    },
                    "pixels": {"type": "integer"},
                    "share": {"type": "number", "description": "Of the image, 0 to 1."},
                },
            },
        },
    },
}


def _refusals(limits: Limits, timeout: float, max_requests: int, *, token: bool) -> dict[str, Any]:
    """The answers to refused requests; their words say what a person can do."""
    largest = (
        f"At most {_bytes(limits.bytes)} as a file, {limits.pixels:,} pixels, {limits.edge:,} pixels along "
        f"an edge and {_bytes(limits.decoded)} when decoded are taken"
    )
    words = {
        400: "The server cannot use this request. There is no image in it, the file is damaged or of a "
        "format that the server does not read, it has other channels than the model takes, or a parameter "
        "has a wrong value. Whole JPEG, PNG, WebP, BMP, TIFF and .npy files are taken.",
        401: "The server requires a token, and got none or a wrong one.",
        404: "There is nothing at this address.",
        408: f"The image was not received within {timeout:g} s.",
        413: f"The image is too large, or takes too long to decode. {largest}. Make it smaller, "
        "or ask whoever runs the server for higher limits.",
        415: "The file is of a type that the server does not take. JPEG, PNG, WebP, BMP, TIFF and .npy "
        "files are taken, or JSON with one of these in base64; TIFF needs a library on the server.",
        422: "The image was read, but the model does not take it: not in this size, or not with values "
        "that are NaN or infinite.",
        500: "The server or its model failed with this image. The server's log has the reason.",
        503: f"The server is busy, with {max_requests} requests or with all of its memory, or the model "
        "cannot run at the moment. Try again in a moment.",
        504: f"There was no answer within {timeout:g} s.",
    }
    if not token:
        del words[401]
    return {str(status): _error(text) for status, text in words.items()}


def _prediction(operation: str, refused: dict[str, Any]) -> dict[str, Any]:
    image = {"schema": _BINARY}
    content: dict[str, Any] = {
        **dict.fromkeys((*_IMAGES, "application/octet-stream"), image),
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "description": "One file, in a field of any name.",
                "properties": {"image": _BINARY},
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["image"],
                "properties": {"image": {"type": "string", "contentEncoding": "base64"}},
            }
        },
    }
    answers = {
        "image/png": {"schema": _BINARY},
        "application/json": {"schema": {"$ref": "#/components/schemas/Shares"}},
    }
    return {
        "operationId": operation,
        "summary": "Segment an image" if operation == "segment" else "The same, as curl -T sends it",
        "parameters": _parameters(),
        "requestBody": {
            "required": True,
            "description": "The image: a JPEG, PNG, WebP, BMP or TIFF file, or a .npy file with an array "
            "(H, W, C), read as the model's metadata says.",
            "content": content,
        },
        "responses": {
            "200": {
                "description": "What output asked for.",
                "headers": {
                    "Server-Timing": {
                        "description": "Milliseconds of decoding, of the model, of the rest of the runtime "
                        "and of encoding; the number of images in the batch.",
                        "schema": {"type": "string"},
                    }
                },
                "content": answers,
            },
            **refused,
        },
    }


def _parameters() -> list[dict[str, Any]]:
    found = []
    for name, header in CONTROLS.items():
        about, schema = _PARAMETERS[name]
        found.append({"name": name, "in": "query", "description": about, "schema": schema})
        found.append(
            {
                "name": header,
                "in": "header",
                "description": f"In place of {name}, for servers and clients that pass no query on.",
                "schema": schema,
            }
        )
    return found


def _describe(refused: dict[str, Any]) -> dict[str, Any]:
    meta = {
        "name": "output",
        "in": "query",
        "required": True,
        "schema": {"type": "string", "enum": ["meta"]},
    }
    described = _get("describe", "Describe the model", refused=_some(refused, 400, 401, 404))
    return described | {"parameters": [meta]}


def _get(
    operation: str, summary: str, *, kind: str = "application/json", refused: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "operationId": operation,
        "summary": summary,
        "responses": _ok("Done.", kind) | (refused or {}),
    }


def _ok(about: str, kind: str = "application/json") -> dict[str, Any]:
    schema = {"type": "object" if kind == "application/json" else "string"}
    return {"200": {"description": about, "content": {kind: {"schema": schema}}}}


def _error(about: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Refusal"}
    return {"description": about, "content": {"application/json": {"schema": schema}}}


def _some(refused: dict[str, Any], *statuses: int) -> dict[str, Any]:
    return {str(status): refused[str(status)] for status in statuses if str(status) in refused}


def _bytes(count: int) -> str:
    return f"{count / 2**20:g} MiB" if count >= 1 << 20 else f"{count:,} bytes"
