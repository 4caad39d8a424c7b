"""The notes on a model whose image takes more than one pass: sliding windows, test-time augmentation."""

from __future__ import annotations

from collections.abc import Iterator

from segplug.model import ModelMeta
from segplug.preprocessing import Resize, find_steps
from segplug.text import counted
from segplug_analysis.model_notes import approximation_notes, views_note

__all__ = ["notes_on_model"]


def notes_on_model(meta: ModelMeta | None, shape: tuple[int, int]) -> Iterator[str]:
    """The notes on a model, one sentence each.

    Args:
        meta: The model's metadata; ``None``: unknown.
        shape: The (height, width) that was counted, in pixels.
    """
    if meta is None:
        return
    yield from _windows(meta, shape)
    yield from views_note(len(meta.default_tta), "the numbers are for one view of an image")
    yield from approximation_notes(meta.approximations)


def _windows(meta: ModelMeta, shape: tuple[int, int]) -> Iterator[str]:
    from segplug.runtime.slide import windows

    if meta.inference.mode != "slide":
        return
    crop, stride = meta.inference.crop_size, meta.inference.stride
    if crop is None:
        return
    note = f"This model uses a sliding window of {crop[0]}x{crop[1]}: the numbers are for one window"
    if shape != crop:
        note += " of another size"
    resize = next(iter(find_steps(meta.preprocessing, Resize)), None)
    if resize is not None and resize.scale is not None:
        width, height = resize.scale
        fills = "" if resize.fit == "exact" else " of exactly this size"
        count = len(windows((height, width), crop, stride))
        note += f"; at the test size {height}x{width}, an image{fills} takes {counted(count, 'window')}"
    yield f"{note}."
