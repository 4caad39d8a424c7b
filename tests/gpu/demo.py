"""The demo's network and street scenes for the tests on a GPU, with whole-image and sliding inference."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import torch
from segplug_tensorrt.graphs import fp16

from segplug import SegmentationModel, Segplug
from segplug.dataset import Dataset
from segplug.runtime.preprocess import Preprocessor
from segplug.runtime.reading import read_image
from segplug.runtime.slide import windows

__all__ = ["MODES", "PROFILES", "Demo", "Mode", "Precision", "make_demo"]

Mode = Literal["whole", "slide"]
Precision = Literal["fp32", "fp16"]

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "demo" / "config.py"
WEIGHTS = ROOT / "demo" / "weights.pth"

MODES: dict[Mode, dict[str, Any]] = {
    "whole": {},
    # Four windows on a scene of 256x512.
    "slide": {
        "model.test_cfg.mode": "slide",
        "model.test_cfg.crop_size": (224, 320),
        "model.test_cfg.stride": (144, 192),
    },
}

PROFILES: dict[Mode, dict[str, Any]] = {
    "whole": {
        "min_shape": ("1x3x192x384",),
        "opt_shape": ("1x3x256x512",),
        "max_shape": ("4x3x320x640",),
    },
    "slide": {
        "min_shape": ("1x3x192x256",),
        "opt_shape": ("4x3x224x320",),
        "max_shape": ("8x3x288x416",),
    },
}
"""The shapes of the engines. The usual input is one scene; a comparison tries sizes around it."""


class _Half(torch.nn.Module):
    """A network in half precision with float32 input and output, as engines have."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(images.half())
        return logits.float()


@dataclass
class Demo:
    """Scenes in a folder, with models and ONNX files that are made when they are first needed."""

    folder: Path
    session: Segplug = field(default_factory=Segplug)
    _models: dict[tuple[Mode, Precision, str], SegmentationModel] = field(default_factory=dict)
    _files: dict[tuple[Mode, Precision], Path] = field(default_factory=dict)

    @property
    def images(self) -> list[Path]:
        """The scenes."""
        return sorted((self.folder / "images" / "test").iterdir())

    @property
    def data_options(self) -> dict[str, Any]:
        """Options that make the demo's config use these scenes."""
        return {"data.test.data_root": str(self.folder)}

    @property
    def dataset(self) -> Dataset:
        """The scenes and their masks."""
        return self.session.load_dataset(CONFIG, cfg_options=self.data_options)

    def model(self, mode: Mode, precision: Precision = "fp32", device: str = "cpu") -> SegmentationModel:
        """The trained network; one for each device, because running it elsewhere moves its weights."""
        key = (mode, precision, device)
        if key not in self._models:
            model = self.session.load_model(
                CONFIG, checkpoint=WEIGHTS, cfg_options=MODES[mode], device=device
            )
            if precision == "fp16":
                model = replace(model, module=_Half(model.module))
            self._models[key] = model
        return self._models[key]

    def onnx(self, mode: Mode, precision: Precision = "fp32") -> Path:
        """An ONNX file with free sizes that returns logits. In fp16: the converted graph of fp16 engines."""
        key = (mode, precision)
        if key not in self._files:
            path = self.folder / f"{mode}-{precision}.onnx"
            if precision == "fp16":
                onnx.save(fp16.convert(onnx.load(self.onnx(mode))).model, path)
            else:
                self.session.export("onnx", self.model(mode), output=path, dynamic=True, output_kind="logits")
            self._files[key] = path
        return self._files[key]

    def batch(self, mode: Mode) -> npt.NDArray[np.float32]:
        """The input of an engine for one scene: the scene, or its windows."""
        meta = self.model(mode).meta
        first = self.images[0]
        array = Preprocessor(meta, None)(read_image(first, meta.decoding), first.name).array
        inference = meta.inference
        if inference.crop_size is None or inference.stride is None:
            return array[None]
        places = windows(array.shape[1:], inference.crop_size, inference.stride)
        return np.stack([array[:, at.top : at.bottom, at.left : at.right] for at in places])


def make_demo(folder: Path, scenes: int) -> Demo:
    """Draw the scenes."""
    script = ROOT / "demo" / "make_data.py"
    command = [sys.executable, str(script), "--root", str(folder), "--test", str(scenes)]
    subprocess.run(command, check=True, capture_output=True)
    return Demo(folder)
