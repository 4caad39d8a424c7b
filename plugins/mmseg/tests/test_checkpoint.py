"""The weights of a checkpoint that only training uses."""

from __future__ import annotations

import torch
from segplug_mmseg.checkpoint import load_segmentor
from torch import nn

from segplug.checkpoint import Checkpoint
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
