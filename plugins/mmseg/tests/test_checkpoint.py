"""The weights of a checkpoint that only training uses."""

from __future__ import annotations

import pytest
import torch
from segplug_mmseg.checkpoint import load_segmentor
from segplug_mmseg.checkpoint_meta import class_names, class_palette, writer
from torch import nn

from segplug.checkpoint import Checkpoint
from segplug.errors import CheckpointError
from segplug.progress import QuietReporter


class Notes(QuietReporter):
    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_weights_that_only_training_uses_are_ignored_with_a_note():
    module = nn.BatchNorm2d(2)
    state = {key: value for key, value in module.state_dict().items() if key != "num_batches_tracked"}
    state |= {"auxiliary_head.conv.weight": torch.ones(1), "ema_weight": torch.ones(2)}
    reporter = Notes()
    load_segmentor(module, Checkpoint("w.pth", state), reporter=reporter)
    assert reporter.notes == ["w.pth: ignored 2 tensors for training (auxiliary_head, ema)"]


def test_averages_of_mmengine_are_told():
    module = nn.Linear(1, 1)
    averages, last = module.state_dict(), {"module.weight": torch.ones(1, 1)}
    reporter = Notes()
    load_segmentor(module, Checkpoint("w.pth", averages, rest={"ema_state_dict": last}), reporter=reporter)
    (note,) = reporter.notes
    assert note.startswith("w.pth: the weights are averages over the training")


OF_ENGINE = {
    "mmengine_version": "0.10.7",
    "dataset_meta": {"classes": ["a", "b"], "palette": [[1, 2, 3]] * 2},
}
OF_MMCV = {"mmcv_version": "1.7.2", "CLASSES": ("a", "b"), "PALETTE": ((1, 2, 3),) * 2}
FIRST_OF_ENGINE = {"mmengine_version": "0.1.0", "dataset_meta": {"CLASSES": ("a", "b"), "PALETTE": None}}


@pytest.mark.parametrize(
    ("meta", "wrote", "config"),
    [
        (OF_ENGINE, "mmengine 0.10.7", "0.x"),
        (OF_MMCV, "mmcv 1.7.2", "1.x"),
        (FIRST_OF_ENGINE, "mmengine 0.1.0", "0.x"),
    ],
)
def test_weights_of_another_generation_that_do_not_fit(meta, wrote, config):
    """Weights that fit are loaded, whatever wrote them."""
    module, reporter = nn.Linear(1, 1), Notes()
    fitting = Checkpoint("w.pth", module.state_dict(), meta)
    load_segmentor(module, fitting, reporter=reporter, config_generation=lambda: config)
    other = Checkpoint("w.pth", {"conv.weight": torch.ones(1)}, meta)
    generation = "1.x" if "engine" in wrote else "0.x"
    for of_config, told in ((config, True), (generation, False)):
        with pytest.raises(CheckpointError, match="is of another model: 2 keys missing") as caught:
            load_segmentor(module, other, reporter=reporter, config_generation=lambda: of_config)  # noqa: B023
        said = f"{wrote} wrote it, so it is of mmsegmentation {generation}, and the config is of {config}"
        assert (said in str(caught.value)) == told
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("meta", "palette"),
    [(OF_ENGINE, ((1, 2, 3),) * 2), (OF_MMCV, ((1, 2, 3),) * 2), (FIRST_OF_ENGINE, ())],
)
def test_classes_that_a_checkpoint_names(meta, palette):
    assert class_names(meta) == ("a", "b")
    assert class_palette(meta) == palette


@pytest.mark.parametrize("meta", [{}, {"dataset_meta": 5, "CLASSES": 7}, {"dataset_meta": {"classes": None}}])
def test_notes_without_classes(meta):
    assert class_names(meta) == class_palette(meta) == ()
    assert writer({**meta, "mmengine_version": 3}) is None
