"""The answers of a server: label masks, confidences, painted images, class shares. Encoded in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.legend import count_labels, legend_entries
from segplug.runtime.libraries import opencv

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.model import ModelMeta
    from segplug.palette import LabelColours, Palette

__all__ = [
    "Answer",
    "class_shares",
    "color_png",
    "confidence_png",
    "json_answer",
    "png",
    "refusal",
]


@dataclass(frozen=True)
class Answer:
    """The answer to one request."""

    status: int
    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    """Why the request was refused, in one line; empty for status 200."""


def color_png(labels: npt.NDArray[Any], palette: Palette) -> bytes:
    """Encode labels ``(H, W)`` as a PNG of the classes' colours, RGB; labels without a colour are black."""
    bgr = np.array([*palette, (0, 0, 0)], np.uint8)[:, ::-1]
    return png(np.take(bgr, labels, axis=0, mode="clip"))


def confidence_png(confidence: npt.NDArray[np.float32]) -> bytes:
    """Encode probabilities ``(H, W)``, 0 to 1, as a greyscale PNG of 16 bits: times 65535, rounded."""
    return png(np.rint(np.clip(confidence, 0, 1) * 65535).astype(np.uint16))


def png(image: npt.NDArray[Any]) -> bytes:
    """Encode an image (BGR or grey) as PNG, which is lossless."""
    cv2 = opencv()
    done, encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise RuntimeError(f"OpenCV cannot encode an image of shape {image.shape} and type {image.dtype}")
    return bytes(encoded)


def class_shares(
    labels: npt.NDArray[Any], meta: ModelMeta, colours: LabelColours, unknown: int
) -> dict[str, Any]:
    """The colour of each class and the share of the image that it covers: those that occur, largest first.

    Pixels of the label ``unknown``, which is no class, are listed under that name. Of bit masks, a pixel
    counts for each of its classes, and the label of a class is its bit.
    """
    entries = legend_entries(meta.label_names, colours, count_labels(labels), unknown=unknown)
    found = [
        {
            "label": entry.label,
            "name": entry.name,
            "colour": list(entry.colour),
            "pixels": entry.pixels,
            "share": entry.share,
        }
        for entry in entries
    ]
    height, width = labels.shape
    return {"model": meta.name, "height": height, "width": width, "classes": found}


def json_answer(data: Mapping[str, Any], *, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer with status 200 and JSON."""
    return Answer(200, json.dumps(data).encode(), "application/json", headers or {})


def refusal(status: int, reason: str) -> Answer:
    """An answer that refuses a request: the reason in one line, as JSON."""
    body = json.dumps({"code": status, "error": reason}).encode()
    return Answer(status, body, "application/json", reason=reason)
