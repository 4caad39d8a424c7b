"""The facts of a model that may give a pixel several classes: its labels are bit masks."""

from __future__ import annotations

import numpy as np
import pytest

from segplug.errors import ArtifactError
from segplug.legend import count_labels, legend_entries
from segplug.model import ModelMeta
from segplug.palette import label_colours

META = ModelMeta(
    "m",
    classes=("road", "car", "wet"),
    palette=((200, 0, 0), (0, 100, 0), (0, 0, 50)),
    out_channels=3,
    activation="sigmoid",
    threshold=0.3,
)


def test_its_labels_are_the_sets_of_its_classes() -> None:
    assert META.multilabel
    assert (META.num_classes, META.num_labels, META.label_names) == (3, 8, META.classes)
    assert META.replace(classes=(), palette=()).num_classes == 3
    assert not META.replace(activation="softmax").multilabel
    assert not META.replace(out_channels=1).multilabel
    assert META.replace(out_channels=1, classes=(), palette=()).num_labels == 2


def test_its_metadata_are_read_again() -> None:
    assert ModelMeta.from_json(META.to_json()) == META


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reduce_zero_label": True}, "reduce_zero_label: the masks of several classes at one pixel"),
        ({"classes": ["road", "car"], "palette": []}, "classes: 2 classes for 3 channels"),
        ({"activation": "softmax"}, "threshold: with softmax it is for out_channels 1, not 3"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        ModelMeta.from_dict(META.to_dict() | changes)


def test_the_facts_say_how_a_pixel_gets_its_classes() -> None:
    (scores,) = dict(META.facts())["scores"]
    assert scores == (
        "logits, 3 channels, sigmoid still to be applied; a pixel has each class whose probability is above "
        "0.3: several, or none"
    )


def test_a_legend_names_each_bit() -> None:
    found = [(entry.bit, entry.label, entry.name, entry.colour) for entry in META.legend()]
    assert found == [
        (0, 1, "road", (200, 0, 0)),
        (1, 2, "car", (0, 100, 0)),
        (2, 4, "wet", (0, 0, 50)),
    ]


def test_a_legend_of_many_classes_makes_no_table_of_their_sets() -> None:
    many = META.replace(classes=(), palette=(), out_channels=60)
    colours = label_colours([], 60, multilabel=True)
    assert len(legend_entries((), colours)) == many.num_classes == 60


def test_an_image_s_legend_counts_a_pixel_for_each_of_its_classes() -> None:
    colours = label_colours([META.palette], 3, META.classes, multilabel=True)
    labels = np.array([[0, 1, 3, 3], [5, 255, 0, 3]], np.uint8)
    entries = legend_entries(META.label_names, colours, count_labels(labels))
    assert [(entry.name, entry.label, entry.pixels, entry.share, entry.painted) for entry in entries] == [
        ("road", 1, 5, 5 / 8, True),
        ("car", 2, 3, 3 / 8, True),
        ("no class", 0, 2, 2 / 8, False),
        ("wet", 4, 1, 1 / 8, True),
        ("unknown", 255, 1, 1 / 8, True),
    ]


def test_a_set_of_classes_has_the_mean_of_their_colours() -> None:
    colours = label_colours([META.palette], 3, META.classes, multilabel=True)
    assert colours.of_labels[:4] == ((0, 0, 0), (200, 0, 0), (0, 100, 0), (100, 50, 0))
    assert colours.of_labels[7] == (67, 33, 17)
    assert (len(colours.of_labels), colours.unpainted) == (8, {0})


def test_two_classes_of_bit_masks_have_no_background() -> None:
    """Of two ordinary classes, the first may be a background that is not painted; a bit is not."""
    colours = label_colours([], 2, ("background", "thing"), multilabel=True)
    assert len(colours.palette) == 2
    assert (0, 0, 0) not in colours.palette
    assert colours.unpainted == {0}
