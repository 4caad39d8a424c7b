"""Test-time augmentation of 1.x: what ``--tta`` gives is what mmseg's own ``SegTTAModel`` gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmseg_support.pipelines1 import LOAD, PACK, Notes, compare, config_of, image_of, mmsegs, ours, read

from segplug import Segplug
from segplug.cli.root import run_command_line
from segplug.errors import ModelError
from segplug.preprocessing import Flip, Resize

AFTER = {"type": "SegDataPreProcessor", "mean": [1.5], "std": [2.5], "test_cfg": {"size_divisor": 32}}
VIEWS = """
tta_model = dict(type='SegTTAModel')
tta_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='TestTimeAug', transforms=[
        [dict(type='Resize', scale_factor=r, keep_ratio=True) for r in (0.75, 1.0, 1.5)],
        [dict(type='RandomFlip', prob=0., direction='horizontal'),
         dict(type='RandomFlip', prob=1., direction='horizontal'),
         dict(type='RandomFlip', prob=1., direction='vertical')],
        [dict(type='PackSegInputs')]])]
"""
PADDED = ("pad_val=0, seg_pad_val=255)", "pad_val=0.5, seg_pad_val=255, test_cfg=dict(size_divisor=32))")
SLIDE = ("mode='whole'", "mode='slide', crop_size=(48, 48), stride=(30, 30)")


def augmentation(*groups: list[Any]) -> dict[str, Any]:
    return {"type": "TestTimeAug", "transforms": [*groups, [PACK]]}


@pytest.mark.parametrize("changes", [(), (PADDED,), (SLIDE,)], ids=["plain", "padded", "slide"])
def test_labels_are_those_of_mmsegs_tta_model(
    edited_config: Callable[..., Path], tmp_path: Path, changes: tuple[tuple[str, str], ...]
) -> None:
    path, image = edited_config(*changes, add=VIEWS), tmp_path / "image.png"
    cv2.imwrite(str(image), image_of(3, "uint8", (51, 83)))
    session = Segplug()
    torch.manual_seed(0)
    model = session.load_model(path)
    assert len(model.meta.tta) == 9
    assert not model.meta.tta_by_default
    _balance(model, session.predict(model, image, logits=True).logits)
    averaged = session.predict(model, image, logits=True, tta=True)
    labels, probabilities = _of_mmseg(model.module.segmentor, path, image)
    np.testing.assert_allclose(averaged.logits, probabilities, atol=1e-6)
    assert np.array_equal(averaged.logits.argmax(0), averaged.labels)
    second, first = np.sort(probabilities, axis=0)[-2:]
    sure = first - second > 1e-6
    assert sure.mean() > 0.99
    assert np.array_equal(averaged.labels[sure], labels[sure])
    assert len(np.unique(labels)) > 1
    plain = session.predict(model, image, logits=True)
    assert plain.scores == "logits"
    assert (plain.labels != labels).mean() > 0.01, "the views make a difference here"
    assert np.array_equal(plain.logits, session.predict(model, image, logits=True, tta=False).logits)


def _balance(model: Any, logits: np.ndarray) -> None:
    """Make all classes as likely, and surer: with their first weights, networks see one class everywhere."""
    last = model.module.segmentor.decode_head.conv_seg
    deviation = float(logits.std(axis=(1, 2)).mean())
    with torch.no_grad():
        last.weight /= deviation
        last.bias.copy_(torch.from_numpy((last.bias.numpy() - logits.mean(axis=(1, 2))) / deviation))


def _of_mmseg(segmentor: Any, path: Path, image: Path) -> tuple[np.ndarray, np.ndarray]:
    """Labels of ``SegTTAModel``, and the mean that it takes them from."""
    from mmengine.config import Config
    from mmengine.dataset import Compose, pseudo_collate
    from mmengine.registry import DefaultScope
    from mmseg.models import SegTTAModel

    seen = []

    class Watched(SegTTAModel):
        def merge_preds(self, data_samples_list: Any) -> Any:
            seen.extend(sample.seg_logits.data.softmax(0) for sample in data_samples_list[0])
            return super().merge_preds(data_samples_list)

    with DefaultScope.overwrite_default_scope("mmseg"), torch.no_grad():
        compose = Compose(Config.fromfile(path)["tta_pipeline"])
        packed = compose({"img_path": str(image), "seg_fields": [], "reduce_zero_label": False})
        (merged,) = Watched(segmentor).eval().test_step(pseudo_collate([packed]))
    assert len(seen) == 9
    return merged.pred_sem_seg.data[0].numpy(), torch.stack(seen).mean(0).numpy()


@pytest.mark.parametrize(
    "groups",
    [
        [[{"type": "RandomFlip", "prob": p, "direction": "vertical"} for p in (0.0, 1.0)]],
        [[{"type": "Resize", "scale": (w, w)} for w in (30, 50)], [{"type": "ResizeToMultiple"}]],
        [
            [{"type": "RandomFlip", "prob": 1.0}, {"type": "RandomFlip", "prob": 0.0}],
            [{"type": "Resize", "scale_factor": f, "keep_ratio": True} for f in (0.5, 1.5)],
            [{"type": "Pad", "size_divisor": 32}, {"type": "Pad", "pad_to_square": True}],
        ],
    ],
)
def test_views_are_mmsegs_in_its_order(groups: list[list[Any]]) -> None:
    image = image_of(3, "uint8")
    given = {"img": image, "img_shape": image.shape[:2], "ori_shape": image.shape[:2]}
    found = ours(read(config_of(augmentation(*groups), loader=None, after=AFTER)), image)
    compare(found, mmsegs([augmentation(*groups)], AFTER, given), groups)


@pytest.mark.parametrize(
    "inside", [{}, {"data_preprocessor": None}, {"data_preprocessor": {**AFTER, "std": [9.0]}}]
)
def test_views_have_the_data_preprocessor_that_mmengine_gives_to_its_tta_model(
    config_file: Path, tmp_path: Path, inside: dict[str, Any]
) -> None:
    from mmengine.config import Config
    from mmengine.runner import Runner

    other, flip = {**AFTER, "mean": [7.5]}, augmentation([{"type": "RandomFlip", "prob": 1.0}])
    config = config_of(PACK, after=AFTER, tta_pipeline=[LOAD, flip], data_preprocessor=other)
    config["tta_model"] = {"type": "SegTTAModel", **inside}
    network = {**Config.fromfile(config_file)["model"], "data_preprocessor": AFTER}
    settings = Config(
        {**config, "model": {**config["tta_model"], "module": network}, "default_scope": "mmseg"}
    )
    settings.work_dir, settings.test_dataloader = str(tmp_path), None
    runner = Runner.from_cfg(settings)
    built = runner.model.module.data_preprocessor
    expected = {**AFTER, "mean": built.mean.flatten().tolist(), "std": built.std.flatten().tolist()}
    found = read(config)
    assert found.tta == (read(config_of(flip, after=expected)).steps,)
    assert found.steps == read(config_of(PACK, after=AFTER)).steps, "the test pipeline has the model's"


def test_views_of_the_test_pipeline_run_by_default_and_others_do_not() -> None:
    views = augmentation(
        [{"type": "RandomFlip", "prob": 1.0}, {"type": "RandomFlip", "prob": 0.0}],
        [{"type": "Resize", "scale_factor": f, "keep_ratio": True} for f in (0.5, 1.0)],
    )
    inside = read(config_of(views))
    assert (len(inside.tta), inside.tta_by_default) == (4, True)
    assert inside.steps == inside.tta[3] == ()
    apart = read(config_of(PACK, tta_pipeline=[LOAD, views]))
    assert (apart.tta, apart.tta_by_default) == (inside.tta, False)
    assert read(config_of(views, tta_pipeline=[LOAD, PACK])).tta == inside.tta
    one = read(config_of(augmentation([{"type": "Resize", "scale": (8, 8)}])))
    assert (one.steps, one.tta) == ((Resize((8, 8)),), ())
    always = read(config_of(augmentation([{"type": "RandomFlip", "prob": 1.0}])))
    assert (always.steps, always.tta) == ((Flip(),), ())


REFUSED = [
    ([LOAD, {"type": "RGB2Gray"}, augmentation()], {}, "the test pipeline has RGB2Gray, which"),
    ([{**LOAD, "color_type": "grayscale"}, augmentation()], {}, "does not load images as the tta_pipeline"),
    ([LOAD, augmentation()], {"tta_model": {"type": "MyTTA"}}, "augmented by the tta_model MyTTA, which"),
    (
        [LOAD, {"type": "TestTimeAug", "transforms": [PACK]}],
        {},
        "cannot be read: ValueError: TestTimeAug has",
    ),
]


@pytest.mark.parametrize(("pipeline", "settings", "why"), REFUSED)
def test_a_tta_pipeline_that_cannot_run_does_not_stop_the_model(
    pipeline: list[Any], settings: dict[str, Any], why: str
) -> None:
    notes = Notes()
    found = read(config_of(PACK, tta_pipeline=pipeline, **settings), notes)
    assert (found.tta, found.tta_by_default, found.approximations) == ((), True, ())
    (note,) = notes.notes
    assert note.startswith("--tta is not possible: ")
    assert why in note


def test_a_head_of_one_channel_is_averaged_with_one_sigmoid_where_that_is_allowed() -> None:
    """mmseg's SegTTAModel applies it twice, so that each probability is at least 0.5."""
    views = augmentation([{"type": "RandomFlip", "prob": p} for p in (0.0, 1.0)])
    config, notes = config_of(PACK, tta_pipeline=[LOAD, views]), Notes()
    assert read(config, notes, out_channels=1).tta == ()
    assert "applies the sigmoid twice to a head of one channel" in notes.notes[0]
    allowed = read(config, out_channels=1, approximate=True)
    assert len(allowed.tta) == 2
    assert allowed.approximations == ("with --tta: the sigmoid is applied once",)


def test_transforms_after_the_augmentation_are_refused() -> None:
    config = config_of({"type": "TestTimeAug", "transforms": [[PACK]]}, {"type": "Resize", "scale": 8})
    with pytest.raises(ModelError, match="has Resize after TestTimeAug, which segplug cannot do"):
        read(config)


def test_the_command_line(config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = tmp_path / "image.png"
    cv2.imwrite(str(image), image_of(3, "uint8"))
    command = ["infer", "pytorch", str(config_file), "--input-img", str(image), "--show-dir"]
    assert run_command_line([*command, str(tmp_path / "a"), "--tta"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "the model small has no test-time augmentation to run" in error
    assert not (tmp_path / "a").exists()
    config_file.write_text(config_file.read_text() + VIEWS)
    assert run_command_line([*command, str(tmp_path / "b"), "--tta"]) == 0
    assert "the probabilities of 9 views are averaged" in capsys.readouterr().out
    assert run_command_line([*command, str(tmp_path / "c")]) == 0
    assert "test-time augmentation" not in capsys.readouterr().out
