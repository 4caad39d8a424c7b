"""The table of classes is the one of transformers itself."""

from __future__ import annotations

import transformers
from segplug_transformers.architectures import ARCHITECTURES
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_SEGMENTATION_MAPPING_NAMES,
    MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES,
    MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES,
)


def of_kind(kind: str) -> dict[str, str]:
    return {entry.model_type: name for name, entry in ARCHITECTURES.items() if entry.kind == kind}


def test_every_segmentation_class_is_in_it_and_no_other() -> None:
    assert len(ARCHITECTURES) == 17
    assert of_kind("semantic") == dict(MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES)
    assert of_kind("queries") == dict(MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES)
    assert dict(MODEL_FOR_IMAGE_SEGMENTATION_MAPPING_NAMES).items() <= of_kind("queries").items()
    assert all(name == entry.name for name, entry in ARCHITECTURES.items())


def test_the_processors_are_those_that_transformers_takes() -> None:
    for entry in ARCHITECTURES.values():
        if entry.model_type == "videomt":  # its processor of videos is listed only beside torchvision
            assert hasattr(transformers, str(entry.processor))
        else:
            assert IMAGE_PROCESSOR_MAPPING_NAMES[entry.model_type]["torchvision"] == entry.processor
