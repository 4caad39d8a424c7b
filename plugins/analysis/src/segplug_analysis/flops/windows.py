"""The note for models with a sliding window: how many windows an image takes."""

from __future__ import annotations

from collections.abc import Iterator

from segplug.model import ModelMeta

__all__ = ["windows_note"]


def windows_note(meta: ModelMeta | None, shape: tuple[int, int]) -> Iterator[str]:
    """One sentence for a model with a sliding window, none for others.

    Args:
        meta: The model's metadata; ``None``: unknown.
        shape: The (height, width) that was counted, in pixels.
    """
    from segplug.runtime.slide import windows

    if meta is None or meta.inference.mode != "slide":
        return
    crop, stride = meta.inference.crop_size, meta.inference.stride
    if crop is None or stride is None:
        return
    note = f"This model uses a sliding window of {crop[0]}x{crop[1]}: the numbers are for one window"
    if shape != crop:
        note += " of another size"
    if meta.resize is not None and meta.resize.scale is not None:
        width, height = meta.resize.scale
        fills = " of exactly this size" if meta.resize.keep_ratio else ""
        count = len(windows((height, width), crop, stride))
        note += f"; at the test size {height}x{width}, an image{fills} takes {count} windows"
    yield f"{note}."
