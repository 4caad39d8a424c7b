"""Which processor a folder has: today's names and older ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segplug.errors import ModelError
from segplug_transformers.architectures import Architecture
from segplug_transformers.processor.classes import PROCESSORS, ProcessorClass

__all__ = ["find_class"]

_KEYS = ("image_processor_type", "video_processor_type", "feature_extractor_type")


def find_class(
    processor: Mapping[str, Any], config: Mapping[str, Any], architecture: Architecture, place: str
) -> ProcessorClass:
    """The class of a processor.

    Args:
        processor: The content of its file.
        config: The content of ``config.json``, which may name the processor.
        architecture: The network's class, which has a usual processor.
        place: The name of the file, for messages.

    Raises:
        ModelError: it is code of the folder's own, not known, or does not take this network's output.
    """
    if processor.get("auto_map"):
        raise ModelError(
            f"{place} names code of its own (auto_map), which is not run",
            hint="save a processor of transformers into the folder",
        )
    named = next((processor[key] for key in _KEYS if processor.get(key)), None)
    named = named or config.get("image_processor_type") or architecture.processor
    found = PROCESSORS.get(_today(str(named)))
    if found is None:
        raise ModelError(
            f"{place} is of the processor {named}, which is not known",
            hint=f"known are {', '.join(PROCESSORS)}",
        )
    if found.serves != architecture.kind or (
        found.serves == "queries" and found.name != architecture.processor
    ):
        raise ModelError(
            f"{place} is of {found.name}, which does not take the output of {architecture.name}",
            hint=f"it needs {architecture.processor}",
        )
    return found


def _today(name: str) -> str:
    """``SegformerFeatureExtractor`` and ``SegformerImageProcessorFast`` are ``SegformerImageProcessor``."""
    name = name.replace("FeatureExtractor", "ImageProcessor")
    return name.removesuffix("Fast").removesuffix("Pil")
