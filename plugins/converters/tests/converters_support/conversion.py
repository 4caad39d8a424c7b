"""Helpers of every family's tests: convert through the public API, load strictly into mmseg, reverse."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from segplug_converters import Shapes
from segplug_converters.convert import apply_plan
from segplug_converters.matching import best_plan
from segplug_converters.rules import Move
from segplug_mmseg.compat import import_mmseg

from segplug import Segplug
from segplug.checkpoint import read_checkpoint, write_weights
from segplug.errors import CheckpointError
from segplug.registry.registry import Registry
from segplug.results import ConversionReport

State = Mapping[str, torch.Tensor]


def converted(
    target: str, state: State, folder: Path, *, suffix: str = ".pth", **options: Any
) -> tuple[dict[str, torch.Tensor], ConversionReport]:
    """Weights written to a file, converted, and read again."""
    folder.mkdir(parents=True, exist_ok=True)
    source, destination = folder / f"source{suffix}", folder / f"{target}.pth"
    write_weights(source, state)
    report = Segplug().convert_weights(target, source, destination, force=True, **options)
    result = dict(read_checkpoint(str(destination)).state)
    assert result
    return result, report


def backbone(settings: Mapping[str, Any], state: State) -> torch.nn.Module:
    """mmseg's backbone of these settings, with the weights loaded strictly, in eval mode."""
    import_mmseg()
    from mmseg.models import build_backbone

    network: torch.nn.Module = build_backbone(dict(settings))
    network.load_state_dict(dict(state), strict=True)
    network.eval()  # not returned: some of mmseg's backbones return None
    return network


def assert_reversible(target: str, layout: str, state: State, folder: Path) -> None:
    """Converting to mmseg and back gives the same bits, for all tensors that were not dropped."""
    ours, there = converted(target, state, folder / "there")
    back, _ = converted(target, ours, folder / "back", reverse=True, layout=layout)
    dropped = {item["name"] for item in there.data["dropped"]}
    assert back.keys() == state.keys() - dropped
    for name, tensor in back.items():
        assert tensor.dtype == state[name].dtype, name
        assert torch.equal(tensor, state[name]), name


def unnoticed_losses(target: str, state: State) -> list[str]:
    """The tensors whose loss would not be noticed.

    Each tensor that a rule moves is left out in turn. Its loss is not noticed if the plan is still complete
    and a variant can be read.
    """
    converter: Any = Registry().provider("convert_weights", target).plugin
    whole = best_plan(converter.layouts, state)
    assert whole is not None
    assert whole.complete
    moved = [
        whole.prefix + name for step in whole.steps if isinstance(step.rule, Move) for name in step.sources
    ]
    assert moved
    return [name for name in dict.fromkeys(moved) if _is_taken(converter, {**state}, without=name)]


def _is_taken(converter: Any, state: dict[str, torch.Tensor], *, without: str) -> bool:
    del state[without]
    try:
        plan = best_plan(converter.layouts, state)
        if plan is None or not plan.complete:
            return False
        in_file = {name.removeprefix(plan.prefix): tuple(tensor.shape) for name, tensor in state.items()}
        shapes = {name: tuple(tensor.shape) for name, tensor in apply_plan(plan, state).items()}
        converter.describe(Shapes(shapes, in_file=in_file))
    except CheckpointError:
        return False
    return True
