"""``analyze flops`` on configs: totals, modules, modules for training only, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from segplug_mmseg.compat import import_mmseg

from segplug import Segplug
from segplug.cli.root import run_command_line
from segplug.errors import MissingDependencyError, ShapeError, UsageError
from segplug.progress import QuietReporter

CGNET = "cgnet/cgnet_680x680_60k_cityscapes.py"
PSPNET = "pspnet/pspnet_r50-d8_512x1024_40k_cityscapes.py"
SEGFORMER = "segformer/segformer_mit-b0_512x512_160k_ade20k.py"
SEGMENTER = "segmenter/segmenter_vit-t_mask_8x1_512x512_160k_ade20k.py"
UNET = "unet/fcn_unet_s5-d16_64x64_40k_drive.py"


def config(name: str) -> str:
    return str(Path(str(import_mmseg().__file__)).parent / ".mim" / "configs" / name)


def analyze(name, **options):
    return Segplug().analyze("flops", config(name), **options)


def table(report, title):
    (found,) = [table for table in report.tables if table.title.startswith(title)]
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


@pytest.fixture(scope="module")
def pspnet():
    return analyze(PSPNET, shape=(2048, 1024))


@pytest.fixture(scope="module")
def segformer():
    return analyze(SEGFORMER, shape=(512, 512))


def test_pspnet_has_the_published_numbers(pspnet):
    assert pspnet.data["macs"] == pytest.approx(1429.68e9, rel=0.005)
    assert round(pspnet.data["parameters"] / 1e6, 2) == 48.98
    (row,) = table(pspnet, "total")
    assert row["input (CxHxW)"] == "3x2048x1024"
    assert row["MACs (G)"] == pspnet.data["macs"] / 1e9
    assert row["FLOPs (G)"] == pspnet.data["flops"] / 1e9


def test_flops_are_twice_the_macs_and_what_else_is_done(pspnet):
    data = pspnet.data
    others = sum(item["flops"] - 2 * item["macs"] for item in data["operators"])
    assert 0 < others < 0.01 * data["flops"]
    assert data["flops"] == 2 * data["macs"] + others


def test_what_only_training_uses_is_told_apart(pspnet):
    data = pspnet.data
    assert round(data["parameters_used"] / 1e6, 2) == 46.61
    auxiliary = next(item for item in data["modules"] if item["path"] == "auxiliary_head")
    assert (auxiliary["macs"], auxiliary["parameters_used"]) == (0, 0)
    assert auxiliary["parameters"] == data["parameters"] - data["parameters_used"]
    assert any("auxiliary_head (2,364,691) are used in training only" in note for note in pspnet.notes)


def test_segformer_counts_the_products_inside_attention(segformer):
    assert segformer.data["macs"] == pytest.approx(8.4e9, rel=0.01)  # as published
    products = {item["operator"]: item["macs"] for item in segformer.data["operators"]}
    assert products["bmm"] > 0.1 * segformer.data["macs"]


def test_modules_add_up_and_come_largest_first(segformer):
    modules = {item["path"]: item for item in segformer.data["modules"]}
    for path, item in modules.items():
        below = [
            other
            for name, other in modules.items()
            if name and name.rpartition(".")[0] == path and name != path
        ]
        for kind in ("macs", "flops"):
            assert item[kind] == item[f"own_{kind}"] + sum(other[kind] for other in below)
        macs = [other["macs"] for other in below]
        assert macs == sorted(macs, reverse=True)
    operators = segformer.data["operators"]
    assert modules[""]["flops"] == sum(item["flops"] for item in operators) == segformer.data["flops"]


def test_depth_is_that_of_the_table_and_data_holds_every_module(segformer):
    shallow = analyze(SEGFORMER, shape=(512, 512), depth=1)
    assert [row["module"] for row in table(shallow, "per module")] == ["(all)", "decode_head", "backbone"]
    assert [row["module"] for row in table(analyze(SEGFORMER, shape=(64,), depth=0), "per module")] == [
        "(all)"
    ]
    assert shallow.data == segformer.data
    assert any(item["path"].count(".") > 4 for item in shallow.data["modules"])


def test_every_operator_says_how_it_is_counted(segformer):
    rows = table(segformer, "operators")
    assert all(row["how it is counted"] for row in rows)
    assert segformer.data["not_counted"] == []
    (views,) = [row for row in rows if "view" in row["operator"].split(", ")]
    assert views["FLOPs (G)"] == 0
    assert views["how it is counted"].startswith("no work")


def test_the_default_shape_is_the_models_own():
    shape = {"batch": 1, "channels": 3, "height_pixels": 1024, "width_pixels": 2048}
    assert analyze(CGNET).data["input"] == shape


def test_a_sliding_model_counts_one_window_and_says_how_many_an_image_takes():
    report = analyze(SEGMENTER)
    assert report.data["input"] == {"batch": 1, "channels": 3, "height_pixels": 512, "width_pixels": 512}
    assert any("window of 512x512" in note and "takes 5" in note for note in report.notes)


def test_cfg_options_change_the_network(segformer):
    smaller = analyze(SEGFORMER, shape=(64, 64), cfg_options={"model.decode_head.channels": 64})
    assert smaller.data["parameters"] < segformer.data["parameters"]


def test_random_weights_give_no_warning():
    reporter = QuietReporter()
    Segplug(reporter=reporter).analyze("flops", config(SEGFORMER), shape=(64, 64))
    assert not [warning for warning in reporter.warnings if "weights" in warning]


def test_a_missing_library_is_named_with_its_command(monkeypatch):
    for name in ("torch_counter", "aten_rules"):
        monkeypatch.delitem(sys.modules, f"segplug_analysis.flops.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "ptflops.aten_ops", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'segplug-analysis\[models\]'"):
        analyze(CGNET)


def test_the_command_prints_tables_and_json(capsys):
    arguments = ["run", "analyze", "flops", config(CGNET), "--shape", "64", "96", "--depth", "1"]
    assert run_command_line(arguments) == 0
    printed = capsys.readouterr().out
    for words in ("total", "MACs (M)", "per module", "operators", "2 FLOPs"):
        assert words in printed
    assert run_command_line([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["input"]["width_pixels"] == 96


def test_a_shape_that_the_network_cannot_take_is_refused_in_one_line(capfd):
    with pytest.raises(ShapeError, match=r"cannot take an input of 65x65 pixels: .*divisible"):
        analyze(UNET, shape=(65,))
    assert capfd.readouterr().err == ""


def test_wrong_arguments():
    with pytest.raises(UsageError, match="one config or ONNX file, not 2"):
        Segplug().analyze("flops", "a.py", "b.py")
    with pytest.raises(UsageError, match="height and width, not 3"):
        analyze(CGNET, shape=(1, 2, 3))
    with pytest.raises(UsageError, match=r"no config nope\.py"):
        Segplug().analyze("flops", "nope.py")
