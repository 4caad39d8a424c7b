"""Templates of names, and long lists of names in few lines."""

from __future__ import annotations

import pytest
from segplug_converters.names import Template, group_names

WORDS = {"p": ("weight", "bias"), "n": ("1", "2")}


def template(text: str) -> Template:
    return Template(text, WORDS)


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("cls_token", "cls_token", {}),
        ("blocks.<i>.norm<n>.<p>", "blocks.11.norm2.bias", {"i": 11, "n": "2", "p": "bias"}),
        ("layers.<s-1>.1.<i>.<p>", "layers.0.1.7.weight", {"s": 1, "i": 7, "p": "weight"}),
        ("a.<i+1>.b.<i>", "a.4.b.3", {"i": 3}),
        ("layers.<n+1>.x", "layers.3.x", {"n": "2"}),
    ],
)
def test_a_match_gives_the_values_that_fill_it_again(text: str, name: str, values: dict[str, object]) -> None:
    assert template(text).match(name) == values
    assert template(text).fill(values) == name  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("blocks.<i>.norm<n>.<p>", "blocks.1.norm3.weight"),
        ("blocks.<i>.norm<n>.<p>", "blocks.1.norm1.running_mean"),
        ("blocks.<i>.norm1.<p>", "blocks.x.norm1.weight"),
        ("blocks.<i>.norm1.<p>", "blocksx1.norm1.weight"),
        ("head.<*>", "head."),
        ("a.<i>.b.<i>", "a.1.b.2"),
        ("layers.<n+1>.x", "layers.1.x"),
    ],
)
def test_no_match(text: str, name: str) -> None:
    assert template(text).match(name) is None


def test_a_star_matches_any_text() -> None:
    assert template("head.<*>").match("head.fc.0.weight") == {}


def test_a_prefix_is_a_path_of_attributes() -> None:
    anchor = template("blocks.<i>.norm1.weight")
    assert anchor.search("model.encoder.blocks.3.norm1.weight") == ("model.encoder.", {"i": 3})
    assert anchor.search("blocks.3.norm1.weight") == ("", {"i": 3})
    assert anchor.search("layers.0.blocks.3.norm1.weight") is None


def test_a_prefix_of_a_path_of_folders_is_one() -> None:
    anchor = template("Transformer/block_<i>/scale")
    assert anchor.search("opt/target/Transformer/block_3/scale") == ("opt/target/", {"i": 3})
    assert anchor.search("Transformer/block_3/scale") == ("", {"i": 3})
    assert anchor.search("opt.target.Transformer/block_3/scale") is None
    assert anchor.search("opt/0/Transformer/block_3/scale") is None


def test_grouped_names_show_ranges_and_gaps() -> None:
    names = [f"blocks.{i}.fc.weight" for i in (0, 1, 2, 5)] + ["head.weight", "norm1.bias", "norm2.bias"]
    assert group_names(names) == ("blocks.{0-2,5}.fc.weight", "head.weight", "norm1-2.bias")


def test_grouped_names_do_not_mix_different_numbers() -> None:
    # Two columns of numbers that are no product must not read as if every pair were there.
    assert group_names(["a.0.b.0", "a.1.b.1"]) == ("a.0.b.0", "a.1.b.1")
    assert group_names(["a.0.b.0", "a.0.b.1", "a.1.b.0", "a.1.b.1"]) == ("a.0-1.b.0-1",)
