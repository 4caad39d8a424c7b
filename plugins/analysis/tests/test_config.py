"""``analyze config``: the whole config, and the network that it describes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from segplug_mmseg.compat import import_mmseg

from segplug import Segplug
from segplug.cli.root import run_command_line

CGNET = "cgnet/cgnet_512x1024_60k_cityscapes.py"
PSPNET = "pspnet/pspnet_r18-d8_512x1024_80k_cityscapes.py"


def mmseg_config(name: str) -> str:
    import_mmseg()
    import mmseg

    return str(Path(mmseg.__file__).parent / ".mim" / "configs" / name)


def analyze(*arguments: str) -> int:
    return run_command_line(["run", "analyze", "config", *arguments])


def test_the_config_is_printed_as_python_that_loads_again(tmp_path, monkeypatch, capsys):
    from mmcv import Config

    monkeypatch.chdir(tmp_path)
    assert (
        analyze(mmseg_config(CGNET), "--cfg-options", "optimizer.lr=0.5", "model.decode_head.num_classes=7")
        == 0
    )
    printed = tmp_path / "printed.py"
    assert list(tmp_path.iterdir()) == []  # print_config.py left an example.py behind
    printed.write_text(capsys.readouterr().out)
    expected = Config.fromfile(mmseg_config(CGNET))
    expected.merge_from_dict({"optimizer.lr": 0.5, "model.decode_head.num_classes": 7})
    assert Config.fromfile(str(printed))._cfg_dict == expected._cfg_dict


def test_only_the_file_of_out_is_written(tmp_path, capsys):
    out = tmp_path / "whole.py"
    assert analyze(mmseg_config(CGNET), "--out", str(out), "--json") == 0
    assert json.loads(capsys.readouterr().out)["text"] == out.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["whole.py"]
    out.write_text("mine")
    assert analyze(mmseg_config(CGNET), "--out", str(out)) == 2
    assert out.read_text() == "mine"
    assert analyze(mmseg_config(CGNET), "--out", str(out), "--force") == 0
    assert out.read_text().startswith("norm_cfg = ")


def test_the_graph_has_shapes_and_parameters(capsys):
    assert analyze(mmseg_config(PSPNET), "--graph", "--shape", "64", "128", "--json") == 0
    out, err = capsys.readouterr()
    assert "random" not in err  # nobody asked for the values of the weights
    modules = {module["path"]: module for module in json.loads(out)["modules"]}
    assert modules["backbone.layer4"]["outputs"] == [[1, 512, 8, 16]]
    assert modules["decode_head.conv_seg"]["parameters"] == 128 * 19 + 19
    assert modules["auxiliary_head"]["calls"] == 0
    assert modules["auxiliary_head"]["parameters"] > 0
    model = Segplug().load_model(mmseg_config(PSPNET), for_training=True)
    assert modules[""]["parameters"] == sum(p.numel() for p in model.module.parameters())


def test_the_graph_for_people(capsys):
    assert analyze(mmseg_config(PSPNET), "--graph") == 0
    out = capsys.readouterr().out
    assert "modules for an image of 1024 x 2048, 3 channels" in out
    assert "1x19x128x256" in out
    assert "note: Modules with parameters and no output are not called" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("none.py",), 2, "there is no config none.py"),
        (("a.txt",), 2, "no installed source reads a model from a.txt"),
        (("a.py", "b.py"), 2, "takes one config, not 2"),
        (("a.py", "--out", "a.py/out.py"), 2, "Not a directory"),
        (("a.py", "--out", "a.py", "--force"), 2, "is an input"),
        (("a.py", "--shape", "64"), 2, "--shape is only used with --graph (add --graph)"),
        (("a.py", "--approximate"), 2, "--approximate is only used with --graph (add --graph)"),
        (("a.py", "--graph", "--source", "mmseg"), 1, "has no `model`"),
        (
            ("function.py", "--out", "out.py", "--source", "mmseg"),
            1,
            "`hook` holds a type, which cannot be written out",
        ),
        (("small.py", "--graph"), 2, "has no input size (add --shape"),
        (("small.py", "--graph", "--shape", "1", "2", "3"), 2, "takes height and width, not 3 numbers"),
    ],
)
def test_bad_input(tmp_path, monkeypatch, capsys, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    Path("a.py").write_text("x = 1\n")
    Path("function.py").write_text("hook = [int]\n")
    text = Segplug().config_text(mmseg_config(CGNET)).partition("\ntest_pipeline")[0]
    Path("small.py").write_text(text.partition("\ntrain_pipeline")[0] + "\n")
    before = {path: path.read_text() for path in tmp_path.iterdir()}
    assert analyze(*arguments) == code
    assert message in capsys.readouterr().err
    assert {path: path.read_text() for path in tmp_path.iterdir()} == before


def test_a_size_that_the_network_cannot_take_is_one_line(capsys):
    assert (
        analyze(
            mmseg_config("mobilenet_v3/lraspp_m-v3-d8_512x1024_320k_cityscapes.py"),
            "--graph",
            "--shape",
            "64",
        )
        == 1
    )
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert "64" in err
