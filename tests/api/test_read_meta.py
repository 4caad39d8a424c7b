"""``Segplug.read_meta``: the metadata of a file or folder of any installed format, by its path alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from segplug import Artifact, ModelMeta, Segplug
from segplug.artifact import sidecar_path, write_sidecar
from segplug.errors import ArtifactError, UsageError
from segplug.preprocessing import usual_steps

NET = """
from torch import nn

def net():
    return nn.Conv2d(3, 2, 1)
"""
SIZE = (16, 24)
META = ModelMeta(
    name="m", classes=("a", "b"), out_channels=2, preprocessing=usual_steps((0, 0, 0), (2, 2, 2))
)
EXPORTED = {"onnx": "m.onnx", "torchscript": "m.pt", "torch-export": "m.pt2"}
PACKED = {"torchserve": {"model_name": "m"}, "triton": {"model_name": "m"}}
BUILT = {"tensorrt": "m.engine", "torch-tensorrt": "m.engine"}

Make = Callable[[str], Artifact]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes an artifact of a format, once."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "nets.py").write_text(NET)
    session = Segplug()
    made: dict[str, Artifact] = {}

    def make(target: str) -> Artifact:
        if target in EXPORTED and target not in made:
            model = session.load_model(
                f"python:{folder / 'nets.py'}:net", mean=(1, 2, 3), std=(4, 5, 6), classes=("a", "b")
            )
            output = folder / EXPORTED[target]
            made[target] = session.export(target, model, output=output, shape=SIZE)
        elif target in PACKED and target not in made:
            store = folder / target
            made[target] = session.pack(target, make("onnx"), folder=store, **PACKED[target])
        return made[target]

    return make


def test_every_installed_format_is_tested() -> None:
    session = Segplug()
    assert {entry.target for entry in session.targets("export")} == {*EXPORTED, *PACKED}
    assert {entry.target for entry in session.targets("build_engine")} == set(BUILT)


@pytest.mark.parametrize("target", EXPORTED)
def test_an_exported_file(target: str, make: Make) -> None:
    made = make(target)
    assert made.meta.preprocessing == usual_steps((1, 2, 3), (4, 5, 6))
    assert made.meta.input_size == SIZE
    assert Segplug().read_meta(made.path) == made.meta
    assert Segplug().read_meta(str(made.path)) == made.meta


@pytest.mark.parametrize("target", PACKED)
def test_a_package(target: str, make: Make) -> None:
    made = make(target)
    found = Segplug().read_meta(made.path)
    assert found is not None
    # A package goes to other machines: it names no folders of this one, and no settings of the first format.
    assert found.replace(provenance=made.meta.provenance, extra=made.meta.extra) == made.meta
    assert found.provenance.config_sha256 == made.meta.provenance.config_sha256
    assert str(made.path.parent.parent) not in found.to_json()


@pytest.mark.parametrize("target", [*EXPORTED, *PACKED])
def test_what_a_file_or_a_package_is(target: str, make: Make) -> None:
    made = make(target)
    found = Segplug().info(made.path)
    assert (found.kind, found.format, found.path) == ("artifact", target, made.path)
    assert found.legend == made.meta.legend()
    assert found.size >= made.size > 0
    if target in EXPORTED:
        assert [one.shape for one in found.inputs] == ["1 x 3 x 16 x 24"]
        assert [one.shape for one in found.outputs] == ["1 x 2 x 16 x 24"]
        assert [backend.reason for backend in found.backends] == [""]
        assert found.next[0] == f"segplug predict {made.path} photo.jpg"
    else:
        assert found.backends == ()
        assert found.next[0].startswith(("torchserve", "tritonserver"))


@pytest.mark.parametrize("name", sorted(set(BUILT.values())))
def test_an_engine_with_its_sidecar(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"an engine")
    assert Segplug().read_meta(tmp_path / name) is None
    write_sidecar(tmp_path / name, META)
    assert Segplug().read_meta(tmp_path / name) == META
    sidecar_path(tmp_path / name).write_text("{")
    with pytest.raises(ArtifactError, match=rf"{name}\.json"):
        Segplug().read_meta(tmp_path / name)


def test_a_format_whose_suffix_has_several_parts(install_plugin, tmp_path: Path) -> None:
    source = """
        from segplug import ModelMeta, hookimpl
        from segplug.options import NoOptions
        from segplug.providers import Exporter

        class Inside(Exporter[NoOptions]):
            hook_version = 2
            suffix = ".acme.onnx"

            @hookimpl
            def export(self, request): ...

            def read_meta(self, path):
                return ModelMeta(name=path.read_text())

        inside = Inside()
    """
    install_plugin("inside", {"segplug.export": {"inside": "inside_mod:inside"}}, inside_mod=source)
    (tmp_path / "m.acme.onnx").write_text("hidden")
    assert Segplug().read_meta(tmp_path / "m.acme.onnx") == ModelMeta(name="hidden")
    (tmp_path / "m.Acme.ONNX").write_text("in capitals")
    assert Segplug().read_meta(tmp_path / "m.Acme.ONNX") == ModelMeta(name="in capitals")


def test_what_has_no_metadata(tmp_path: Path) -> None:
    session = Segplug()
    with pytest.raises(UsageError, match="there is no file"):
        session.read_meta(tmp_path / "gone.onnx")
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "folder").mkdir()
    assert session.read_meta(tmp_path / "notes.txt") is None
    assert session.read_meta(tmp_path / "folder") is None


@pytest.mark.parametrize("name", [*EXPORTED.values(), "m.mar"])
def test_a_damaged_file_is_an_error_that_names_it(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match=name):
        Segplug().read_meta(tmp_path / name)


def test_requests_say_the_metadata_of_what_they_are_about(make: Make, install_plugin) -> None:
    source = """
        from segplug import AddOn, hookimpl
        from segplug.options import NoOptions

        seen = []

        class Looks(AddOn[NoOptions]):
            hook_versions = {"infer": 2}

            @hookimpl(wrapper=True)
            def infer(self, request):
                seen.append((request.meta, request.location))
                return (yield)

        looks = Looks()
    """
    install_plugin("looks", {"segplug.addon": {"looks": "looks_mod:looks"}}, looks_mod=source)
    import looks_mod

    made = make("onnx")
    with Segplug().open(made, backend="onnxruntime"):
        pass
    assert looks_mod.seen == [(made.meta, str(made.path))]
