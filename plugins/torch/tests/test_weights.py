"""A checkpoint is loaded strictly: every weight, and none left over."""

from __future__ import annotations

import pytest
import torch
from segplug_torch.weights import load_weights, without_prefix
from torch import nn

from segplug.checkpoint import Checkpoint
from segplug.errors import CheckpointError
from segplug.progress import QuietReporter


def test_weights_of_another_model_are_counted_and_named():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    state = module.state_dict()
    state["2.weight"] = torch.zeros(5, 4, 1, 1)
    del state["0.weight"], state["0.bias"], state["1.num_batches_tracked"]
    for number in range(5):
        state[f"other.{number}"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        load_weights(module, Checkpoint("w.pth", state))
    assert str(caught.value) == (
        "the checkpoint w.pth is of another model: 2 keys missing (0.weight, 0.bias); "
        "5 keys unexpected (other.0, other.1, other.2, ...); "
        "1 key of another shape (2.weight 5x4x1x1 for 2x4x1x1)"
    )


def test_a_network_that_drops_what_has_another_shape_gets_the_same_error():
    class Dropping(nn.Linear):
        def load_state_dict(self, state_dict, strict=True, assign=False):
            for name, value in self.state_dict().items():
                if state_dict[name].shape != value.shape:
                    del state_dict[name]
            return super().load_state_dict(state_dict, strict=strict, assign=assign)

    state = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}
    with pytest.raises(CheckpointError) as caught:
        load_weights(Dropping(2, 2), Checkpoint("w.pth", state))
    assert str(caught.value).endswith("0 keys unexpected; 1 key of another shape (weight 2x3 for 2x2)")
    assert "0 keys missing" in str(caught.value)


def test_keys_that_a_module_renames_itself_are_no_error():
    class Renaming(nn.Linear):
        def _load_from_state_dict(self, state_dict, prefix, *args):
            if f"{prefix}old" in state_dict:
                state_dict[f"{prefix}weight"] = state_dict.pop(f"{prefix}old")
            super()._load_from_state_dict(state_dict, prefix, *args)

    module = Renaming(2, 2, bias=False)
    load_weights(module, Checkpoint("w.pth", {"old": torch.full((2, 2), 7.0)}))
    assert module.weight.tolist() == [[7.0, 7.0], [7.0, 7.0]]


def test_extra_tensors_are_ignored_where_the_caller_allows_it():
    module = nn.BatchNorm2d(2)
    state = {**module.state_dict(), "head.weight": torch.ones(1), "old.num_batches_tracked": torch.tensor(5)}
    with pytest.raises(CheckpointError, match=r"1 key unexpected \(head.weight\)"):
        load_weights(module, Checkpoint("w.pth", state))
    ignored = load_weights(module, Checkpoint("w.pth", state), is_extra=lambda name: name.startswith("head."))
    assert ignored == ["head.weight", "old.num_batches_tracked"]


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64])
def test_numbers_of_another_kind_are_not_copied(dtype: torch.dtype):
    """PyTorch would copy them: weights of 8 bits without their scale, or the real part alone."""
    module = nn.BatchNorm2d(2)
    state = {**module.state_dict(), "weight": torch.ones(2).to(dtype)}
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(CheckpointError, match=f"w.pth holds weight as {kind}, and the network's are"):
        load_weights(module, Checkpoint("w.pth", state))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floating_point_numbers_of_another_width_are_copied(dtype: torch.dtype):
    module = nn.BatchNorm2d(2)
    load_weights(module, Checkpoint("w.pth", {k: v.to(dtype) for k, v in module.state_dict().items()}))
    assert module.weight.tolist() == [1, 1]


class _Notes(QuietReporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_the_prefix_of_a_trainer_is_removed_and_what_is_beside_the_network_left_out():
    state = {
        "model.head.weight": torch.ones(1),
        "model.body.weight": torch.ones(2),
        "loss.weight": torch.ones(3),
    }
    told = _Notes()
    found = without_prefix(Checkpoint("w.pth", state), ("head.weight", "other.weight"), told)
    assert {name: len(value) for name, value in found.state.items()} == {"head.weight": 1, "body.weight": 2}
    assert told.notes == ["1 tensor beside the network (model.*) left out: loss.weight"]
    for names in (["head.weight", "ema.head.weight"], ["neck.weight", "aux_head.weight"]):
        checkpoint = Checkpoint("w.pth", {name: torch.ones(1) for name in names})
        assert without_prefix(checkpoint, ("head.weight",), told) is checkpoint
    two = Checkpoint("w.pth", {"model.head.weight": torch.ones(1), "ema.head.weight": torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"w.pth holds several networks: ema\., model\."):
        without_prefix(two, ("head.weight",), told)
