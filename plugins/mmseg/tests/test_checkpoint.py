from __future__ import annotations

import pytest
import torch
from segplug_mmseg.checkpoint import fit
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


def test_weights_of_another_model_are_counted_and_named():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    state = module.state_dict()
    state["2.weight"] = torch.zeros(5, 4, 1, 1)
    del state["0.weight"], state["0.bias"], state["1.num_batches_tracked"]
    for number in range(5):
        state[f"other.{number}"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        fit(module, Checkpoint("w.pth", state), reporter=QuietReporter())
    assert str(caught.value) == (
        "the checkpoint w.pth is of another model: 2 keys missing (0.weight, 0.bias); "
        "5 keys unexpected (other.0, other.1, other.2, ...); "
        "1 keys of another shape (2.weight 5x4x1x1 for 2x4x1x1)"
    )


def test_what_training_leaves_behind_is_ignored_and_said():
    module = nn.BatchNorm2d(2)
    state = {key: value for key, value in module.state_dict().items() if key != "num_batches_tracked"}
    state |= {"auxiliary_head.conv.weight": torch.ones(1), "ema_weight": torch.ones(2)}
    reporter = Notes()
    fit(module, Checkpoint("w.pth", state), reporter=reporter)
    assert reporter.notes == ["w.pth: ignored 2 tensors for training (auxiliary_head, ema)"]


def test_keys_that_a_module_renames_itself_are_no_error():
    class Renaming(nn.Linear):
        def _load_from_state_dict(self, state_dict, prefix, *args):
            if f"{prefix}old" in state_dict:
                state_dict[f"{prefix}weight"] = state_dict.pop(f"{prefix}old")
            super()._load_from_state_dict(state_dict, prefix, *args)

    module = Renaming(2, 2, bias=False)
    fit(module, Checkpoint("w.pth", {"old": torch.full((2, 2), 7.0)}), reporter=QuietReporter())
    assert module.weight.tolist() == [[7.0, 7.0], [7.0, 7.0]]
