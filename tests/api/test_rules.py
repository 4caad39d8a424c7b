"""The rules that the documentation and the example show, on exports, packed artifacts and packed configs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from segplug import Segplug
from segplug.cli.root import run_command_line
from segplug.comparison import Thresholds
from segplug.errors import RefusedError
from tests.api.toys import install_toys

ROOT = Path(__file__).resolve().parents[2]
UNTRAINED = "release rules: .* was made without a checkpoint"
UNVERIFIED = "release rules: only verified artifacts are released"


@pytest.fixture(autouse=True)
def toys(install_plugin, tmp_path, monkeypatch) -> Any:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pth").touch()
    return install_toys(install_plugin)


@pytest.fixture
def documented(install_plugin) -> None:
    """The add-on of docs/writing-a-plugin.md."""
    text = (ROOT / "docs" / "writing-a-plugin.md").read_text(encoding="utf-8")
    (source,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        if "class ReleaseRules" in block
    )
    install_plugin("rules", {"segplug.addon": {"release-rules": "rules_mod:addon"}}, rules_mod=source)


@pytest.fixture
def example(install_plugin) -> None:
    """The add-on of examples/segplug-openvino."""
    folder = ROOT / "examples" / "segplug-openvino" / "src" / "segplug_openvino"
    source = (folder / "release_rules.py").read_text(encoding="utf-8")
    install_plugin("rules", {"segplug.addon": {"release-rules": "rules_mod:addon"}}, rules_mod=source)


def lenient() -> Segplug:
    return Segplug(addon_options={"release-rules": {"may_be_unverified": True}})


@pytest.mark.usefixtures("documented")
def test_untrained_models_are_neither_exported_nor_packed(tmp_path) -> None:
    session = lenient()
    untrained = session.load_model("toys:m")
    with pytest.raises(RefusedError, match=UNTRAINED):
        session.export("toy", untrained, output=tmp_path / "m.toy", verify=True)
    with pytest.raises(RefusedError, match="toys:m was made without"):
        session.pack("shelf", untrained, folder=tmp_path / "store")
    assert not (tmp_path / "store").exists()
    assert not (tmp_path / "m.toy").exists()


@pytest.mark.usefixtures("documented")
def test_a_config_is_packed_where_nobody_asks_for_a_verification(tmp_path) -> None:
    trained = Segplug().load_model("toys:m", checkpoint="w.pth")
    with pytest.raises(RefusedError, match=UNVERIFIED):
        Segplug().pack("shelf", trained, folder=tmp_path / "store")
    assert not (tmp_path / "store").exists()
    packed = lenient().pack("shelf", trained, folder=tmp_path / "store")
    assert (packed.path / "model").exists()


@pytest.mark.usefixtures("documented")
def test_a_verified_artifact_is_released_and_packed(tmp_path) -> None:
    session = Segplug()
    trained = session.load_model("toys:m", checkpoint="w.pth")
    with pytest.raises(RefusedError, match=UNVERIFIED):
        session.export("toy", trained, output=tmp_path / "m.toy")
    with pytest.raises(RefusedError, match=UNVERIFIED):
        session.export("toy", trained, output=tmp_path / "m.toy", verify=True, text="2.0")
    by_hand = Thresholds(logits=1.0, firm_agreement=0.0, miou=0.0)
    with pytest.raises(RefusedError, match=UNVERIFIED):
        session.export("toy", trained, output=tmp_path / "m.toy", verify=True, thresholds=by_hand)
    assert not (tmp_path / "m.toy").exists()
    made = session.export("toy", trained, output=tmp_path / "m.toy", verify=True)
    assert session.pack("shelf", made, folder=tmp_path / "store").meta.verification is not None


@pytest.mark.usefixtures("documented")
def test_what_is_known_of_an_artifact_decides(tmp_path, toys) -> None:
    (tmp_path / "foreign.toy").write_text("1.0")
    with pytest.raises(RefusedError, match=r"foreign\.toy was made without"):
        lenient().pack("shelf", tmp_path / "foreign.toy", folder=tmp_path / "store")
    assert toys.requests == []


@pytest.mark.usefixtures("documented")
def test_the_rule_holds_on_the_command_line(tmp_path, capsys) -> None:
    pack = ["run", "export", "shelf", "toys:m", "--output-folder", str(tmp_path / "store")]
    trained = [*pack, "--checkpoint", "w.pth"]
    for command, code, said in (
        (pack, 1, "error: release rules: toys:m was made without a checkpoint\n"),
        (trained, 1, "error: release rules: only verified artifacts are released (--verify)\n"),
        ([*trained, "--no-addon", "release-rules"], 1, "must not be left out"),
        ([*trained, "--addon-options", "release-rules.may_be_unverified=true"], 0, ""),
    ):
        assert run_command_line(command) == code
        assert said in capsys.readouterr().err
    assert (tmp_path / "store" / "toy" / "model").exists()


@pytest.mark.usefixtures("example")
def test_the_record_of_the_example_lies_beside_what_was_made(tmp_path) -> None:
    session = Segplug()
    trained = session.load_model("toys:m", checkpoint="w.pth")
    made = session.export("toy", trained, output=tmp_path / "m.toy")
    packed = session.pack("shelf", trained, folder=tmp_path / "store")
    again = session.pack("shelf", made, folder=tmp_path / "store2")
    for artifact, is_package in ((made, False), (packed, True), (again, True)):
        path = artifact.path.with_name(artifact.path.name + ".release.json")
        record = json.loads(path.read_text())
        assert (record["artifact"], record["packed"]) == (artifact.path.name, is_package)
        assert record["sha256"] == artifact.sha256
        assert artifact.attached == (path.name,)
    with pytest.raises(RefusedError, match="without a checkpoint"):
        session.pack("shelf", session.load_model("toys:m"), folder=tmp_path / "store3")
