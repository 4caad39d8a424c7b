"""What goes back: label masks, painted images, class shares. Encoded in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.runtime.libraries import opencv

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.model import ModelMeta

__all__ = ["Answer", "as_json", "class_shares", "mask_png", "png", "refusal"]


@dataclass(frozen=True)
class Answer:
    """What one request is answered with."""

    status: int
    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    """One line on why it was refused; empty for status 200."""


def mask_png(labels: npt.NDArray[Any]) -> bytes:
    """Labels ``(H, W)`` as a greyscale PNG, 8 bits, or 16 where labels go beyond 255.

    Labels are few and lie in patches: the fastest compression is nearly as small as the best.
    """
    kept = labels.astype(np.uint8 if labels.dtype.itemsize == 1 or labels.max() < 256 else np.uint16)
    return png(kept)


def png(image: npt.NDArray[Any]) -> bytes:
    """An image (BGR or grey) as a lossless PNG."""
    cv2 = opencv()
    done, encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise RuntimeError(f"OpenCV cannot encode an image of shape {image.shape} and type {image.dtype}")
    return bytes(encoded)


def class_shares(labels: npt.NDArray[Any], meta: ModelMeta) -> dict[str, Any]:
    """How much of an image each class takes, the classes that occur, largest first."""
    counts = np.bincount(labels.ravel())
    names = dict(enumerate(meta.classes))
    found = [
        {
            "label": int(label),
            "name": names.get(int(label), str(label)),
            "pixels": int(counts[label]),
            "share": float(counts[label] / labels.size),
        }
        for label in np.argsort(-counts, kind="stable")
        if counts[label]
    ]
    height, width = labels.shape
    return {"model": meta.name, "height": height, "width": width, "classes": found}


def as_json(data: Mapping[str, Any], *, headers: Mapping[str, str] | None = None) -> Answer:
    """JSON types as a good answer."""
    return Answer(200, json.dumps(data).encode(), "application/json", headers or {})


def refusal(status: int, reason: str) -> Answer:
    """Why there is no other answer: one line, as JSON."""
    body = json.dumps({"code": status, "error": reason}).encode()
    return Answer(status, body, "application/json", reason=reason)
