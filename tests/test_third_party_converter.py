"""The weight converter of docs/writing-a-plugin.md, installed as a third party's distribution."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from segplug.checkpoint import read_checkpoint, write_weights
from segplug.cli.root import run_command_line

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "writing-a-plugin.md"


def module_of_the_guide() -> str:
    """The Python module in the guide's section on converters."""
    section = GUIDE.read_text(encoding="utf-8").split("## A weight converter")[1]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1]


def weights() -> dict[str, torch.Tensor]:
    state = {
        "stem.weight": torch.randn(4, 3, 2, 2),
        "stem.bias": torch.randn(4),
        "head.weight": torch.ones(2),
    }
    for stage in range(4):
        block = f"stages.{stage}.0"
        state |= {f"{block}.norm.{p}": torch.randn(4) for p in ("weight", "bias")}
        state |= {f"{block}.q.weight": torch.randn(4, 4), f"{block}.q.bias": torch.randn(4)}
        state |= {f"{block}.kv.weight": torch.randn(8, 4), f"{block}.kv.bias": torch.randn(8)}
    return state


@pytest.fixture
def installed(install_plugin: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_plugin(
        "acme-weights",
        {"segplug.convert_weights": {"acmenet": "acme_weights:provider"}},
        acme_weights=module_of_the_guide(),
    )
    monkeypatch.chdir(tmp_path)


def command(*arguments: str) -> int:
    return run_command_line(["run", "convert_weights", *arguments])


@pytest.mark.usefixtures("installed")
def test_it_converts_there_and_back(capsys: pytest.CaptureFixture[str]) -> None:
    given = weights()
    write_weights(Path("acme.pth"), given)
    assert command("acmenet", "acme.pth", "mmseg.pth", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["backbone"] == {"type": "AcmeNet", "embed_dims": 4, "depths": [1, 1, 1, 1]}
    merged = read_checkpoint("mmseg.pth").state["layers.3.0.attn.in_proj_weight"]
    assert torch.equal(merged, torch.cat([given["stages.3.0.q.weight"], given["stages.3.0.kv.weight"]]))

    assert command("acmenet", "mmseg.pth", "back.pth", "--reverse") == 0
    back = read_checkpoint("back.pth").state
    assert given.keys() - back.keys() == {"head.weight"}
    assert back
    assert all(torch.equal(back[name], given[name]) for name in back)


@pytest.mark.usefixtures("installed")
def test_errors_of_other_targets_name_it(capsys: pytest.CaptureFixture[str]) -> None:
    write_weights(Path("acme.pth"), weights())
    assert command("vit", "acme.pth", "mmseg.pth") == 1
    assert "convert_weights acmenet (the files of acme/acmenet)" in " ".join(capsys.readouterr().err.split())
