"""What is no model of torchvision, weights that do not fit, and a torchvision that does not: one line."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from scripts.with_proofs.torchvision_stand_in import PROOFS
from segplug import Segplug
from segplug.errors import CheckpointError, MissingDependencyError, ModelError, SegplugError, UsageError

LRASPP = "torchvision:lraspp_mobilenet_v3_large"


def refused(location: str, error: type[SegplugError], **given: Any) -> str:
    with pytest.raises(error) as caught:
        Segplug().load_model(location, **given)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_names_that_torchvision_does_not_have() -> None:
    names = "its segmentation networks: deeplabv3_mobilenet_v3_large, deeplabv3_resnet101, "
    text = refused("torchvision:unknown", UsageError)
    assert text.startswith("torchvision has no network 'unknown'")
    assert names in text
    text = refused("torchvision:deeplabv3_resnet5", UsageError)
    assert "did you mean 'deeplabv3_resnet50'?" in text
    assert names in refused("torchvision:", UsageError)
    for other in ("resnet50", "fasterrcnn_resnet50_fpn"):
        text = refused(f"torchvision:{other}", UsageError)
        assert text.startswith(f"torchvision's {other} is no segmentation network")
        assert names in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"weights": "DEFAULT"}, "weights makes torchvision fetch weights, and nothing is fetched here"),
        ({"weights_backbone": "x"}, "weights_backbone makes torchvision fetch weights"),
        ({"num_clases": 3}, "no argument 'num_clases'; did you mean 'num_classes'?"),
        ({"aux_loss": True}, "lraspp_mobilenet_v3_large has no argument 'aux_loss'"),
        ({"num_classes": "many"}, "num_classes takes a whole number, not 'many'"),
        ({"num_classes": True}, "num_classes takes a whole number, not True"),
        ({"num_classes": 0}, "num_classes is 1 to 65535, not 0"),
        ({"num_classes": 10**9}, "num_classes is 1 to 65535, not 1000000000"),
    ],
)
def test_arguments_that_the_network_does_not_take(arguments: dict[str, Any], text: str) -> None:
    assert text in refused(LRASPP, UsageError, cfg_options=arguments)


def test_the_switch_of_the_auxiliary_classifier_is_true_or_false() -> None:
    text = refused("torchvision:fcn_resnet50", UsageError, cfg_options={"aux_loss": "maybe"})
    assert "aux_loss takes True or False, not 'maybe'" in text


@pytest.mark.slow
def test_weights_that_do_not_fit(lraspp: Path, tmp_path: Path) -> None:
    text = refused("torchvision:fcn_resnet50", CheckpointError, checkpoint=lraspp)
    assert "is of another model" in text
    assert "it fits torchvision:lraspp_mobilenet_v3_large" in text
    text = refused(LRASPP, CheckpointError, checkpoint=lraspp, cfg_options={"num_classes": 21})
    assert "num_classes is 21, and" in text
    assert "has 5 classes (leave out num_classes: it is read from the checkpoint)" in text
    state = torch.load(lraspp, weights_only=True)
    del state["backbone.0.0.weight"]
    torch.save(state, tmp_path / "part.pth")
    text = refused(LRASPP, CheckpointError, checkpoint=tmp_path / "part.pth")
    assert "1 key missing (backbone.0.0.weight)" in text
    assert "it fits" not in text
    torch.save({"fc.weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    assert "is of another model" in refused(LRASPP, CheckpointError, checkpoint=tmp_path / "other.pth")


@pytest.mark.slow
def test_an_auxiliary_classifier_that_the_checkpoint_lacks(tmp_path: Path) -> None:
    from torchvision.models import get_model

    network = get_model("fcn_resnet50", weights=None, weights_backbone=None, num_classes=2)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    text = refused(
        "torchvision:fcn_resnet50",
        CheckpointError,
        checkpoint=tmp_path / "w.pth",
        cfg_options={"aux_loss": True},
    )
    assert "missing (aux_classifier.0.weight" in text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"classes": ("a", "b")}, "2 classes are named, and the network's scores have 5 channels"),
        ({"resize": (64, 64), "resize_size": 64}, "resize_size is a short edge"),
        ({"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}, "mean and std are for pixels of 0 to 1"),
        ({"mean": (1.0, 2.0)}, "mean has 2 values, and the network takes 3 channels"),
        ({"decoding": "grayscale"}, "the network takes 3 channels, and decoding 'grayscale' gives 1 channel"),
        ({"resize_filter": "area"}, "the resize of pillow has no filter 'area'"),
        ({"keep_ratio": True}, "keep_ratio says how images are resized"),
        ({"resize_size": 0, "resize_algorithm": "pillow"}, "resize_algorithm says how images are resized"),
        ({"stride": (3, 3)}, "stride is the step of a window"),
    ],
)
def test_options_that_contradict(options: dict[str, Any], text: str) -> None:
    kind = ModelError if "classes" in options else UsageError
    small = {"structure_only": True, "cfg_options": {"num_classes": 5}}
    assert text in refused(LRASPP, kind, **small, **options)


def test_torchvision_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "torchvision" else find(name, *rest)
    )
    text = refused(LRASPP, MissingDependencyError)
    assert text == (
        "models of torchvision need torchvision, which is not installed (pip install torchvision)"
    )


@pytest.mark.slow
def test_torchvision_that_does_not_fit_pytorch(tmp_path: Path) -> None:
    """The build for CUDA that the other tests help, without that help."""
    if torch.version.cuda is not None:
        pytest.skip("this PyTorch is for CUDA, as the build of torchvision is")
    command = [sys.executable, "-m", "segplug", "export", "onnx", LRASPP]
    ended = subprocess.run(
        [*command, "--shape", "64", "64", "--output", str(tmp_path / "model.onnx")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROOFS)},
    )
    assert ended.returncode == 1, ended.stderr
    *_, line = ended.stderr.splitlines()
    assert "does not fit PyTorch" in line
    assert "operator torchvision::nms does not exist" in line
    assert "pip install --force-reinstall --no-deps torchvision" in line
