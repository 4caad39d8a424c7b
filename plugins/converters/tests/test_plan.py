"""Rules laid over names: every tensor accounted for, on both sides and in both directions."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from segplug_converters import Layout, Rule, drop, join, make, merge, move, reshape
from segplug_converters.convert import apply_plan
from segplug_converters.matching import best_plan
from segplug_converters.plan import plan_conversion

from segplug.errors import CheckpointError, PluginError

LAYOUT = Layout(
    name="made-up",
    description="nobody's files",
    anchors=(
        ("stage<s>.<i>.norm.weight", "layers.<s-1>.<i>.ln.weight"),
        ("stage<r>.<j>.sr.weight", "layers.<r-1>.<j>.sr.weight"),
        ("stage<k>.norm.weight", "norm<k-1>.weight"),
    ),
    rules=(
        move("stem.<p>", "stem.<p>"),
        move("stage<s>.<i>.norm.<p>", "layers.<s-1>.<i>.ln.<p>"),
        move("stage<r>.<j>.sr.weight", "layers.<r-1>.<j>.sr.weight"),
        join(("stage<s>.<i>.q.<p>", "stage<s>.<i>.kv.<p>"), "layers.<s-1>.<i>.in_<p>", merge(1, 2)),
        move("stage<k>.norm.<p>", "norm<k-1>.<p>", optional_target=True),
        make("norm<s-1>.weight", "layers.<s-1>.0.ln.weight", "a starting value", torch.ones_like),
        make("norm<s-1>.bias", "layers.<s-1>.0.ln.weight", "a starting value", torch.zeros_like),
        drop("head.<*>", "the classifier"),
    ),
)


def state() -> dict[str, torch.Tensor]:
    """Stages 1 and 2 of two blocks; only stage 1 reduces; only stage 2 has a norm."""
    names: dict[str, tuple[int, ...]] = {"stem.weight": (4,), "stem.bias": (4,)}
    for s in (1, 2):
        for i in (0, 1):
            names |= {f"stage{s}.{i}.norm.{p}": (4,) for p in ("weight", "bias")}
            names |= {f"stage{s}.{i}.q.weight": (4, 4), f"stage{s}.{i}.q.bias": (4,)}
            names |= {f"stage{s}.{i}.kv.weight": (8, 4), f"stage{s}.{i}.kv.bias": (8,)}
    names |= {f"stage1.{i}.sr.weight": (4, 4) for i in (0, 1)}
    names |= {"stage2.norm.weight": (4,), "stage2.norm.bias": (4,), "head.fc.weight": (3, 4)}
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in names.items()}


def test_every_tensor_finds_its_place() -> None:
    plan = plan_conversion(LAYOUT, state())
    assert plan is not None
    assert plan.complete
    result = apply_plan(plan, state())
    expected = {
        f"layers.{s}.{i}.{name}"
        for s in (0, 1)
        for i in (0, 1)
        for name in ("ln.weight", "ln.bias", "in_weight", "in_bias")
    }
    expected |= {"stem.weight", "stem.bias", "layers.0.0.sr.weight", "layers.0.1.sr.weight"}
    expected |= {"norm0.weight", "norm0.bias", "norm1.weight", "norm1.bias"}
    assert set(result) == expected
    merged = torch.cat([state()["stage2.1.q.weight"], state()["stage2.1.kv.weight"]])
    assert torch.equal(result["layers.1.1.in_weight"], merged)
    assert torch.equal(result["norm0.weight"], torch.ones(4))
    assert torch.equal(result["norm1.weight"], state()["stage2.norm.weight"])


def test_optional_targets_and_dropped_tensors_are_listed() -> None:
    plan = plan_conversion(LAYOUT, state())
    assert plan is not None
    assert set(plan.optional_targets) == {f"norm{k}.{p}" for k in (0, 1) for p in ("weight", "bias")}
    assert [(drop.name, drop.why) for drop in plan.dropped] == [("head.fc.weight", "the classifier")]


def test_renamed_tensors_are_not_copied() -> None:
    given = state()
    plan = plan_conversion(LAYOUT, given)
    assert plan is not None
    assert apply_plan(plan, dict(given))["stem.weight"].data_ptr() == given["stem.weight"].data_ptr()


def test_reverse_gives_the_same_bits() -> None:
    there = plan_conversion(LAYOUT, state())
    assert there is not None
    ours = {f"backbone.{name}": tensor for name, tensor in apply_plan(there, state()).items()}
    back = plan_conversion(LAYOUT, ours, reverse=True)
    assert back is not None
    assert back.complete
    theirs = apply_plan(back, ours)
    # norm0 was made for mmseg. It may have been trained since and has a name to go to; nobody can tell.
    assert theirs.keys() - state().keys() == {"stage1.norm.weight", "stage1.norm.bias"}
    assert state().keys() - theirs.keys() == {"head.fc.weight"}
    assert all(torch.equal(theirs[name], state()[name]) for name in theirs.keys() & state().keys())


@pytest.mark.parametrize(
    ("lost", "missing"),
    [
        ("stem.bias", "stem.bias"),
        ("stage1.1.norm.bias", "stage1.1.norm.bias"),
        ("stage2.0.kv.bias", "stage2.0.kv.bias"),
    ],
)
def test_a_lost_tensor_is_missing(lost: str, missing: str) -> None:
    names = [name for name in state() if name != lost]
    plan = plan_conversion(LAYOUT, names)
    assert plan is not None
    assert plan.missing == (missing,)


def test_the_other_half_of_an_optional_merge_is_missing() -> None:
    rules = tuple(
        dataclasses.replace(rule, optional="q and kv")
        if getattr(rule, "operation", None) is LAYOUT.rules[3].operation
        else rule
        for rule in LAYOUT.rules
    )
    names = [name for name in state() if name != "stage1.0.q.bias"]
    plan = plan_conversion(dataclasses.replace(LAYOUT, rules=rules), names)
    assert plan is not None
    assert plan.missing == ("stage1.0.q.bias",)


def test_a_block_without_its_anchor_is_unknown() -> None:
    names = [name for name in state() if name != "stage1.1.norm.weight"]
    plan = plan_conversion(LAYOUT, names)
    assert plan is not None
    assert "stage1.1.norm.bias" in plan.unknown
    assert "stage1.1.q.weight" in plan.unknown


def test_what_no_rule_knows_is_unknown_and_can_be_kept() -> None:
    given = {f"net.{name}": tensor for name, tensor in state().items()} | {"net.gamma": torch.ones(1)}
    plan = plan_conversion(LAYOUT, given)
    assert plan is not None
    assert plan.unknown == ("gamma",)
    assert "gamma" not in apply_plan(plan, dict(given))
    assert "gamma" in apply_plan(plan, given, keep_unknown=True)


def test_a_name_of_mmsegs_in_the_file_is_unknown_even_where_others_are_made_from_it() -> None:
    plan = plan_conversion(LAYOUT, [*state(), "layers.0.0.ln.weight"])
    assert plan is not None
    assert plan.unknown == ("layers.0.0.ln.weight",)


def test_a_decoder_with_blocks_is_no_second_network() -> None:
    given = [f"encoder.{name}" for name in state()] + ["decoder.stage1.0.norm.weight"]
    plan = plan_conversion(LAYOUT, given)
    assert plan is not None
    assert plan.complete
    assert plan.prefix == "encoder."


def test_a_layout_with_forbidden_names_does_not_match() -> None:
    rules = tuple(rule for rule in LAYOUT.rules if getattr(rule, "targets", ()) != ("stem.<p>",))
    without = dataclasses.replace(LAYOUT, rules=(*rules, drop("x", "nothing")), forbidden=("stem.<p>",))
    assert plan_conversion(without, state()) is None
    assert plan_conversion(without, [name for name in state() if not name.startswith("stem.")]) is not None


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (move("stage<z>.x", "layers.<z>.x"), "no anchor has the numbers z"),
        (move("stage<s>.x", "layers.x"), "differ in their variables"),
        (
            make("norm<s-1>.x", "layers.<r-1>.<j>.sr.weight", "why", torch.ones_like),
            "differ in their variables",
        ),
        (move("x", "y", reshape("", torch.flatten, None)), "does not say that it is one_way"),
    ],
)
def test_a_layout_with_a_faulty_rule_is_refused(rule: Rule, words: str) -> None:
    with pytest.raises(PluginError, match=words):
        dataclasses.replace(LAYOUT, rules=(*LAYOUT.rules, rule))


def test_two_rules_for_one_name_are_refused() -> None:
    twice = dataclasses.replace(LAYOUT, rules=(*LAYOUT.rules, move("other", "stem.weight")))
    with pytest.raises(PluginError, match=r"several rules give stem\.weight"):
        plan_conversion(twice, [*state(), "other"])


def test_tensors_of_different_types_do_not_merge() -> None:
    given = {**state()}
    given["stage1.0.kv.weight"] = given["stage1.0.kv.weight"].half()
    plan = plan_conversion(LAYOUT, given)
    assert plan is not None
    with pytest.raises(CheckpointError, match="float32 and float16 are different types"):
        apply_plan(plan, given)


def test_what_lies_outside_of_the_prefix_is_dropped_and_said_so() -> None:
    given = [f"net.{name}" for name in state()] + ["decoder.weight"]
    plan = plan_conversion(LAYOUT, given)
    assert plan is not None
    assert plan.prefix == "net."
    assert plan.complete
    assert ("decoder.weight", "outside of net.*") in [(drop.name, drop.why) for drop in plan.dropped]


def test_names_of_another_family_have_no_plan() -> None:
    assert plan_conversion(LAYOUT, ["blocks.0.norm.weight"]) is None


def test_two_networks_are_too_many() -> None:
    given = [f"{who}.{name}" for who in ("a", "b") for name in state()]
    with pytest.raises(CheckpointError, match=r"'a\.' and 'b\.'"):
        plan_conversion(LAYOUT, given)


def test_the_layout_that_explains_most_is_taken() -> None:
    poorer = dataclasses.replace(LAYOUT, name="poorer", rules=LAYOUT.rules[:-1])
    plan = best_plan((poorer, LAYOUT), state())
    assert plan is not None
    assert plan.layout.name == "made-up"


def test_shapes_that_do_not_go_together_are_named() -> None:
    given = {**state(), "stage1.0.kv.weight": torch.ones(7, 4)}
    plan = plan_conversion(LAYOUT, given)
    assert plan is not None
    with pytest.raises(
        CheckpointError, match=r"stage1\.0\.q\.weight and stage1\.0\.kv\.weight cannot become .*: 4x4 and 7x4"
    ):
        apply_plan(plan, given)
