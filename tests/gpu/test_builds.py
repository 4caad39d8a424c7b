"""What else an engine must do on a GPU: several profiles, other precisions, refusals, the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from segplug_tensorrt.library import Flavor
from segplug_tensorrt.record import KEY, read_record

from segplug import SegmentationModel
from segplug.artifact import read_sidecar, sidecar_path, write_sidecar
from segplug.cli.root import run_command_line
from segplug.errors import ShapeError
from segplug.results import Artifact
from segplug.verification.compare import THRESHOLDS
from tests.gpu.demo import CONFIG, PROFILES, WEIGHTS, Demo
from tests.gpu.engines import DEVICE, FLAVORS, Engines, device_for

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu")]

each_flavor = pytest.mark.parametrize("flavor", FLAVORS)


def logits_of(demo: Demo, what: Path | SegmentationModel, batch: np.ndarray, backend: str) -> Any:
    device = "cpu" if backend == "pytorch" else DEVICE
    with demo.session.open(what, backend=backend, device=device) as engine:
        return engine.run(batch).copy()


@each_flavor
def test_several_profiles_and_the_largest_batch(engines: Engines, flavor: Flavor, tmp_path: Path) -> None:
    engines.require(flavor)
    demo = engines.demo
    artifact = demo.session.build_engine(
        "tensorrt",
        demo.onnx("whole"),
        output=tmp_path / "profiles.engine",
        device=device_for(flavor),
        flavor=flavor,
        min_shape=("1x3x128x256", "1x3x256x512"),
        max_shape=("2x3x192x320", "4x3x256x512"),
    )
    image = demo.batch("whole")
    for batch in (image[:, :, :128, :256], np.repeat(image, 4, axis=0), image[:, :, :192, :320]):
        batch = np.ascontiguousarray(batch)
        expected = logits_of(demo, demo.model("whole"), batch, "pytorch")
        actual = logits_of(demo, artifact.path, batch, "tensorrt")
        assert np.abs(actual - expected).max() <= THRESHOLDS["fp32"].logits * np.ptp(expected)
    with pytest.raises(ShapeError, match="its profiles are"):
        logits_of(demo, artifact.path, np.repeat(image, 5, axis=0), "tensorrt")


def test_an_engine_of_the_other_flavor_is_refused(engines: Engines, tmp_path: Path) -> None:
    """The record names the other library, so that only the plan itself shows the mistake."""
    libraries = [engines.require(flavor) for flavor in FLAVORS]
    for library, other in (libraries, libraries[::-1]):
        built = engines.get(library.flavor, "fp32", "whole").subject
        assert isinstance(built, Path)
        plan = tmp_path / f"{library.flavor}.engine"
        plan.write_bytes(built.read_bytes())
        meta = read_sidecar(built)
        assert meta is not None
        record = replace(read_record(meta, built), flavor=other.flavor, version=other.version)
        write_sidecar(plan, record.add_to(meta))
        command = ["infer", "tensorrt", str(plan), "--device", DEVICE, "--show-dir", str(tmp_path / "shown")]
        # In a process of its own, because the wrong library may crash on the plan.
        ran = subprocess.run(
            [sys.executable, "-m", "segplug", "run", *command, "--input-img", str(engines.demo.images[0])],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 1, ran.stderr
        assert str(plan) in ran.stderr
        assert "Traceback" not in ran.stderr


def assert_close(demo: Demo, artifact: Artifact, precision: Any) -> None:
    """The engine's logits are those of the network, within the thresholds of the precision."""
    comparison = demo.session.verify(
        artifact,
        demo.model("whole"),
        images=demo.images[:2],
        backend="tensorrt",
        device=DEVICE,
        precision=precision,
    )
    assert comparison.passed, comparison.failures


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@each_flavor
def test_other_precisions(engines: Engines, flavor: Flavor, precision: Any, tmp_path: Path) -> None:
    engines.require(flavor)
    demo = engines.demo
    artifact = demo.session.build_engine(
        "tensorrt",
        demo.onnx("whole"),
        output=tmp_path / f"{precision}.engine",
        precision=precision,
        device=device_for(flavor),
        images=demo.images,
        flavor=flavor,
        **PROFILES["whole"],
    )
    assert_close(demo, artifact, precision)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_torch_tensorrt(engines: Engines, precision: Any, tmp_path: Path) -> None:
    if find_spec("torch_tensorrt") is None:
        pytest.skip("torch_tensorrt is not installed")
    engines.require("tensorrt")
    demo = engines.demo
    artifact = demo.session.build_engine(
        "torch-tensorrt",
        demo.model("whole"),
        output=tmp_path / "torch.engine",
        precision=precision,
        device=DEVICE,
        **PROFILES["whole"],
    )
    assert_close(demo, artifact, precision)


@each_flavor
def test_the_command_line(
    engines: Engines, flavor: Flavor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines.require(flavor)
    onnx, engine = tmp_path / "model.onnx", tmp_path / "model.engine"

    def run(*arguments: object) -> dict[str, Any]:
        assert run_command_line(["run", *map(str, arguments), "--json"]) == 0, capsys.readouterr().err
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    model = (CONFIG, "--checkpoint", WEIGHTS)
    run("export", "onnx", *model, "--output", onnx, "--dynamic", "--output-kind", "logits", "--verify")
    shapes = ("--min-shape", "1x3x192x384", "--opt-shape", "1x3x256x512", "--max-shape", "2x3x320x640")
    build = ("build_engine", "tensorrt", onnx, "--output", engine, "--flavor", flavor, "--precision", "fp16")
    where = ("--device", DEVICE) if device_for(flavor) else ()
    built = run(*build, *where, *shapes, "--verify")
    assert built["verification"]["passed"]
    assert json.loads(sidecar_path(engine).read_text())["extra"][KEY]["flavor"] == flavor
    data = ("--dataset", CONFIG, "--cfg-options", f"data.test.data_root={engines.demo.folder}")
    scored = run("infer", "tensorrt", engine, "--device", DEVICE, *data, "--eval", "mIoU")
    assert scored["images"] == len(engines.demo.images)
    assert scored["scores"]["mIoU"] > 0.8
