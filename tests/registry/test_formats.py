"""Which backends open a file, and what leads from a model to a file that a backend opens; imports nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from segplug import Segplug
from segplug.errors import ArtifactError, PluginError, UsageError, VerificationError
from segplug.installed import Entry
from segplug.model import ModelMeta
from segplug.registry import discovery
from segplug.registry.formats import (
    backend_of_input,
    backends_for,
    default_backend,
    has_suffix,
    makers_of,
    route_to,
    verification_backend,
)
from segplug.registry.registry import Registry
from tests.registry.support import IMPORTS

ACME = (
    IMPORTS
    + """
class Saver(Exporter[NoOptions]):
    '''Saves models.'''
    hook_version = 2

    def __init__(self, suffix=None, verify_with=None):
        self.suffix, self.verify_with = suffix, verify_with

    @hookimpl
    def export(self, request): ...

class Compiler(EngineBuilder[NoOptions]):
    '''Compiles files.'''
    hook_version = 2

    def __init__(self, reads, suffix=None):
        self.reads, self.suffix = reads, suffix

    @hookimpl
    def build_engine(self, request): ...

class Engine(Backend[NoOptions]):
    '''Runs files, models or servers.'''
    hook_version = 2

    def __init__(self, *reads, takes="artifact"):
        self.reads, self.takes = reads or None, takes

    @hookimpl
    def infer(self, request): ...

plain, ncnn = Saver(".param", "plain"), Saver(".ncnn.param", "missing")
npu = Compiler(("plain",), ".npu")
chicken, egg = Compiler(("egg",)), Compiler(("chicken", "plain"))
a, b = Compiler(("b",)), Compiler(("a",))
own, many, model, server = Engine(), Engine("plain", "ncnn"), Engine(takes="model"), Engine(takes="url")
on_npu, on_chicken, on_b = Engine("npu"), Engine("chicken"), Engine("b", "nothing")
"""
)

GROUPS = {
    "segplug.export": {"plain": "acme:plain", "ncnn": "acme:ncnn"},
    "segplug.build_engine": {
        "npu": "acme:npu",
        "chicken": "acme:chicken",
        "egg": "acme:egg",
        "a": "acme:a",
        "b": "acme:b",
    },
    "segplug.infer": {
        "plain": "acme:own",
        "ncnn": "acme:own",
        "many": "acme:many",
        "model": "acme:model",
        "server": "acme:server",
        "on-npu": "acme:on_npu",
        "on-chicken": "acme:on_chicken",
        "on-b": "acme:on_b",
        "other": "acme:own",
    },
}


@pytest.fixture
def acme(install_plugin) -> Path:
    """A distribution that works, whose module may not be imported any more."""
    folder = install_plugin("acme", GROUPS, acme=ACME)
    (folder / "acme.py").write_text("raise SystemExit('imported')")
    return folder


def entry(hook: str, target: str) -> Entry:
    return Registry().entry(hook, target)


def opened_by(name: str) -> list[str]:
    found = [backend.target for backend in backends_for(Path(name))]
    assert "acme" not in sys.modules
    return found


def route(target: str) -> list[tuple[str, str]]:
    found = [(maker.hook, maker.target) for maker in route_to(entry("infer", target))]
    assert "acme" not in sys.modules
    return found


@pytest.mark.parametrize(
    ("name", "suffix", "fits"),
    [
        ("m.onnx", ".onnx", True),
        ("M.ONNX", ".onnx", True),
        ("m.onnx", ".Onnx", True),
        ("m.ncnn.param", ".ncnn.param", True),
        ("m.ncnn.param", ".param", True),
        ("m.param", ".ncnn.param", False),
        (".onnx", ".onnx", False),
        ("monnx", ".onnx", False),
        ("m.onnx.json", ".onnx", False),
        ("folder.onnx/m", ".onnx", False),
        ("m", "", False),
    ],
)
def test_a_suffix_is_the_end_of_a_name(name, suffix, fits) -> None:
    assert has_suffix(Path(name), suffix) is fits


def test_the_longest_suffix_wins(acme) -> None:
    assert opened_by("m.ncnn.param") == ["many", "ncnn"]
    assert opened_by("M.NCNN.PARAM") == ["many", "ncnn"]
    assert opened_by("m.param") == ["many", "plain"]
    assert opened_by("m.other.param") == ["many", "plain"]
    assert opened_by(".ncnn.param") == ["many", "plain"]


def test_a_file_is_known_by_the_suffix_of_its_maker_or_by_its_format(acme) -> None:
    assert opened_by("m.npu") == ["on-npu"]
    assert opened_by("m.plain") == []  # the maker says .param
    assert opened_by("m.other") == ["other"]
    assert opened_by("m.nothing") == ["on-b"]
    assert opened_by("m.jpg") == []
    assert opened_by("other") == []


def test_a_format_of_several_makers_has_the_suffixes_of_all(acme, install_plugin) -> None:
    source = ACME.replace('Saver(".param", "plain")', 'Saver(".prm", "plain")')
    install_plugin("second", {"segplug.export": {"plain": "second:plain"}}, second=source)
    assert opened_by("m.prm") == ["many", "plain"]
    assert opened_by("m.param") == ["many", "plain"]
    assert [maker.qualified for maker in makers_of("plain")] == ["acme:plain", "second:plain"]


def test_a_backend_that_claims_a_target_twice_is_still_found(acme, install_plugin) -> None:
    install_plugin("second", {"segplug.infer": {"on-npu": "second:on_npu"}}, second=ACME)
    found = backends_for(Path("m.npu"))
    assert [backend.qualified for backend in found] == ["acme:on-npu", "second:on-npu"]


def test_of_several_backends_the_one_that_the_exporter_verifies_with_comes_first(acme, tmp_path) -> None:
    (acme / "acme.py").write_text(ACME)
    for name, order in {"m.param": ["plain", "many"], "m.ncnn.param": ["many", "ncnn"]}.items():
        (tmp_path / name).write_text("a network")
        chosen, others = default_backend(Registry(), tmp_path / name)
        assert [chosen.entry.target, *(other.target for other in others)] == order


def test_a_config_is_run_by_pytorch_itself(tmp_path) -> None:
    (tmp_path / "config.py").write_text("model = dict()")
    for what in (tmp_path / "config.py", "python:nets:build"):
        chosen, others = default_backend(Registry(), what)
        assert (chosen.entry.target, others) == ("pytorch", ())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.txt", "there is no file"),
        ("folder", "no installed backend opens .*segplug plugins list|those that are installed open"),
        ("w.PTH", "no installed backend opens .*weights alone: name the model's config"),
        ("m.txt", r"no installed backend opens .*those that are installed open .*\.onnx.* files"),
        ("nothing:at.all", "no installed backend opens nothing:at.all"),
        ("net.py", "no installed source reads a model from net.py .*python:net.py:NAME"),
    ],
)
def test_a_file_that_nothing_opens(name, reason, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    for file in ("w.PTH", "m.txt", "net.py"):
        Path(file).write_text("something")
    with pytest.raises(UsageError, match=reason):
        default_backend(Registry(), name)


def test_the_plugin_of_a_file_is_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "m.onnx").write_text("a network")
    monkeypatch.setattr("segplug.registry.formats.entries", lambda hook: ())
    with pytest.raises(UsageError, match="pip install segplug-onnx"):
        default_backend(Registry(), tmp_path / "m.onnx")


def test_what_cannot_be_used_makes_and_opens_nothing(acme) -> None:
    manifest = acme / "acme.segplug.json"
    manifest.write_text(manifest.read_text().replace('"export": 2', '"export": 1'))
    discovery.forget()
    assert makers_of("plain") == ()
    assert opened_by("m.param") == []
    assert opened_by("m.plain") == ["many", "plain"]  # no maker says another suffix now
    with pytest.raises(UsageError, match="nothing that is installed makes"):
        route("plain")
    manifest.write_text("{")
    discovery.forget()
    assert opened_by("m.plain") == []


def test_a_route_leads_from_the_model_to_the_file(acme) -> None:
    assert route("model") == []
    assert route("plain") == [("export", "plain")]
    assert route("many") == [("export", "plain")]
    assert route("ncnn") == [("export", "ncnn")]
    assert route("on-npu") == [("export", "plain"), ("build_engine", "npu")]


def test_a_route_finds_its_way_out_of_a_circle(acme) -> None:
    assert route("on-chicken") == [
        ("export", "plain"),
        ("build_engine", "egg"),
        ("build_engine", "chicken"),
    ]


def test_what_nobody_makes_is_said(acme) -> None:
    with pytest.raises(
        UsageError, match="infer other opens other files, and nothing that is installed makes"
    ):
        route("other")
    with pytest.raises(UsageError, match="infer on-b opens b or nothing files, and nothing"):
        route("on-b")


def test_a_server_has_its_model(acme) -> None:
    with pytest.raises(UsageError, match="infer server asks a server, which has a model already"):
        route("server")


def test_what_verifies_is_named_by_the_maker(install_plugin) -> None:
    install_plugin("acme", GROUPS, acme=ACME)
    registry = Registry()
    assert verification_backend(registry, entry("export", "plain")).entry.target == "plain"
    with pytest.raises(UsageError, match="infer: no target 'missing'"):
        verification_backend(registry, entry("export", "ncnn"))
    with pytest.raises(VerificationError, match="nothing is known that runs a file of format npu"):
        verification_backend(registry, entry("build_engine", "npu"))
    assert backend_of_input(registry, entry("build_engine", "npu"), Path("m.param")).entry.target == "plain"
    with pytest.raises(VerificationError, match="format b"):
        backend_of_input(registry, entry("build_engine", "a"), Path("m.b"))


META = ModelMeta(name="inside")

READERS = (
    IMPORTS
    + """
from segplug.model import ModelMeta

class Reader(Exporter[NoOptions]):
    '''Keeps metadata inside.'''
    hook_version = 2
    suffix = ".ncnn.param"

    @hookimpl
    def export(self, request): ...

    def read_meta(self, path):
        return ModelMeta.from_json(path.read_text()) if path.is_file() and path.stat().st_size else None

class Beside(Exporter[NoOptions]):
    '''Keeps metadata beside.'''
    hook_version = 2
    suffix = ".param"

    @hookimpl
    def export(self, request): ...

class Folder(Packer[NoOptions]):
    '''Makes folders.'''
    hook_version = 2

    @hookimpl
    def export(self, request): ...

    def read_meta(self, path):
        inside = path / "meta"
        return ModelMeta.from_json(inside.read_text()) if inside.is_file() else None

reader, beside, folder = Reader(), Beside(), Folder()
"""
)

READER_GROUPS = {
    "segplug.export": {"reader": "acme:reader", "beside": "acme:beside", "folder": "acme:folder"}
}


@pytest.fixture
def readers(install_plugin, tmp_path: Path) -> Path:
    install_plugin("acme", READER_GROUPS, acme=READERS)
    return tmp_path


def test_metadata_is_read_by_the_maker_of_the_suffix(readers) -> None:
    session = Segplug()
    inside, other = readers / "m.ncnn.param", readers / "m.param"
    inside.write_text(META.to_json())
    other.write_text("")
    assert session.read_meta(inside) == META
    assert session.read_meta(other) is None
    (readers / "m.param.json").write_text(META.to_json())
    assert session.read_meta(other) == META


def test_the_maker_of_a_shorter_suffix_is_asked_next(readers) -> None:
    path = readers / "m.ncnn.param"
    path.write_text("")
    (readers / "m.ncnn.param.json").write_text(META.to_json())
    assert Segplug().read_meta(path) == META


def test_metadata_of_a_folder_is_read_by_its_suffix_and_by_packers(readers) -> None:
    package, artifact = readers / "package", readers / "m.param"
    package.mkdir()
    artifact.mkdir()
    session = Segplug()
    assert session.read_meta(package) is None
    (package / "meta").write_text(META.to_json())
    assert session.read_meta(package) == META
    assert session.read_meta(artifact) is None
    (readers / "m.param.json").write_text(META.to_json())
    assert session.read_meta(artifact) == META


def test_metadata_that_cannot_be_read_is_no_silence(readers, install_plugin) -> None:
    session = Segplug()
    with pytest.raises(UsageError, match="there is no file"):
        session.read_meta(readers / "m.param")
    path = readers / "m.ncnn.param"
    path.write_text("{")
    with pytest.raises(ArtifactError):
        session.read_meta(path)
    install_plugin("ill", {"segplug.export": {"ill": "ill:provider"}}, ill="import no_such_library")
    (readers / "m.ill").write_text("")
    with pytest.raises(PluginError, match="export ill"):
        session.read_meta(readers / "m.ill")
