"""``--precision`` and ``--verify``: what a maker declares, and what the metadata says of a comparison."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from segplug import Segplug
from segplug.cli.artifacts import report_verification, report_written
from segplug.cli.output import Output
from segplug.cli.root import run_command_line
from segplug.errors import UsageError
from segplug.preprocessing import Flip
from segplug.verification.compare import THRESHOLDS
from tests.api.toys import install_signer, install_toys


@pytest.fixture(autouse=True)
def toys(install_plugin) -> Any:
    return install_toys(install_plugin)


def export(folder: Path, *flags: str, target: str = "toy") -> int:
    return run_command_line(["run", "export", target, "toys:m", "--output", str(folder / "m.toy"), *flags])


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize(
    "flags", [(), ("--precision", "fp16"), ("--half",), ("--half", "--precision", "fp16")]
)
def test_the_first_precision_is_the_default(flags, tmp_path, toys) -> None:
    assert export(tmp_path, *flags) == 0
    assert toys.requests[0].precision == "fp16"


@pytest.mark.parametrize(
    "flags", [("--precision", "fp32"), ("--single",), ("--single", "--precision", "fp32")]
)
def test_another_precision_is_asked_for(flags, tmp_path, toys) -> None:
    assert export(tmp_path, *flags) == 0
    assert toys.requests[0].precision == "fp32"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--precision", "int8"), "'int8' is not one of 'fp16', 'fp32'"),
        (("--half", "--single"), "--half and --single exclude each other"),
        (("--half", "--precision", "fp32"), "--precision fp32 and --half exclude each other"),
    ],
)
def test_precisions_that_there_are_not(flags, said, tmp_path, toys, capsys) -> None:
    assert export(tmp_path, *flags) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert toys.requests == []


def test_a_precision_that_a_maker_has_not_is_refused_by_name(tmp_path, toys) -> None:
    session = Segplug()
    model = session.load_model("toys:m")
    with pytest.raises(UsageError, match=r"^export toy makes fp16 or fp32 artifacts, not int8$"):
        session.export("toy", model, output=tmp_path / "m.toy", precision="int8")
    with pytest.raises(UsageError, match=r"^export plain makes fp32 artifacts, not fp16$"):
        session.export("plain", model, output=tmp_path / "m.plain", precision="fp16")
    (tmp_path / "in.toy").write_text("1.0")
    with pytest.raises(UsageError, match=r"^build_engine toyengine makes fp32 artifacts, not bf16$"):
        session.build_engine("toyengine", tmp_path / "in.toy", output=tmp_path / "m.eng", precision="bf16")
    assert toys.requests == []
    session.export("toy", model, output=tmp_path / "m.toy")
    assert toys.requests[0].precision == "fp16"


def test_other_spellings_of_a_flag_are_the_makers_own(tmp_path, toys, capsys) -> None:
    assert run_command_line(["run", "export", "toy", "toys:m", "--toy-file", str(tmp_path / "m.toy")]) == 0
    assert (tmp_path / "m.toy").exists()
    for flag in (["--toy-file", "x"], ["--half"]):
        capsys.readouterr()
        assert export(tmp_path, *flag, "--force", target="plain") == 2
        assert f"No such option '{flag[0]}'" in capsys.readouterr().err


def test_older_flags_of_the_installed_makers(capsys) -> None:
    """mmseg's tools say ``--output-file`` and ``--trt-file`` of what they write, and ``--fp16``."""
    found = {}
    for entry in (*Segplug().targets("export"), *Segplug().targets("build_engine")):
        if entry.distribution.startswith("segplug-"):
            assert run_command_line(["run", entry.hook, entry.target, "--help"]) == 0
            text = capsys.readouterr().out
            words = set(re.findall(r"--[a-z0-9-]+", text))
            found[entry.target] = words & {"--output-file", "--trt-file", "--fp16"}
    assert found == {
        "onnx": {"--output-file"},
        "torchscript": {"--output-file"},
        "torch-export": {"--output-file"},
        "torchserve": set(),
        "triton": set(),
        "tensorrt": {"--trt-file", "--fp16"},
        "torch-tensorrt": {"--fp16"},
    }


def test_the_metadata_says_which_thresholds_a_file_kept_to(tmp_path, capsys) -> None:
    assert export(tmp_path, "--verify", "--single", "--json") == 0
    found = document(capsys)["verification"]
    assert found["passed"]
    assert found["precision"] == "fp32"
    assert found["thresholds"] == asdict(THRESHOLDS["fp32"])
    assert found["thresholds_by_hand"] is False
    meta = Segplug().read_meta(tmp_path / "m.toy")
    assert meta is not None
    assert meta.verification == found


def test_what_a_file_and_its_comparison_leave_out_is_said(tmp_path, capsys) -> None:
    artifact = Segplug().export("toy", Segplug().load_model("toys:m"), output=tmp_path / "m.toy", verify=True)
    printed: list[str] = []
    for changes in ({}, {"approximations": ("CLAHE is left out",), "tta": ((), (Flip(),))}):
        found = replace(artifact, meta=artifact.meta.replace(**changes))
        given = dict(found.meta.verification or {})
        given["not_compared"] = ["the views"] if found.meta.tta else []
        found = replace(found, meta=found.meta.replace(verification=given))
        report_written(Output(as_json=False), found)
        report_verification(Output(as_json=False), found)
        printed.append(capsys.readouterr().out)
    said = ("approximate: CLAHE is left out", "not compared: the views")
    assert [[words in text for words in said] for text in printed] == [[False, False], [True, True]]


def test_only_the_first_of_many_inputs_are_listed(tmp_path, capsys) -> None:
    artifact = Segplug().export("toy", Segplug().load_model("toys:m"), output=tmp_path / "m.toy", verify=True)
    for count, words in (
        (5, "5: 0.png, 1.png, 2.png, 3.png, 4.png "),
        (7, "7: 0.png, 1.png, 2.png, 3.png, 4.png and 2 more "),
    ):
        given = {**(artifact.meta.verification or {}), "inputs": [f"{number}.png" for number in range(count)]}
        found = replace(artifact, meta=artifact.meta.replace(verification=given))
        report_verification(Output(as_json=False), found)
        assert words in " ".join(capsys.readouterr().out.split())


def test_thresholds_set_by_hand_are_said_to_be(tmp_path, capsys) -> None:
    wrong = ("--verify", "--single", "--text", "1.05", "--force")  # logits that are 5 % too large
    assert export(tmp_path, *wrong) == 1
    printed = capsys.readouterr().out
    assert "NOT VERIFIED" in printed
    assert "by hand" not in printed

    assert export(tmp_path, *wrong, "--tolerance", "0.1") == 0
    printed = capsys.readouterr().out
    assert "verified: it computes what PyTorch computes" in printed
    assert "the thresholds were set by hand: logits may differ by 0.1 of their range" in printed

    meta = Segplug().read_meta(tmp_path / "m.toy")
    assert meta is not None
    assert meta.verification is not None
    assert meta.verification["passed"]
    assert meta.verification["thresholds_by_hand"] is True
    assert meta.verification["thresholds"] == {**asdict(THRESHOLDS["fp32"]), "logits": 0.1}


def test_thresholds_are_set_from_python_too(tmp_path) -> None:
    session = Segplug()
    model = session.load_model("toys:m")
    by_hand = replace(THRESHOLDS["fp32"], logits=0.2)
    made = session.export(
        "toy", model, output=tmp_path / "m.toy", text="1.1", verify=True, thresholds=by_hand
    )
    assert made.meta.verification is not None
    assert made.meta.verification["passed"]
    assert made.meta.verification["thresholds_by_hand"] is True
    assert not session.verify(made, model).passed
    assert session.verify(made, model, thresholds=by_hand).thresholds_by_hand


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--tolerance", "0.1"), "--tolerance is a threshold of --verify"),
        (("--verify", "--tolerance", "nan"), "not a finite number"),
        (("--verify", "--tolerance", "2"), "0<=x<=1"),
    ],
)
def test_a_tolerance_that_would_mean_nothing(flags, said, tmp_path, toys, capsys) -> None:
    assert export(tmp_path, *flags) == 2
    assert said in capsys.readouterr().err
    assert toys.requests == []


def test_a_file_that_fails_stays_marked_and_add_ons_see_it(tmp_path, install_plugin) -> None:
    signer = install_signer(install_plugin)
    session = Segplug()
    model = session.load_model("toys:m")
    made = session.export("toy", model, output=tmp_path / "m.toy", text="2.0", verify=True)
    (_, sha256, seen) = signer.seen[0]
    assert seen.meta.verification is not None
    assert seen.meta.verification["passed"] is False
    assert made.sha256 == sha256, "the metadata that says it is part of what was signed"
    assert session.read_meta(made.path) == made.meta


def test_calls_of_a_verification_are_marked(tmp_path, install_plugin) -> None:
    source = """
        from segplug import AddOn, hookimpl
        from segplug.options import NoOptions

        calls = []

        class Audit(AddOn[NoOptions]):
            hook_versions = {"export": 2, "infer": 2}

            @hookimpl(wrapper=True)
            def export(self, request):
                calls.append(request.call)
                return (yield)

            @hookimpl(wrapper=True)
            def infer(self, request):
                calls.append(request.call)
                return (yield)

        audit = Audit()
    """
    install_plugin("audit", {"segplug.addon": {"audit": "audit_mod:audit"}}, audit_mod=source)
    import audit_mod

    session = Segplug()
    made = session.export("toy", session.load_model("toys:m"), output=tmp_path / "m.toy", verify=True)
    with session.open(made, backend="toy"):
        pass
    export_call, *verifying, opened = audit_mod.calls
    assert (export_call.parent, export_call.verification) == (None, False)
    assert sorted(call.target for call in verifying) == ["pytorch", "toy"]
    assert {(call.parent, call.verification) for call in verifying} == {(export_call.id, True)}
    assert (opened.parent, opened.verification) == (None, False)


def test_a_file_that_an_add_on_changed_does_not_count_as_verified(tmp_path, capsys, install_plugin) -> None:
    install_signer(install_plugin)
    flags = ("--verify", "--json", "--addon-options", "signer.tamper=true", "signer.sign=false")
    assert export(tmp_path, *flags) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["verification"] is None
    assert "an add-on changed the artifact after it was verified" in " ".join(err.split())
    found = Segplug().read_meta(tmp_path / "m.toy")
    assert found is not None
    assert found.verification is None
