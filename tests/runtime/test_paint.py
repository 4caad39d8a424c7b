"""Painted images equal mmseg's show_result."""

from __future__ import annotations

import numpy as np
import pytest

from segplug.errors import UsageError
from segplug.palette import choose_palette, distinct_palette, label_colours, random_palette
from segplug.runtime.paint import Painter

PALETTE = ((128, 64, 128), (244, 35, 232), (7, 250, 1))


def _mmseg_paint(image, labels, palette, opacity):
    from types import SimpleNamespace

    from mmseg.models.segmentors import BaseSegmentor

    fake = SimpleNamespace(CLASSES=tuple("abc"), PALETTE=None)
    return BaseSegmentor.show_result(fake, image, [labels], palette=palette, opacity=opacity)


@pytest.mark.parametrize("opacity", [0.01, 0.3, 0.5, 0.77, 1.0])
@pytest.mark.filterwarnings("ignore:show==False")
def test_every_pixel_is_mmsegs(mmseg, opacity):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = np.stack([values, values.T, values[::-1]], axis=2)
    for seed in range(3):
        labels = np.random.default_rng(seed).integers(0, 4, (16, 16)).astype(np.uint8)
        kept = image.copy()
        painted = Painter(PALETTE, opacity=opacity)(image, labels)
        assert np.array_equal(painted, _mmseg_paint(image, labels, PALETTE, opacity))
        assert np.array_equal(image, kept)


@pytest.mark.filterwarnings("ignore:show==False")
def test_without_a_palette_the_colours_are_mmsegs(mmseg):
    labels = np.arange(3, dtype=np.uint8).reshape(1, 3)
    image = np.zeros((1, 3, 3), np.uint8)
    painted = Painter(random_palette(3), opacity=1)(image, labels)
    assert np.array_equal(painted, _mmseg_paint(image, labels, None, 1.0))


def test_every_label_of_eight_bits_may_have_a_colour():
    labels = np.arange(256, dtype=np.uint8).reshape(1, 256)
    palette = [(value, 0, 255 - value) for value in range(256)]
    painted = Painter(palette, opacity=1)(np.zeros((1, 256, 3), np.uint8), labels)
    assert np.array_equal(painted[0, :, ::-1], palette)


def test_the_first_palette_that_is_long_enough_is_taken():
    assert choose_palette([(), PALETTE[:2], PALETTE], 3) == PALETTE
    assert choose_palette([PALETTE[:2]], 3) == distinct_palette(3)


@pytest.mark.parametrize("opacity", [0, -0.5, 1.01])
def test_an_opacity_out_of_range_is_refused(opacity):
    with pytest.raises(UsageError, match="opacity"):
        Painter(PALETTE, opacity=opacity)


def test_a_large_image_is_painted_in_blocks_of_rows():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (700, 1000, 3), dtype=np.uint8)
    labels = rng.integers(0, 4, (700, 1000), dtype=np.uint8)
    painter = Painter([(1, 2, 3), (200, 100, 0), (9, 9, 9)], opacity=0.3)
    rows = [painter(image[row : row + 1], labels[row : row + 1]) for row in range(700)]
    assert np.array_equal(painter(image, labels), np.concatenate(rows))


@pytest.mark.parametrize("classes", [(), ("class 0", "class 1"), ("Background", "cat"), ("cat",)])
def test_without_a_palette_the_background_of_two_labels_keeps_the_image(classes):
    colours = label_colours([()], len(classes) or 2, classes)
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    labels = np.array([[0, 1, 0, 1]] * 4, np.uint8)
    painted = Painter(colours.palette, opacity=1, unpainted=colours.unpainted)(image, labels)
    assert np.array_equal(painted[:, ::2], image[:, ::2])
    assert (painted[:, 1::2] == distinct_palette(1)[0][::-1]).all()


@pytest.mark.parametrize(
    ("palette", "classes"),
    [((), ("cat", "dog")), (PALETTE[:2], ("background", "cat")), ((), ("background", "cat", "dog"))],
)
def test_with_a_palette_or_other_classes_every_label_is_painted(palette, classes):
    colours = label_colours([palette], len(classes), classes)
    assert colours.unpainted == frozenset()
    assert colours.palette == (palette or distinct_palette(len(classes)))
