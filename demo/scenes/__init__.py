"""Draw street scenes from a seed: an image, and the label of every pixel."""

from .scene import CLASSES, HEIGHT, PALETTE, WIDTH, draw_scene

__all__ = ["CLASSES", "HEIGHT", "PALETTE", "WIDTH", "draw_scene"]
