"""Labels that a network itself gives, at the image's own size: by which nearest pixel."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import pytest
import torch

from segplug.model import ModelMeta
from segplug.progress import QuietReporter
from segplug.runtime.postprocess import NetworkOutput, Postprocessor
from segplug.runtime.sizes import Geometry

Rule = Literal["nearest_exact", "nearest", "opencv"]


class _Warnings(QuietReporter):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def warn(self, message: str) -> None:
        self.texts.append(message)


@pytest.mark.parametrize("size", [(96, 131), (30, 40), (64, 96), (1, 1), (361, 7)])
@pytest.mark.parametrize(("rule", "mode"), [("nearest_exact", "nearest-exact"), ("nearest", "nearest")])
def test_labels_are_resized_as_pytorch_does(rule: Rule, mode: str, size: tuple[int, int]) -> None:
    labels = np.arange(60 * 80, dtype=np.uint16).reshape(60, 80)
    output = NetworkOutput(labels, Geometry(size, (60, 80), (60, 80)))
    found = Postprocessor(ModelMeta("m", label_resize=rule))(output).labels
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(labels.astype(np.float32))[None, None], size, mode=mode
    )
    np.testing.assert_array_equal(found, expected[0, 0].numpy())


@pytest.mark.parametrize("size", [(96, 131), (963, 1280), (30, 40), (64, 96), (1, 1), (361, 7)])
def test_labels_are_resized_as_opencv_does(size: tuple[int, int]) -> None:
    labels = np.arange(96 * 160, dtype=np.uint16).reshape(96, 160)
    output = NetworkOutput(labels, Geometry(size, (96, 160), (96, 160)))
    found = Postprocessor(ModelMeta("m", label_resize="opencv"))(output).labels
    np.testing.assert_array_equal(found, cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST))


@pytest.mark.parametrize(("rule", "warnings"), [("nearest_exact", 1), ("nearest", 0), ("opencv", 0)])
def test_only_labels_of_a_file_whose_program_has_no_rule_are_warned_of(rule: Rule, warnings: int) -> None:
    reporter = _Warnings()
    output = NetworkOutput(np.zeros((4, 4), np.uint8), Geometry((8, 8), (4, 4), (4, 4)))
    Postprocessor(ModelMeta("m", label_resize=rule), reporter)(output)
    assert len(reporter.texts) == warnings
