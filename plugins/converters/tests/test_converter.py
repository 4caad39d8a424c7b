"""The command of every converter: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from converters_support.conversion import converted
from converters_support.foreign import library, seeded

from segplug.checkpoint import read_checkpoint, write_pickle, write_weights
from segplug.cli.root import run_command_line

CONFIG = """
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='VisionTransformer', img_size=({height}, {width}), embed_dims=192, num_layers={depth},
                  num_heads=3, out_indices=({depth} - 1,), final_norm={final_norm}),
    decode_head=dict(type='FCNHead', in_channels=192, channels=8, num_convs=1, num_classes=3, in_index=0,
                     norm_cfg=norm_cfg),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
"""

ACME = """
    from dataclasses import dataclass
    from segplug import hookimpl, option
    from segplug.providers import Confidence, ModelSource
    from segplug.results import BackboneFit

    @dataclass(frozen=True)
    class Options:
        width: int = option(1, help="Width.")

    class Acme(ModelSource[Options]):
        hook_version = 2
        options = Options

        def accepts(self, location):
            return Confidence.NO

        @hookimpl
        def load_model(self, request):
            raise NotImplementedError

        def fit_backbone(self, request, state, optional):
            return BackboneFit(
                backbone=f"Acme of {request.config}, width {request.options.width}", state=state
            )

    provider = Acme()
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def vit() -> dict[str, torch.Tensor]:
    """A small ViT of timm's, 64x64."""
    network = library("timm").create_model("vit_tiny_patch16_224", depth=2, img_size=64, num_classes=5)
    return dict(seeded(network).state_dict())


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> tuple[int, str, str]:
        code = run_command_line(["run", "convert_weights", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def config(folder: Path, **settings: Any) -> str:
    values = {"height": 64, "width": 64, "depth": 2, "final_norm": False, **settings}
    (folder / "config.py").write_text(CONFIG.format(**values))
    return "config.py"


def refused(result: tuple[int, str, str], *words: str, code: int = 1) -> str:
    """The one line that was printed instead of a result."""
    status, out, err = result
    assert status == code, err
    assert out == ""
    assert "Traceback" not in err
    for word in words:
        assert word in " ".join(err.split()), err
    return err


def test_the_report_says_what_became_of_every_tensor(
    run: Run, vit: Mapping[str, Any], tmp_path: Path
) -> None:
    write_weights(tmp_path / "vit.pth", vit)
    code, out, err = run("vit", "vit.pth", "mmseg.pth", "--json")
    assert code == 0, err
    report = json.loads(out)
    accounted = [
        name
        for kind in ("renamed", "reshaped", "transposed", "merged", "reordered")
        for step in report[kind]
        for name in step["from"]
    ]
    accounted += [item["name"] for item in report["dropped"]]
    assert sorted(accounted) == sorted(vit)
    assert {item["name"] for item in report["dropped"]} == {"head.weight", "head.bias"}
    assert report["left_over"] == {"source": [], "target": []}
    assert report["layout"] == "timm"
    assert report["backbone"]["type"] == "VisionTransformer"
    assert report["backbone"]["num_layers"] == 2
    written = read_checkpoint("mmseg.pth").state
    kinds = ("renamed", "reshaped", "transposed", "merged", "reordered", "computed")
    assert sorted(written) == sorted(name for kind in kinds for step in report[kind] for name in step["to"])
    assert torch.equal(written["layers.1.ffn.layers.1.weight"], vit["blocks.1.mlp.fc2.weight"])


def test_the_table_has_a_row_for_each_rule(run: Run, vit: Mapping[str, Any], tmp_path: Path) -> None:
    write_weights(tmp_path / "vit.pth", vit)
    code, out, _ = run("vit", "vit.pth", "mmseg.pth")
    assert code == 0
    assert "blocks.<i>.mlp.fc1.<p>" in out
    assert "layers.<i>.ffn.layers.0.0.<p>" in out
    assert "the classifier" in out
    assert "wrote mmseg.pth" in out


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_ema", "module.", "backbone."])
def test_wrappers_are_opened(run: Run, vit: Mapping[str, Any], tmp_path: Path, wrapper: str) -> None:
    content: Any = (
        {wrapper + name: tensor for name, tensor in vit.items()} if wrapper[-1] == "." else {wrapper: vit}
    )
    write_pickle(tmp_path / "vit.pth", content)
    code, _, err = run("vit", "vit.pth", "mmseg.safetensors")
    assert code == 0, err
    assert torch.equal(read_checkpoint("mmseg.safetensors").state["pos_embed"], vit["pos_embed"])


def test_safetensors_give_the_same_as_a_pickle(vit: Mapping[str, Any], tmp_path: Path) -> None:
    one, _ = converted("vit", vit, tmp_path / "a")
    other, _ = converted("vit", vit, tmp_path / "b", suffix=".safetensors")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_other_entries_of_the_file_are_in_the_report(
    run: Run, vit: Mapping[str, Any], tmp_path: Path
) -> None:
    write_pickle(tmp_path / "vit.pth", {"model": vit, "model_ema": vit, "epoch": 3})
    code, out, err = run("vit", "vit.pth", "mmseg.pth", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert sorted(report["other_entries"]) == ["epoch", "model_ema"]
    assert any("model_ema" in note for note in report["notes"])


def test_a_dry_run_writes_nothing(run: Run, vit: Mapping[str, Any], tmp_path: Path) -> None:
    write_weights(tmp_path / "vit.pth", vit)
    (tmp_path / "mmseg.pth").write_text("older")
    assert run("vit", "vit.pth", "mmseg.pth", "--dry-run")[0] == 0
    assert (tmp_path / "mmseg.pth").read_text() == "older"
    (tmp_path / "mmseg.pth").unlink()
    code, out, _ = run("vit", "vit.pth", "mmseg.pth", "--dry-run")
    assert code == 0
    assert "blocks.<i>.mlp.fc1.<p>" in out
    assert "wrote" not in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vit.pth"]


class TestCheck:
    def test_what_fits_is_loaded_strictly(self, run: Run, vit: Mapping[str, Any], tmp_path: Path) -> None:
        write_weights(tmp_path / "vit.pth", vit)
        name = config(tmp_path, final_norm=True)
        code, out, err = run("vit", "vit.pth", "mmseg.pth", "--check", name, "--json")
        assert code == 0, err
        check = json.loads(out)["check"]
        assert check["backbone"] == "VisionTransformer"
        assert check["tensors"] == len(vit) - 2
        assert check["resized"] == check["left_out"] == []

    def test_a_part_that_the_config_lacks_is_left_out_and_reported(
        self, run: Run, vit: Mapping[str, Any], tmp_path: Path
    ) -> None:
        write_weights(tmp_path / "vit.pth", vit)
        code, out, err = run("vit", "vit.pth", "mmseg.pth", "--check", config(tmp_path), "--json")
        assert code == 0, err
        assert sorted(json.loads(out)["check"]["left_out"]) == ["ln1.bias", "ln1.weight"]
        assert "ln1.weight" not in read_checkpoint("mmseg.pth").state

    def test_position_tables_are_resized_in_what_is_written(
        self, run: Run, vit: Mapping[str, Any], tmp_path: Path
    ) -> None:
        write_weights(tmp_path / "vit.pth", vit)
        code, out, err = run("vit", "vit.pth", "mmseg.pth", "--check", config(tmp_path, width=128), "--json")
        assert code == 0, err
        (resized,) = json.loads(out)["check"]["resized"]
        assert (resized["name"], resized["before"], resized["after"]) == (
            "pos_embed",
            [1, 17, 192],
            [1, 33, 192],
        )
        table = read_checkpoint("mmseg.pth").state["pos_embed"]
        assert table.shape == (1, 33, 192)
        assert torch.equal(table[:, 0], vit["pos_embed"][:, 0])

    def test_what_does_not_fit_is_listed_and_nothing_is_written(
        self, run: Run, vit: Mapping[str, Any], tmp_path: Path
    ) -> None:
        write_weights(tmp_path / "vit.pth", vit)
        result = run("vit", "vit.pth", "mmseg.pth", "--check", config(tmp_path, depth=3))
        refused(result, "VisionTransformer of config.py", "12 missing", "layers.2.ln1-2.weight")
        assert not (tmp_path / "mmseg.pth").exists()

    def test_settings_that_do_not_change_shapes_are_compared(
        self, run: Run, vit: Mapping[str, Any], tmp_path: Path
    ) -> None:
        write_weights(tmp_path / "vit.pth", vit)
        name = config(tmp_path)
        Path(name).write_text(Path(name).read_text().replace("num_heads=3", "num_heads=8"))
        code, out, err = run("vit", "vit.pth", "mmseg.pth", "--check", name, "--json")
        assert code == 0, err
        (note,) = (note for note in json.loads(out)["notes"] if "config.py" in note)
        assert "num_heads=8" in note
        assert "num_heads=3" in note
        assert "eps" in note  # mmseg's default, which the config does not even name

    def test_equal_settings_give_no_note(self, run: Run, vit: Mapping[str, Any], tmp_path: Path) -> None:
        write_weights(tmp_path / "vit.pth", vit)
        name = config(tmp_path)
        Path(name).write_text(
            Path(name).read_text().replace("num_heads=3", "num_heads=3, norm_cfg=dict(type='LN', eps=1e-6)")
        )
        code, out, err = run("vit", "vit.pth", "mmseg.pth", "--check", name, "--json")
        assert code == 0, err
        assert not [note for note in json.loads(out)["notes"] if "config.py" in note]

    def test_a_config_that_is_not_there(self, run: Run, vit: Mapping[str, Any], tmp_path: Path) -> None:
        write_weights(tmp_path / "vit.pth", vit)
        refused(run("vit", "vit.pth", "mmseg.pth", "--check", "none.py"), "none.py", code=2)

    def test_the_source_of_the_config_gets_its_own_options(
        self, run: Run, vit: Mapping[str, Any], tmp_path: Path, install_plugin: Callable[..., Path]
    ) -> None:
        install_plugin(
            "acme-models", {"segplug.load_model": {"acme": "acme_models:provider"}}, acme_models=ACME
        )
        write_weights(tmp_path / "vit.pth", vit)
        name = config(tmp_path)
        arguments = ("vit", "vit.pth", "mmseg.pth", "--check", name, "--source", "acme")
        code, out, err = run(*arguments, "--source-options", "width=7", "--json", "--force")
        assert code == 0, err
        assert json.loads(out)["check"]["backbone"] == f"Acme of {name}, width 7"
        refused(run(*arguments, "--source-options", "depth=7", "--force"), "acme", "'depth'", code=2)
        refused(
            run(*arguments, "--source-options", "config=x", "--force"), "--source-options", "'config'", code=2
        )

    def test_mmseg_can_be_named_as_the_source(self, run: Run, vit: Mapping[str, Any], tmp_path: Path) -> None:
        write_weights(tmp_path / "vit.pth", vit)
        arguments = ("vit", "vit.pth", "mmseg.pth", "--check", config(tmp_path))
        code, out, err = run(*arguments, "--source", "mmseg", "--json")
        assert code == 0, err
        assert json.loads(out)["check"]["backbone"] == "VisionTransformer"
        refused(run(*arguments, "--force", "--source", "nobody"), "nobody", code=2)

    @pytest.mark.parametrize("flag", [("--source", "mmseg"), ("--source-options", "width=7")])
    def test_a_source_needs_a_config(self, run: Run, tmp_path: Path, flag: tuple[str, str]) -> None:
        (tmp_path / "x.pth").touch()
        refused(run("vit", "x.pth", "y.pth", *flag), f"{flag[0]} needs --check", code=2)

    def test_it_is_an_error_with_reverse(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "x.pth").touch()
        refused(run("vit", "x.pth", "y.pth", "--reverse", "--check", "c.py"), "--reverse", code=2)


class TestLeftOver:
    def test_keys_that_no_rule_knows_are_listed(
        self, run: Run, vit: Mapping[str, Any], tmp_path: Path
    ) -> None:
        strange = {f"blocks.{i}.ls{n}.gamma": torch.ones(192) for i in range(2) for n in (1, 2)}
        write_weights(tmp_path / "vit.pth", {**vit, **strange})
        error = refused(run("vit", "vit.pth", "mmseg.pth"), "4 tensors that no rule knows", "--allow-unknown")
        assert "blocks.0-1.ls1-2.gamma" in " ".join(error.split())
        assert not (tmp_path / "mmseg.pth").exists()

    def test_they_can_be_kept(self, run: Run, vit: Mapping[str, Any], tmp_path: Path) -> None:
        write_weights(tmp_path / "vit.pth", {**vit, "strange": torch.ones(3)})
        code, out, err = run("vit", "vit.pth", "mmseg.pth", "--allow-unknown", "--json")
        assert code == 0, err
        assert json.loads(out)["left_over"]["source"] == ["strange"]
        assert torch.equal(read_checkpoint("mmseg.pth").state["strange"], torch.ones(3))

    def test_they_are_never_kept_in_the_place_of_others(
        self, run: Run, vit: Mapping[str, Any], tmp_path: Path
    ) -> None:
        write_weights(tmp_path / "vit.pth", {**vit, "layers.0.ln1.weight": torch.full((192,), 7.0)})
        refused(run("vit", "vit.pth", "mmseg.pth", "--allow-unknown"), "layers.0.ln1.weight")
        assert not (tmp_path / "mmseg.pth").exists()

    def test_a_file_that_lacks_tensors_is_refused(
        self, run: Run, vit: Mapping[str, Any], tmp_path: Path
    ) -> None:
        state = {name: tensor for name, tensor in vit.items() if name != "blocks.1.mlp.fc2.weight"}
        write_weights(tmp_path / "vit.pth", state)
        result = run("vit", "vit.pth", "mmseg.pth", "--allow-unknown")
        refused(result, "1 tensor missing (blocks.1.mlp.fc2.weight)")


class TestBadInput:
    def test_a_file_of_another_family_names_the_target_that_fits(
        self, run: Run, vit: Mapping[str, Any], tmp_path: Path
    ) -> None:
        write_weights(tmp_path / "w.pth", vit)
        refused(run("swin", "w.pth", "o.pth"), "no Swin", "convert_weights vit (timm's VisionTransformer")

    def test_a_file_of_no_known_family(self, run: Run, tmp_path: Path) -> None:
        write_weights(tmp_path / "w.pth", {"some.thing.weight": torch.ones(2)})
        refused(run("vit", "w.pth", "o.pth"), "no ViT", "some.thing.weight")

    def test_weights_that_are_converted_already(
        self, run: Run, vit: Mapping[str, Any], tmp_path: Path
    ) -> None:
        ours, _ = converted("vit", vit, tmp_path / "once")
        write_weights(tmp_path / "w.pth", ours)
        refused(run("vit", "w.pth", "o.pth"), "has mmseg's names already")

    def test_a_truncated_file(self, run: Run, vit: Mapping[str, Any], tmp_path: Path) -> None:
        for suffix in (".pth", ".safetensors"):
            whole = tmp_path / f"whole{suffix}"
            write_weights(whole, vit)
            (tmp_path / f"cut{suffix}").write_bytes(whole.read_bytes()[:-5000])
            refused(run("vit", f"cut{suffix}", "o.pth"), "damaged")
        assert not (tmp_path / "o.pth").exists()

    def test_a_pickle_that_would_run_code(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "evil.pth").write_bytes(pickle.dumps(_Evil(str(tmp_path / "ran")), protocol=2))
        refused(run("vit", "evil.pth", "o.pth"), "evil.pth")
        assert not (tmp_path / "ran").exists()

    def test_an_existing_destination_needs_force(
        self, run: Run, vit: Mapping[str, Any], tmp_path: Path
    ) -> None:
        write_weights(tmp_path / "vit.pth", vit)
        (tmp_path / "o.pth").write_text("precious")
        refused(run("vit", "vit.pth", "o.pth"), "--force", code=2)
        assert (tmp_path / "o.pth").read_text() == "precious"
        assert run("vit", "vit.pth", "o.pth", "--force")[0] == 0
        assert "cls_token" in read_checkpoint("o.pth").state

    def test_the_source_is_never_the_destination(
        self, run: Run, vit: Mapping[str, Any], tmp_path: Path
    ) -> None:
        write_weights(tmp_path / "vit.pth", vit)
        before = (tmp_path / "vit.pth").read_bytes()
        refused(run("vit", "vit.pth", "vit.pth", "--force"), "vit.pth", code=2)
        assert (tmp_path / "vit.pth").read_bytes() == before

    def test_a_destination_of_another_form(self, run: Run, vit: Mapping[str, Any], tmp_path: Path) -> None:
        write_weights(tmp_path / "vit.pth", vit)
        refused(run("vit", "vit.pth", "o.onnx"), ".safetensors", code=2)

    def test_a_source_that_is_not_there(self, run: Run) -> None:
        refused(run("vit", "none.pth", "o.pth"), "none.pth", code=2)

    def test_a_layout_that_is_not_there(self, run: Run, vit: Mapping[str, Any], tmp_path: Path) -> None:
        ours, _ = converted("vit", vit, tmp_path / "once")
        write_weights(tmp_path / "w.pth", ours)
        refused(run("vit", "w.pth", "o.pth", "--reverse", "--layout", "tim"), "tim", "timm", code=2)

    def test_layout_needs_reverse(self, run: Run, vit: Mapping[str, Any], tmp_path: Path) -> None:
        write_weights(tmp_path / "vit.pth", vit)
        refused(run("vit", "vit.pth", "o.pth", "--layout", "timm"), "--reverse", code=2)

    def test_reverse_needs_mmsegs_names(self, run: Run, vit: Mapping[str, Any], tmp_path: Path) -> None:
        write_weights(tmp_path / "vit.pth", vit)
        refused(run("vit", "vit.pth", "o.pth", "--reverse"), "no ViT under mmseg's names")

    def test_two_networks_in_one_file(self, run: Run, vit: Mapping[str, Any], tmp_path: Path) -> None:
        both = {f"{who}.{name}": tensor for who in ("student", "teacher") for name, tensor in vit.items()}
        write_weights(tmp_path / "w.pth", both)
        refused(run("vit", "w.pth", "o.pth"), "'student.' and 'teacher.'")

    def test_a_tensor_of_a_shape_that_no_rule_takes(
        self, run: Run, vit: Mapping[str, Any], tmp_path: Path
    ) -> None:
        write_weights(tmp_path / "w.pth", {**vit, "patch_embed.proj.weight": torch.ones(3)})
        refused(run("vit", "w.pth", "o.pth"), "w.pth do not have the shapes of a ViT")


def test_reverse_of_a_whole_segmentor(run: Run, vit: Mapping[str, Any], tmp_path: Path) -> None:
    ours, _ = converted("vit", vit, tmp_path / "once")
    segmentor = {f"backbone.{name}": tensor for name, tensor in ours.items()}
    write_pickle(
        tmp_path / "seg.pth", {"state_dict": {**segmentor, "decode_head.conv_seg.weight": torch.ones(2)}}
    )
    code, out, err = run("vit", "seg.pth", "timm.pth", "--reverse", "--json")
    assert code == 0, err
    assert [item["name"] for item in json.loads(out)["dropped"]] == ["decode_head.conv_seg.weight"]
    back = read_checkpoint("timm.pth").state
    assert set(vit) - set(back) == {"head.weight", "head.bias"}
    assert all(torch.equal(back[name], vit[name]) for name in back)


class _Evil:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")
