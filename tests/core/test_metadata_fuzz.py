"""Metadata of any content: it is read, and can be written again, or it is one line that says why not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from segplug.artifact import read_sidecar, sidecar_path
from segplug.errors import ArtifactError
from segplug.limits import MOST_CHANNELS, MOST_PIXELS
from segplug.model import Inference, InputLimits, ModelMeta, Provenance
from segplug.preprocessing import Convert, Crop, Flip, Normalize, Pad, Resize, Scale

WHOLE = ModelMeta(
    name="m",
    classes=("a", "b"),
    palette=((0, 0, 0), (1, 2, 3)),
    preprocessing=(
        Convert(),
        Resize(scale=(64, 32)),
        Crop((32, 48)),
        Scale(2.0),
        Normalize((1.0, 2.0, 3.0), (1.0, 2.0, 3.0)),
        Pad(divisor=32),
    ),
    tta=((Resize((64, 32), "closest", multiple_of=8, multiple="nearest"), Flip()),),
    input_size=(32, 64),
    inference=Inference("slide", (32, 32), (16, 16)),
    input_limits=InputLimits((32, 32), 32, (64, 64)),
    out_channels=2,
    provenance=Provenance("c.py", "0" * 64, "w.pth", "1" * 64),
    versions={"torch": "2"},
    verification={"passed": True},
    extra={"onnx": {"output_kind": "labels", "logits": "logits"}},
).to_dict()
OLD = {
    "name": "m",
    "schema_version": 1,
    "resize": {"scale": [64, 32], "keep_ratio": True, "multiple_of": 32},
    "mean": [1.0, 2.0, 3.0],
    "std": [1.0, 2.0, 3.0],
    "pad": {"divisor": 32, "value": 1.0},
}

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 10**9, 2**63, -(2**63) - 1, 10**40, 1e300, "", "\x1b[31m", "\u202e", "\ud800"])
    | st.floats()
    | st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def _places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, value in items for place in _places(value, (*path, key)))]


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """Good metadata with one to three values replaced, removed or added, at any depth."""
    data: Any = copy.deepcopy(draw(st.sampled_from([WHOLE, OLD])))
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from([place for place in _places(data) if place] or [("name",)]))
        inside = data
        for key in path:
            inside = inside[key]
        how = draw(st.sampled_from(["replace", "remove", "add"]))
        if how == "remove" and isinstance(inside, dict):
            del inside[last]
        elif how == "add" and isinstance(inside, dict):
            inside[draw(st.text(max_size=8))] = draw(VALUES)
        else:
            inside[last] = draw(VALUES)
    return data


def _read(read: Callable[[], ModelMeta | None], file: str = "") -> ModelMeta | None:
    """The metadata; ``None``: it is refused, in one line that names the file."""
    refusal = ""
    try:
        return read()
    except ArtifactError as error:
        refusal = str(error)
    assert file in refusal
    assert "\n" not in refusal
    assert len(refusal) < 1000
    return None


def _use(meta: ModelMeta) -> None:
    again = ModelMeta.from_json(meta.to_json())
    assert again.to_json() == meta.to_json()
    meta.public().to_json()
    assert meta.in_channels <= MOST_CHANNELS
    if meta.input_size is not None:
        assert meta.input_size[0] * meta.input_size[1] <= MOST_PIXELS


@settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], max_examples=300)
@given(damaged())
@example(WHOLE | {"in_channels": 10_000_000})
@example(WHOLE | {"input_size": [10**9, 10**9]})
@example(WHOLE | {"extra": []})
@example(WHOLE | {"classes": {"a": 1}})
@example(WHOLE | {"classes": "\ud800"})
@example(WHOLE | {"\ud800": 1})
@example(WHOLE | {"palette": [[1, 2, float("nan")]] * 2})
@example([WHOLE])
@example("metadata")
def test_one_wrong_value_is_one_line(data: Any) -> None:
    text = json.dumps(data)
    meta = _read(lambda: ModelMeta.from_json(text, file="model.onnx"), "model.onnx")
    if meta is not None:
        _use(meta)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.text() | VALUES.map(json.dumps))
@example("[" * 100_000)
@example('{"name": "m", "schema_version": 2, "extra": {"a": ' + "[" * 500 + "]" * 500 + "}}")
@example('{"name": ' * 900 + "1" + "}" * 900)
@example('{"name": "m", "schema_version": ' + "1" * 10_000 + "}")
@example('{"schema_version": 2}')
def test_any_text_is_one_line(text: str) -> None:
    meta = _read(lambda: ModelMeta.from_json(text))
    if meta is not None:
        _use(meta)


@settings(
    deadline=None,
    derandomize=True,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary() | damaged().map(lambda data: json.dumps(data).encode()))
@example(b"\xff\xfe{}")
def test_any_sidecar_is_one_line(tmp_path: Path, content: bytes) -> None:
    artifact = tmp_path / "m.engine"
    sidecar_path(artifact).write_bytes(content)
    meta = _read(lambda: read_sidecar(artifact), "m.engine.json")
    if meta is not None:
        _use(meta)


@pytest.mark.parametrize("extra", [{"onnx": []}, {"onnx": None}, {"onnx": {"logits": 5}}])
def test_the_data_of_a_plugin_are_checked(extra: dict[str, Any]) -> None:
    from segplug_onnx.engine import _Details

    with pytest.raises(ArtifactError, match=r"m\.onnx: .*extra\.onnx"):
        ModelMeta("m", extra=extra).extra_as("onnx", _Details, file=Path("m.onnx"))
    assert ModelMeta("m").extra_as("onnx", _Details, file=Path("m.onnx")) == _Details()
