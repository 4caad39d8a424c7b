"""What the matrix does with networks: compare forms, balance random weights, slide windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from matrix import mmseg_models, windows
from matrix.balance import balance
from matrix.families import FAMILIES, Case
from matrix.inputs import sample_input
from matrix.measure import measure_form
from matrix.rows import FORM, Row
from segplug import ModelMeta, SegmentationModel, Segplug


def form_row(original: torch.nn.Module, form: torch.nn.Module) -> Row:
    """What is measured of a network and its form."""
    meta = ModelMeta("m", out_channels=3)
    model = SegmentationModel(module=original, meta=meta, exportable=lambda: form)
    blank = Row("unet", "x.py", FORM, passed=False)
    return measure_form(Segplug(), model, Case("x.py", size=(8, 12)), blank, Path())


class Scaled(torch.nn.Module):
    """Takes one size, if it is given, or multiples of a number."""

    def __init__(self, factor: float, only: tuple[int, int] | None = None, multiple: int = 1) -> None:
        super().__init__()
        self.factor, self.only, self.multiple = factor, only, multiple

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.only not in (None, images.shape[2:]) or images.shape[2] % self.multiple:
            raise ValueError(self.only)
        return images * self.factor


def test_a_form_is_compared_with_the_original_at_two_sizes():
    measured = form_row(Scaled(1.0), Scaled(1 + 3e-6))
    assert measured.passed
    assert measured.compared_at == ("sample 1x8x12", "sample 1x13x18")
    assert measured.relative_difference == pytest.approx(3e-6, rel=0.1)
    assert form_row(Scaled(1.0, only=(8, 12)), Scaled(1.0)).compared_at == ("sample 1x8x12",)
    even = form_row(Scaled(1.0, multiple=4), Scaled(1.0))
    assert even.compared_at == ("sample 1x8x12", "sample 1x16x24")


def test_a_form_that_differs_or_of_which_nothing_is_known_fails():
    measured = form_row(Scaled(1.0), Scaled(1 + 5e-5))
    assert (measured.passed, measured.reason) == (False, "it differs by 5.0e-05, more than 1e-05")
    assert (
        form_row(Scaled(0.0), Scaled(0.0)).reason == "all its logits are alike, so that nothing is compared"
    )
    assert not form_row(Scaled(1.0), Scaled(float("nan"))).passed


class Layered(torch.nn.Module):
    """Adds up two convolutions."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.one, self.other = (torch.nn.Conv2d(3, classes, 1) for _ in range(2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.one(images) + self.other(images)


def layered(classes: int) -> SegmentationModel:
    torch.manual_seed(0)
    module = Layered(classes)
    return SegmentationModel(
        module=module, meta=ModelMeta("m", out_channels=classes), exportable=lambda: module
    )


@pytest.mark.parametrize("classes", [1, 4])
def test_weights_are_balanced_until_every_class_is_seen(classes):
    model = layered(classes)
    with torch.no_grad():
        model.module.one.bias += 100 * torch.arange(1, classes + 1)
    balance(model, [model.module.one, model.module.other], (24, 32))
    scores = model.module(torch.from_numpy(sample_input(model.meta, (24, 32)))[None]).flatten(2)
    assert scores.mean(2).abs().max() < 1e-3
    assert (scores.std(2) - 1).abs().max() < 1e-3
    assert classes == 1 or len(scores.argmax(1).unique()) == classes


def test_a_class_that_is_not_seen_is_an_error():
    model = layered(3)
    with torch.no_grad():
        for layer in (model.module.one, model.module.other):  # two classes that are equal
            layer.weight[1], layer.bias[1] = layer.weight[0], layer.bias[0]
    with pytest.raises(RuntimeError, match="3 classes, of which 2 are seen"):
        balance(model, [model.module.one, model.module.other], (24, 32))


def test_windows_are_cut_and_added_as_mmseg_does():
    model = mmseg_models.load(Segplug(), "fastscnn", FAMILIES["fastscnn"], slides=True)
    image = sample_input(model.meta, (175, 220))
    found = windows.slide_inference(model)(image)
    expected = mmseg_models.slide_inference(model)(image)
    assert found.shape == expected.shape == (19, 175, 220)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
