"""The surest source loads a location; equally sure ones are asked for, and broken ones are said."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from segplug import Segplug
from segplug.cli.root import run_command_line
from segplug.errors import PluginError, UsageError
from segplug.registry.hub import how_to_download
from segplug.registry.registry import Registry
from tests.registry.support import IMPORTS

SETS = (
    IMPORTS
    + """
import numpy as np
from segplug.dataset import DatasetInfo
from segplug.testing.engines import ArrayDataset

class Sets(DatasetSource[NoOptions]):
    '''Opens made-up data sets.'''
    hook_version = 2

    def __init__(self, answer):
        self.answer = answer

    def accepts(self, location):
        answer = self.answer if location.endswith(".abc") else Confidence.NO
        if isinstance(answer, Exception):
            raise answer
        return answer

    @hookimpl
    def load_dataset(self, request):
        info = DatasetInfo(request.call.target, (), has_masks=False, fingerprint="made up")
        return ArrayDataset([np.zeros((8, 8, 3), np.uint8)], info=info)

no, possible, likely, sure = (Sets(answer) for answer in Confidence)
yes, three, nothing, ill = Sets(True), Sets(3), Sets(None), Sets(OSError("boom"))
"""
)


@pytest.fixture
def sets(install_plugin):
    """Installs a distribution for each source: the name of the target, and of the object."""

    def install(**sources: str) -> None:
        for target, name in sources.items():
            groups = {"segplug.load_dataset": {target: f"{target}_sets:{name}"}}
            install_plugin(f"of-{target}", groups, **{f"{target}_sets": SETS})

    return install


def opened(location: str = "x.abc", **arguments: str) -> str:
    return Segplug().load_dataset(location, **arguments).info.name


@pytest.mark.parametrize(
    "sources",
    [
        {"a": "possible", "b": "likely", "c": "sure"},
        {"c": "sure", "a": "likely", "b": "no"},
        {"c": "possible", "a": "no", "b": "no"},
        {"c": "likely", "a": "possible", "b": "possible"},
    ],
)
def test_the_surest_source_loads_it(sets, sources) -> None:
    sets(**sources)
    assert opened() == "c"


@pytest.mark.parametrize("confidence", ["possible", "likely", "sure"])
def test_equally_sure_sources_are_asked_for(sets, confidence) -> None:
    sets(a=confidence, b=confidence, c="no")
    with pytest.raises(UsageError) as caught:
        opened()
    assert str(caught.value) == (
        "several sources read x.abc: of-a:a, of-b:b (choose one with --dataset-source)"
    )
    assert opened(source="b") == "b"
    assert opened(source="of-a:a") == "a"
    assert opened(source="c") == "c"  # a named source is not asked


def test_less_sure_sources_are_not_named_among_equally_sure_ones(sets) -> None:
    sets(a="sure", b="sure", c="likely")
    with pytest.raises(UsageError, match="of-a:a, of-b:b") as caught:
        opened()
    assert "of-c" not in str(caught.value)


@pytest.mark.parametrize("location", ["acme/roads.v1.5", "https://huggingface.co/datasets/acme/roads.v1.5"])
def test_a_name_on_a_hub_is_said_how_to_download(sets, location) -> None:
    sets(datasets="likely")
    with pytest.raises(UsageError) as caught:
        opened(location)
    assert str(caught.value) == (
        f"there is no file or folder {location} (nothing is fetched from a hub: hf download --repo-type "
        "dataset acme/roads.v1.5 --local-dir roads.v1.5; then give roads.v1.5 in its place)"
    )


def test_without_a_source_that_reads_the_hub_s_models_it_is_said_what_brings_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("segplug.registry.hub.entries", lambda hook: ())
    assert how_to_download("acme/b0") == (
        "nothing is fetched from a hub: hf download acme/b0 --local-dir b0; pip install "
        "segplug-transformers; then give b0 in its place"
    )
    assert how_to_download("b0") is None


@pytest.mark.parametrize(
    "command",
    [
        "predict acme/b0 photo.jpg",
        "predict https://huggingface.co/acme/b0 photo.jpg",
        "infer acme/b0 --dataset . --out labels.npz",
        "infer onnxruntime acme/b0 --dataset . --out labels.npz",
        "info acme/b0",
        "info https://huggingface.co/acme/b0",
        "serve acme/b0",
        "export onnx acme/b0 --output b0.onnx",
        "export torchserve acme/b0 --output-folder models",
        "export triton acme/b0 --output-folder models",
        "build_engine tensorrt acme/b0 --output b0.engine",
        "analyze benchmark acme/b0",
        "analyze flops acme/b0",
        "analyze config acme/b0",
        "analyze parity acme/b0 b0.onnx --dataset .",
    ],
)
def test_every_command_says_how_a_model_on_the_hub_is_downloaded(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    assert run_command_line(command.split()) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "hf download acme/b0 --local-dir b0" in error


def test_the_command_line_names_both_and_the_flag(install_plugin, refused, tmp_path: Path) -> None:
    source = IMPORTS + "".join(
        f"""
class Source{number}(ModelSource[NoOptions]):
    '''Loads models.'''
    hook_version = 2

    def accepts(self, location):
        return Confidence.LIKELY if location.endswith(".abc") else Confidence.NO

    @hookimpl
    def load_model(self, request): ...
"""
        for number in (1, 2)
    )
    groups = {"segplug.load_model": {"one": "acme:one", "two": "acme:two"}}
    install_plugin("acme", groups, acme=source + "\none, two = Source1(), Source2()\n")
    saver = (
        IMPORTS
        + """
class Saver(Exporter[NoOptions]):
    '''Saves models.'''
    hook_version = 2

    @hookimpl
    def export(self, request): ...

provider = Saver()
"""
    )
    install_plugin("other", {"segplug.export": {"saver": "other:provider"}}, other=saver)
    line = refused(2, "run", "export", "saver", "net.abc", "--output", tmp_path / "out.saver")
    assert line == "several sources read net.abc: acme:one, acme:two (choose one with --source)"
    line = refused(
        1, "run", "export", "saver", "net.abc", "--output", tmp_path / "out.saver", "--source", "two"
    )
    assert line.startswith("load_model two (acme 1.0) returned NoneType where the hook 'load_model' promises")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("yes", "its 'accepts' returned True, not a Confidence"),
        ("three", "its 'accepts' returned 3, not a Confidence"),
        ("nothing", "its 'accepts' returned None, not a Confidence"),
        ("ill", "OSError: boom"),
    ],
)
def test_a_source_that_does_not_say_how_sure_it_is_is_set_apart_and_said(sets, refused, name, reason) -> None:
    sets(a=name)
    with pytest.raises(UsageError) as caught:
        opened()
    assert str(caught.value).startswith(
        "no installed source reads a data set from x.abc: there is no such file or folder "
        "(installed sources: a, "
    )
    assert f"; load_dataset a (of-a 1.0) is broken: {reason}" in str(caught.value)
    assert opened(source="a") == "a"

    sets(b="possible")
    assert opened() == "b"


def test_a_source_that_cannot_be_loaded_is_set_apart_and_said(sets, install_plugin) -> None:
    install_plugin("ill", {"segplug.load_dataset": {"ill": "ill_sets:provider"}}, ill_sets="1 / 0")
    with pytest.raises(UsageError, match=r"load_dataset ill \(ill 1.0\) is broken: ZeroDivisionError"):
        opened()
    sets(a="possible")
    assert opened() == "a"
    with pytest.raises(PluginError, match="division by zero"):
        opened(source="ill")


def test_a_source_without_accepts_is_broken(install_plugin) -> None:
    plain = SETS.replace("(DatasetSource[NoOptions])", "").replace("def accepts", "def reads_it")
    install_plugin("acme", {"segplug.load_dataset": {"acme": "acme:sure"}}, acme=plain)
    with pytest.raises(PluginError, match="it has no method 'accepts', which every DatasetSource needs"):
        Registry().provider("load_dataset", "acme")
    install_plugin(
        "based",
        {"segplug.load_dataset": {"based": "based:sure"}},
        based=SETS.replace("def accepts", "def reads_it"),
    )
    with pytest.raises(PluginError, match="abstract"):
        Registry().provider("load_dataset", "based")


def test_a_plain_object_is_a_source(install_plugin) -> None:
    plain = SETS.replace("(DatasetSource[NoOptions])", "")
    install_plugin("acme", {"segplug.load_dataset": {"acme": "acme:sure"}}, acme=plain)
    assert opened() == "acme"


def test_a_source_that_is_not_there_is_guessed(sets) -> None:
    sets(abcd="sure")
    with pytest.raises(UsageError, match="did you mean 'abcd'"):
        opened(source="abdc")


def test_whether_a_model_is_read_is_no_error(install_plugin) -> None:
    source = (
        IMPORTS
        + """
class Source(ModelSource[NoOptions]):
    '''Loads models.'''
    hook_version = 2

    def accepts(self, location):
        if location == "ill":
            raise OSError("boom")
        return Confidence.POSSIBLE if location == "mine" else Confidence.NO

    @hookimpl
    def load_model(self, request): ...

provider = Source()
"""
    )
    install_plugin("acme", {"segplug.load_model": {"acme": "acme:provider"}}, acme=source)
    session = Segplug()
    assert session.reads_model("mine")
    assert not session.reads_model("nobody's")
    assert not session.reads_model("ill")


def test_what_a_source_cannot_do_is_said(install_plugin) -> None:
    source = (
        IMPORTS
        + """
class Source(ModelSource[NoOptions]):
    '''Loads models.'''
    hook_version = 2

    def accepts(self, location):
        return Confidence.SURE if location == "mine" else Confidence.NO

    @hookimpl
    def load_model(self, request): ...

class Plain:
    hook_version = 2
    accepts = Source.accepts
    load_model = Source.load_model

based, plain = Source(), Plain()
"""
    )
    groups = {"segplug.load_model": {"based": "acme:based", "plain": "acme:plain"}}
    install_plugin("acme", groups, acme=source)
    session = Segplug()
    for name in ("based", "plain"):
        with pytest.raises(UsageError, match=f"the source {name} does not write its configs out"):
            session.config_text("mine", source=name)
        with pytest.raises(UsageError, match=f"the source {name} has no backbones to load weights into"):
            session.fit_backbone("mine", {}, source=name)
