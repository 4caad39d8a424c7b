"""No output replaces or removes an input, its parts or a model of the server's folder, whatever its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from segplug import Segplug
from segplug.errors import PluginError, UsageError

TOYS = """
    import json
    from dataclasses import dataclass
    from pathlib import Path
    from segplug import Backend, hookimpl, option
    from segplug.artifact import read_sidecar, write_sidecar
    from segplug.model import ModelMeta
    from segplug.options import NoOptions
    from segplug.providers import EngineBuilder, Packer, WeightConverter
    from segplug.results import ConversionReport

    class Toy(Backend[NoOptions]):
        hook_version = 2

        @hookimpl
        def infer(self, request):
            raise NotImplementedError

        def companions(self, artifact):
            data = artifact.with_name(artifact.name + ".data")
            return [data] if data.is_file() else []

    @dataclass(frozen=True)
    class Options:
        beside: str | None = option(None, help="Write another file of this name.")

    class Builder(EngineBuilder[Options]):
        hook_version = 2
        options = Options
        suffix = ".toy"
        verify_with = "toy"
        reads = ("toy",)

        @hookimpl
        def build_engine(self, request):
            request.output.write_text("new")
            if request.options.beside:
                request.output.with_name(request.options.beside).write_text("new")
            meta = (request.meta or ModelMeta("m")).replace(name="built")
            self.write_meta(request.output, meta)
            return request.made(meta)

    class Shelf(Packer[NoOptions]):
        hook_version = 2

        @hookimpl
        def export(self, request):
            package = request.output / "seg"
            package.mkdir()
            package.joinpath("copy").write_text(request.file.read_text())
            return request.made(package, ModelMeta("m"))

    class Weights(WeightConverter[NoOptions]):
        hook_version = 2
        renames = True

        @hookimpl
        def convert_weights(self, request):
            request.output.write_text("left over")
            named = request.output.with_stem(request.output.stem + "-1")
            named.write_text("new")
            return ConversionReport(destination=named)

    backend, builder, shelf, weights = Toy(), Builder(), Shelf(), Weights()
"""


@pytest.fixture
def session(install_plugin) -> Segplug:
    groups = {
        "segplug.infer": {"toy": "toys:backend"},
        "segplug.build_engine": {"toy": "toys:builder"},
        "segplug.export": {"shelf": "toys:shelf"},
        "segplug.convert_weights": {"weights": "toys:weights"},
    }
    install_plugin("toys", groups, toys=TOYS)
    return Segplug()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    for name in ("in.toy", "in.toy.data", "in.toy.json"):
        made.joinpath(name).write_text('{"schema_version": 1, "name": "m"}')
    return made


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("output", ["in.toy", "in.toy.data", "in.toy.json"])
def test_no_part_of_the_input_is_replaced(session: Segplug, folder: Path, output: str) -> None:
    before = contents(folder)
    with pytest.raises(UsageError, match="is an input"):
        session.build_engine("toy", folder / "in.toy", output=folder / output, force=True)
    assert contents(folder) == before


def test_a_part_of_the_output_replaces_no_input(session: Segplug, folder: Path) -> None:
    before = contents(folder)
    with pytest.raises(UsageError, match="is an input"):
        session.build_engine(
            "toy", folder / "in.toy", output=folder / "b.toy", beside="in.toy.data", force=True
        )
    assert contents(folder) == before


def test_a_file_that_another_artifact_may_need_is_not_removed(session: Segplug, folder: Path) -> None:
    (folder / "b.toy").write_text("old")
    (folder / "b.toy.data").write_text("its own")
    (folder / "b.toy.json").write_text('{"mine": "no metadata"}')
    session.build_engine("toy", folder / "in.toy", output=folder / "b.toy", force=True)
    after = contents(folder)
    assert after["b.toy"] == "new"
    assert "b.toy.data" not in after  # named after the artifact: it was a part of the older one
    assert after["in.toy.data"] == after["in.toy"]


def test_a_package_replaces_a_model_with_force_only(session: Segplug, folder: Path) -> None:
    models = folder / "models"
    models.joinpath("seg").mkdir(parents=True)
    models.joinpath("seg", "mine").write_text("old")
    with pytest.raises(UsageError, match="already exists"):
        session.pack("shelf", folder / "in.toy", folder=models)
    assert contents(models) == {"seg/mine": "old"}
    session.pack("shelf", folder / "in.toy", folder=models, force=True)
    assert list(contents(models)) == ["seg/copy"]


def test_a_package_never_replaces_the_folder_of_its_input(session: Segplug, folder: Path) -> None:
    models = folder / "models"
    models.joinpath("seg").mkdir(parents=True)
    models.joinpath("seg", "in.toy").write_text("old")
    with pytest.raises(UsageError, match="is an input"):
        session.pack("shelf", models / "seg" / "in.toy", folder=models, force=True)
    assert contents(models) == {"seg/in.toy": "old"}


def test_a_converter_that_renames_leaves_the_named_file(session: Segplug, folder: Path) -> None:
    (folder / "w.pth").write_text("old")
    before = contents(folder)
    with pytest.raises(UsageError, match=r"w\.pth already exists"):
        session.convert_weights("weights", folder / "in.toy", folder / "w.pth")
    assert contents(folder) == before


def test_a_folder_is_not_replaced_by_a_file(session: Segplug, folder: Path) -> None:
    (folder / "b.toy").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        session.build_engine("toy", folder / "in.toy", output=folder / "b.toy", force=True)


RULES = """
    from dataclasses import replace
    from segplug import AddOn, hookimpl
    from segplug.options import NoOptions

    class Rule(AddOn[NoOptions]):
        hook_versions = {"build_engine": 2}

        @hookimpl(wrapper=True)
        def build_engine(self, request):
            artifact = yield
            %s

    addon = Rule()
"""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('return replace(artifact, path=artifact.path.with_name("other.toy"))', "another artifact"),
        ('return replace(artifact, format="onnx")', "another artifact"),
        ("artifact.path.unlink(); return artifact", "removed b.toy"),
        ('return replace(artifact, meta=artifact.meta.replace(name="mine"))', "not that in the artifact"),
    ],
)
def test_an_addon_may_not_return_another_artifact(
    session: Segplug, install_plugin, folder: Path, body: str, reason: str
) -> None:
    install_plugin("rules", {"segplug.addon": {"rule": "rules:addon"}}, rules=RULES % body)
    before = contents(folder)
    with pytest.raises(PluginError, match=reason):
        Segplug().build_engine("toy", folder / "in.toy", output=folder / "b.toy")
    assert contents(folder) == before


def test_a_verification_of_the_input_does_not_pass_on(session: Segplug, folder: Path) -> None:
    meta = '{"schema_version": 1, "name": "m", "verification": {"passed": true}}'
    (folder / "in.toy.json").write_text(meta)
    made = session.build_engine("toy", folder / "in.toy", output=folder / "b.toy")
    assert made.meta.verification is None
    found = session.read_meta(folder / "b.toy")
    assert found is not None
    assert (found.name, found.verification) == ("built", None)
