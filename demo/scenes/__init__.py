"""Street scenes drawn from a seed: a picture and the label of every pixel, nothing downloaded."""

from .scene import CLASSES, HEIGHT, PALETTE, WIDTH, draw_scene

__all__ = ["CLASSES", "HEIGHT", "PALETTE", "WIDTH", "draw_scene"]
