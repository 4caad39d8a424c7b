"""The description of what a server runs, and how it is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from segplug import Segplug
from segplug.engine import Axis, EngineSpec
from segplug.errors import ArtifactError, UsageError
from segplug.model import ModelMeta
from segplug.preprocessing import Flip, Pad, Resize
from segplug.serving.requests import Limits
from segplug.serving.served_model import (
    ServedModel,
    choose_backend,
    open_served_model,
    serving_warnings,
)

BACKEND = """
    from dataclasses import dataclass
    from segplug import Backend, EngineSpec, ModelMeta, hookimpl, option
    from segplug.testing import FunctionEngine

    @dataclass(frozen=True)
    class Options:
        fast: str = option("no", help="Fast.")

    class Opens(Backend[Options]):
        hook_version = 2
        options = Options
        reads = ("shelf",)
        default_device = "npu:0"

        @hookimpl
        def infer(self, request):
            name = f"{request.artifact.name} {request.device} {request.threads} {request.options.fast}"
            meta = ModelMeta(name=name, classes=("a", "b"), out_channels=2)
            return FunctionEngine(EngineSpec(meta=meta, output="logits"), None)

    provider = Opens()
"""


@pytest.fixture
def shelf(install_plugin, tmp_path) -> Path:
    install_plugin("one", {"segplug.infer": {"shelf-one": "one_mod:provider"}}, one_mod=BACKEND)
    (tmp_path / "m.shelf").write_bytes(b"x")
    return tmp_path / "m.shelf"


def test_a_description_survives_as_json() -> None:
    served = ServedModel("onnxruntime", "m.onnx", backend_options={"a": 1}, threads=2, limits=Limits(bytes=5))
    assert ServedModel.from_json(served.to_json()) == served
    for text in ("", "[]", "{}", '{"backend": "x", "limits": 3}', '{"backend": "x", "colour": "red"}'):
        with pytest.raises(ArtifactError, match="damaged"):
            ServedModel.from_json(text)


def test_an_artifact_is_opened_as_described(shelf) -> None:
    served = ServedModel("shelf-one", "m.shelf", backend_options={"fast": "yes"}, threads=3)
    with open_served_model(Segplug(), shelf.parent, served, device="cuda:1") as engine:
        assert engine.spec.meta.name == "m.shelf cuda:1 3 yes"
    assert engine.closed
    with open_served_model(Segplug(), shelf.parent, served) as engine:
        assert engine.spec.meta.name == "m.shelf npu:0 3 yes"
    with (
        pytest.raises(ArtifactError, match="neither"),
        open_served_model(Segplug(), shelf.parent, ServedModel("shelf-one")),
    ):
        pass


def test_what_changes_masks_is_warned_of() -> None:
    meta = ModelMeta(name="m", classes=("a", "b"), out_channels=2)
    assert serving_warnings(EngineSpec(meta=meta, output="logits")) == []
    own = EngineSpec(meta=meta.replace(label_resize="opencv"), output="labels")
    assert serving_warnings(own) == []
    assert serving_warnings(EngineSpec(meta=meta, output="labels")) == []  # of the image's own size
    resized = meta.replace(preprocessing=(Resize(scale=(32, 24)),))
    (labels,) = serving_warnings(EngineSpec(meta=resized, output="labels"))
    stretched = meta.replace(preprocessing=(Pad(size=(64, 64), cut=False),))
    assert serving_warnings(EngineSpec(meta=stretched, output="labels")) == [labels]
    one = {"height": Axis.fixed(24), "width": Axis.fixed(32)}
    assert serving_warnings(EngineSpec(meta=meta, output="logits", **one)) == []
    assert serving_warnings(EngineSpec(meta=meta, output="labels", **one)) == [labels]
    assert "--output-kind logits" in labels
    assert serving_warnings(EngineSpec(meta=meta, output="labels", input="image")) == []
    meta = meta.replace(tta=((), (Flip(),)), approximations=("the crop is left out",))
    approximated, views = serving_warnings(EngineSpec(meta=meta, output="logits"))
    assert approximated == "approximate: the crop is left out"
    assert "test-time augmentation (views: 2) is left out" in views


def test_the_backend_is_the_one_that_opens_the_file(shelf) -> None:
    assert choose_backend(Segplug(), shelf).entry.target == "shelf-one"
    assert choose_backend(Segplug(), shelf, "onnxruntime").entry.target == "onnxruntime"
    with pytest.raises(UsageError, match=r"there is no file x\.txt"):
        choose_backend(Segplug(), Path("x.txt"))
    shelf.with_name("m.txt").write_text("a note")
    with pytest.raises(UsageError, match="no installed backend opens"):
        choose_backend(Segplug(), shelf.with_name("m.txt"))
    with pytest.raises(UsageError, match="does not open artifacts"):
        choose_backend(Segplug(), shelf, "pytorch")
