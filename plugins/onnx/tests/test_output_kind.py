"""Which output ``export onnx`` takes by default: labels only where they are as exact as scores."""

from __future__ import annotations

import numpy as np
import pytest

from segplug import Segplug
from segplug.model import Inference
from segplug.preprocessing import Crop, Flip, Pad, Resize, usual_steps
from segplug.progress import QuietReporter
from segplug.runtime.segment import Segmenter

STEPS = usual_steps((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
SHRUNK = usual_steps((0.0,) * 3, (1.0,) * 3, resize=Resize(scale=(48, 32), fit="exact"))


@pytest.mark.parametrize(
    ("changes", "dynamic", "kind"),
    [
        ({}, True, "labels"),
        ({}, False, "logits"),  # images of other sizes are stretched
        ({"preprocessing": SHRUNK}, True, "logits"),
        ({"preprocessing": (*STEPS, Pad(divisor=32))}, True, "labels"),
        ({"preprocessing": (*STEPS, Pad(divisor=32, cut=False))}, True, "logits"),  # stretched back
        ({"preprocessing": (Crop((32, 48)), *STEPS)}, True, "logits"),
        ({"tta": (STEPS, (*STEPS, Flip()))}, True, "logits"),
        ({"inference": Inference(mode="slide", crop_size=(32, 48), stride=(16, 30))}, True, "logits"),
    ],
)
def test_the_default_output_is_labels_only_where_they_are_exact(export, model_of, changes, dynamic, kind):
    artifact = export(model_of(**changes), dynamic=dynamic)
    assert artifact.meta.extra["onnx"]["output_kind"] == kind
    image = np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    warnings = QuietReporter()
    with Segplug().open(artifact, backend="onnxruntime") as engine:
        (found,) = Segmenter(engine, reporter=warnings)([image])
    assert found.labels.shape == (50, 70)
    assert not any("nearest" in text for text in warnings.warnings)
