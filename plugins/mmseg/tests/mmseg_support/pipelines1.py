"""Preprocessing of 1.x: as segplug reads and runs it, and as mmseg's own code does."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.pipeline.preprocessing import Preprocessing
from segplug_mmseg.v1.pipeline import read_pipeline

from segplug.model import ModelMeta
from segplug.progress import QuietReporter, Reporter
from segplug.runtime.preprocess import Preprocessor

__all__ = [
    "LOAD",
    "OWN",
    "PACK",
    "Notes",
    "Prepared",
    "assert_equal",
    "compare",
    "config_of",
    "image_of",
    "mmsegs",
    "ours",
    "read",
    "steps_of",
]

LOAD = {"type": "LoadImageFromFile"}
OWN = {"type": "OwnLoader"}
"""A loader that no registry has: the images are made here."""
PACK = {"type": "PackSegInputs"}


class Notes(QuietReporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def note(self, message: str) -> None:
        self.notes.append(message)


@dataclass(frozen=True)
class Prepared:
    """The network's input, the size that its output is cut to, and how it is mirrored."""

    array: npt.NDArray[np.float32]
    valid: tuple[int, int]
    flip: str | None


def config_of(*transforms: Any, loader: Any = LOAD, after: Any = None, **settings: Any) -> dict[str, Any]:
    """A config with this test pipeline, and ``after`` as its data preprocessor."""
    after = {"type": "SegDataPreProcessor"} if after is None else after
    pipeline = [*([] if loader is None else [loader]), *transforms]
    test = {"dataset": {"type": "BaseSegDataset", "pipeline": pipeline}}
    return {"model": {"data_preprocessor": after}, "test_dataloader": test, **settings}


def read(config: Any, reporter: Reporter | None = None, **arguments: Any) -> Preprocessing:
    """The preprocessing of a config."""
    return read_pipeline(config, reporter or QuietReporter(), **arguments)


def steps_of(*transforms: Any, after: Any = None, **arguments: Any) -> tuple[Any, ...]:
    """The steps of a pipeline."""
    return read(config_of(*transforms, after=after), **arguments).steps


def image_of(channels: int, dtype: str, size: tuple[int, int] = (23, 37)) -> npt.NDArray[Any]:
    """The whole range of the type; a little beyond that of a byte for floats."""
    random = np.random.default_rng(channels)
    shape = (*size, channels)
    if dtype.startswith("float"):
        return (random.random(shape) * 300 - 20).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)


def ours(read: Preprocessing, image: npt.NDArray[Any]) -> list[Prepared]:
    """By segplug's runtime, from metadata that went through JSON."""
    meta = ModelMeta.from_json(
        ModelMeta(
            "m",
            in_channels=read.in_channels,
            decoding=read.decoding,
            preprocessing=read.steps,
            tta=read.tta,
            tta_by_default=read.tta_by_default,
        ).to_json()
    )
    found = [Preprocessor(meta, steps=view)(image, "made up") for view in meta.tta or [meta.preprocessing]]
    return [Prepared(item.array, item.geometry.valid, item.geometry.flip) for item in found]


def mmsegs(pipeline: Any, after: Any, results: dict[str, Any]) -> list[Prepared]:
    """By mmengine's ``Compose`` of mmseg's transforms, and then by the data preprocessor, in eval mode.

    Args:
        pipeline: Settings of the transforms.
        after: Settings of the data preprocessor.
        results: What the data set gives: a path or an image.
    """
    import_mmseg()
    from mmengine.dataset import Compose, pseudo_collate
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS

    with DefaultScope.overwrite_default_scope("mmseg"):
        compose = Compose(copy.deepcopy(list(pipeline)))
        prepare = MODELS.build(copy.deepcopy(after)).eval()
        given = {"seg_fields": [], "reduce_zero_label": None, **results}
        packed = compose(given)
        if not isinstance(packed["inputs"], list):
            packed = {key: [value] for key, value in packed.items()}
        views = [dict(zip(packed, values, strict=True)) for values in zip(*packed.values(), strict=True)]
        return [_prepared(prepare(pseudo_collate([view]), False)) for view in views]


def _prepared(data: dict[str, Any]) -> Prepared:
    (tensor,) = data["inputs"]
    meta = data["data_samples"][0].metainfo
    left, right, top, bottom = meta.get("img_padding_size", (0, 0, 0, 0))
    assert (left, top) == (0, 0)
    array = tensor.numpy()
    height, width = array.shape[1:]
    return Prepared(
        array, (height - bottom, width - right), meta["flip_direction"] if meta.get("flip") else None
    )


def assert_equal(
    transforms: list[Any], image: npt.NDArray[Any], *, after: Any = None, flat: bool = False
) -> None:
    """Compare. ``flat``: mmseg gets a grey image as ``(H, W)``, as its own loader gives it."""
    after = {"type": "SegDataPreProcessor"} if after is None else after
    given = image[:, :, 0] if flat else image
    results = {"img": given.copy(), "img_shape": image.shape[:2], "ori_shape": image.shape[:2]}
    expected = mmsegs(transforms, after, results)
    config = config_of(*transforms, loader=None, after=after)
    compare(
        ours(read(config, network=image.shape[2]), image),
        expected,
        [image.dtype.name, image.shape, *transforms],
    )


def compare(found: list[Prepared], expected: list[Prepared], what: Any) -> None:
    """Every bit of the arrays, and the geometry."""
    assert len(found) == len(expected), what
    for mine, other in zip(found, expected, strict=True):
        assert (mine.valid, mine.flip) == (other.valid, other.flip), what
        assert (mine.array.shape, mine.array.dtype) == (other.array.shape, other.array.dtype), what
        assert np.array_equal(mine.array, other.array), what
