"""Classes, colours and the zero label: of the data set's class, of the config, of a wrapper's first part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmseg_support.pipelines1 import LOAD, PACK, config_of
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.meta import ClassFacts, Head, make_meta
from segplug_mmseg.v1.facts import class_facts, palette_of_class, read_facts
from segplug_mmseg.v1.pipeline.settings import test_data as data_of

from segplug.errors import ModelError
from segplug.progress import QuietReporter

THREE = {"classes": ("sky", "road", "car"), "palette": [[0, 0, 255], [128, 64, 128], [255, 0, 0]]}


@pytest.fixture(autouse=True)
def mmseg() -> None:
    import_mmseg()


def facts(config: Any) -> Any:
    return read_facts(config, head=Head(3, 3, in_channels=3), reporter=QuietReporter())


@pytest.mark.parametrize("name", ["CityscapesDataset", "ADE20KDataset", "ISPRSDataset", "LoveDADataset"])
@pytest.mark.parametrize("as_class", [False, True])
def test_a_class_of_mmseg(name: str, as_class: bool) -> None:
    import mmseg.datasets

    kind = getattr(mmseg.datasets, name)
    found = class_facts({"type": kind if as_class else name, "data_root": "nowhere"})
    assert (found.type, found.classes) == (name, tuple(kind.METAINFO["classes"]))
    assert found.palette == tuple(map(tuple, kind.METAINFO["palette"]))
    assert found.reduce_zero_label is (name not in ("CityscapesDataset",))
    assert palette_of_class(name) == found.palette


def test_every_class_of_mmseg_that_names_its_classes() -> None:
    from mmseg.registry import DATASETS

    named = {name: kind for name, kind in DATASETS.module_dict.items() if getattr(kind, "METAINFO", None)}
    assert len(named) >= 24
    for name, kind in named.items():
        assert class_facts({"type": name}).classes == tuple(kind.METAINFO.get("classes") or ()), name


def test_metainfo_of_the_config() -> None:
    found = class_facts({"type": "BaseSegDataset", "metainfo": THREE, "reduce_zero_label": True})
    assert found == ClassFacts(
        "BaseSegDataset", THREE["classes"], ((0, 0, 255), (128, 64, 128), (255, 0, 0)), True
    )
    some = class_facts({"type": "CityscapesDataset", "metainfo": {"classes": ("car", "road")}})
    assert some.classes == ("car", "road")
    assert some.palette == ((0, 0, 142), (128, 64, 128))
    assert class_facts({"type": "NoSuchDataset", "metainfo": THREE}).classes == THREE["classes"]
    assert class_facts({"type": "BaseSegDataset"}) == ClassFacts("BaseSegDataset", reduce_zero_label=False)
    assert class_facts({}) == ClassFacts("")
    assert palette_of_class("NoSuchDataset") == ()


def test_a_class_with_arguments_of_its_own() -> None:
    from mmseg.datasets import BaseSegDataset
    from mmseg.registry import DATASETS

    class Tiles(BaseSegDataset):
        METAINFO = THREE

        def __init__(self, tiles: int, **settings: Any) -> None:
            super().__init__(**settings)

    DATASETS.register_module(module=Tiles, force=True)
    assert class_facts({"type": "Tiles", "tiles": 3}).classes == THREE["classes"]
    assert class_facts({"type": "Tiles", "metainfo": {"classes": ("sky",)}}).classes == ("sky",)


def test_classes_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("sky\nroad\n")
    found = class_facts({"type": "BaseSegDataset", "metainfo": {"classes": str(tmp_path / "names.txt")}})
    assert found.classes == ("sky", "road")


def test_wrappers_have_the_classes_of_their_first_data_set() -> None:
    first = {"type": "BaseSegDataset", "metainfo": THREE, "pipeline": [LOAD, PACK]}
    other = first | {"metainfo": {"classes": ("a",)}}
    repeated = {"type": "RepeatDataset", "times": 3, "dataset": first}
    config = config_of(PACK)
    for wrapper in (repeated, {"type": "ConcatDataset", "datasets": [repeated, other]}):
        config["test_dataloader"]["dataset"] = wrapper
        assert data_of(config) == wrapper
        assert facts(config).dataset.classes == THREE["classes"]


@pytest.mark.parametrize(
    ("train", "reduces"),
    [
        (None, True),
        ({"type": "BaseSegDataset"}, False),
        ({"type": "BaseSegDataset", "reduce_zero_label": True}, True),
        (
            {"type": "BaseSegDataset", "pipeline": [{"type": "LoadAnnotations", "reduce_zero_label": True}]},
            True,
        ),
        (
            {"type": "ADE20KDataset", "pipeline": [{"type": "LoadAnnotations", "reduce_zero_label": False}]},
            False,
        ),
        ({"type": "RepeatDataset", "dataset": {"type": "ADE20KDataset"}}, True),
    ],
)
def test_the_zero_label_is_that_of_the_training(train: Any, reduces: bool) -> None:
    config = config_of(PACK)
    config["test_dataloader"]["dataset"]["type"] = "ADE20KDataset"
    if train is not None:
        config["train_dataloader"] = {"dataset": train}
    assert facts(config).reduce_zero_label is reduces
    assert facts(config).dataset.reduce_zero_label is True


@pytest.mark.parametrize("scores", ["logits", "probabilities"])
def test_scores_of_query_heads_are_activated_view_by_view(tmp_path: Path, scores: Any) -> None:
    """SegTTAModel applies softmax to what any head gives."""
    flips = [{"type": "RandomFlip", "prob": chance} for chance in (0.0, 1.0)]
    views = {"type": "TestTimeAug", "transforms": [flips, [PACK]]}
    (tmp_path / "c.py").touch()
    for pipeline, activates in (([LOAD, views], scores == "probabilities"), (None, False)):
        config, head = config_of(PACK, tta_pipeline=pipeline), Head(3, 3, in_channels=3, scores=scores)
        found = read_facts(config, head=head, reporter=QuietReporter())
        meta = make_meta(found, str(tmp_path / "c.py"), head=head, reporter=QuietReporter())
        assert (meta.tta_activates, meta.tta_by_default) == (activates, pipeline is None)


def test_a_dataloader_that_is_none() -> None:
    config = config_of(PACK) | {"test_dataloader": "cityscapes"}
    with pytest.raises(ModelError, match="test_dataloader of the config must be a dict, not 'cityscapes'"):
        facts(config)


def test_half_precision_of_mmengines_tests_is_warned_of() -> None:
    for fp16 in (True, False):
        config, reporter = config_of(PACK) | {"test_cfg": {"type": "TestLoop", "fp16": fp16}}, QuietReporter()
        read_facts(config, head=Head(3, 3, in_channels=3), reporter=reporter)
        assert any("segplug runs it in float32" in warning for warning in reporter.warnings) is fp16
