"""One tensor for all blocks: to every block, and back while it is still one."""

from __future__ import annotations

import pytest
import torch
from segplug_converters import Layout, make, move
from segplug_converters.convert import apply_plan
from segplug_converters.plan import plan_conversion
from segplug_converters.rules import share

from segplug.errors import CheckpointError

LAYOUT = Layout(
    name="made-up",
    description="nobody's files",
    anchors=(("blocks.<i>.weight", "layers.<i>.weight"),),
    rules=(
        move("blocks.<i>.weight", "layers.<i>.weight"),
        share("bias.table", "layers.<i>.table"),
        move("positions", "positions"),
        make("layers.<i>.index", "positions", "a constant", torch.zeros_like, optional_target=False),
    ),
)


def state() -> dict[str, torch.Tensor]:
    """Three blocks, one table, under a prefix."""
    own = {f"blocks.{i}.weight": torch.full((2,), float(i)) for i in range(3)}
    own |= {"bias.table": torch.arange(5.0), "positions": torch.ones(4)}
    return {f"encoder.{name}": tensor for name, tensor in own.items()}


def there() -> dict[str, torch.Tensor]:
    plan = plan_conversion(LAYOUT, state())
    assert plan is not None
    assert plan.complete
    return apply_plan(plan, state())


def test_every_block_gets_the_shared_tensor() -> None:
    result = there()
    for block in range(3):
        assert torch.equal(result[f"layers.{block}.table"], torch.arange(5.0))
    assert "bias.table" not in result


def test_every_block_gets_what_is_made_from_one_tensor() -> None:
    result = there()
    assert [name for name in result if name.endswith("index")] == [f"layers.{i}.index" for i in range(3)]


def test_reverse_gives_one_tensor() -> None:
    made = there()
    plan = plan_conversion(LAYOUT, made, reverse=True)
    assert plan is not None
    assert plan.complete
    back = apply_plan(plan, made)
    given = {name.removeprefix("encoder."): tensor for name, tensor in state().items()}
    assert back.keys() == given.keys()
    assert all(torch.equal(back[name], given[name]) for name in given)


def test_blocks_that_differ_cannot_be_converted_back() -> None:
    made = there()
    made["layers.1.table"] = made["layers.1.table"] + 1
    plan = plan_conversion(LAYOUT, made, reverse=True)
    assert plan is not None
    with pytest.raises(CheckpointError) as caught:
        apply_plan(plan, made)
    assert str(caught.value) == "layers.0-2.table cannot become bias.table: their values differ"


def test_a_missing_shared_tensor_is_listed() -> None:
    names = [name for name in state() if "table" not in name]
    plan = plan_conversion(LAYOUT, names)
    assert plan is not None
    assert plan.missing == ("bias.table",)


def test_reverse_needs_the_tensor_of_every_block() -> None:
    names = [name for name in there() if name != "layers.2.table"]
    plan = plan_conversion(LAYOUT, names, reverse=True)
    assert plan is not None
    assert plan.missing == ("layers.2.table",)
    assert plan.unknown == ("layers.0.table", "layers.1.table")
