"""What torchvision itself says of images: its preset, its network, and the largest of the entry ``out``."""

from __future__ import annotations

from typing import Any

from proof_support.references import Image, Reference

from matrix import torchvision_zoo

__all__ = ["reference"]


def reference(network: Any, image: Image, edge: int) -> Reference:
    """Ask torchvision, with an image of Pillow, whose short edge is resized."""
    return Reference(*torchvision_zoo.reference(network, image, edge))
