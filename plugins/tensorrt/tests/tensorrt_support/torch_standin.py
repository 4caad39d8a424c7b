"""A stand-in for torch_tensorrt and the TensorRT that it builds with, and small networks to build.

The real ones import only with PyTorch for CUDA. The stand-in records its arguments, and returns a made-up
plan. The plugin, PyTorch and torch.export are real. ``test_torch_builder.py`` compares the stand-in's
signatures with those in torch_tensorrt's wheels.
"""

from __future__ import annotations

import ast
import enum
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any
from zipfile import ZipFile

import pytest
import torch
from segplug_tensorrt.driver import Gpu
from torch import nn

from segplug.model import InputLimits, ModelMeta, SegmentationModel

__all__ = [
    "Fixed",
    "Input",
    "Mixed",
    "Network",
    "Shallow",
    "StandIn",
    "convert_strongly_typed",
    "convert_typed_on_demand",
    "imported",
    "install",
    "install_with_gpu",
    "make_model",
    "parameters",
    "parsed",
    "texts",
]


class Input:
    """Keeps its keywords; see ``torch_tensorrt.Input``, which takes the same as ``**kwargs``."""

    def __init__(self, **kwargs: Any) -> None:
        self.given = kwargs


@dataclass
class StandIn:
    """The recorded arguments, and what to return."""

    asked: dict[str, Any] = field(default_factory=dict)
    act: Callable[[], None] = lambda: None
    """Called instead of the builder."""
    outputs: tuple[str, ...] = ("output0",)

    def convert(self, program: Any, inputs: Any, **options: Any) -> bytes:
        self.asked = {"program": program, "input": inputs[0].given, **options}
        with open(options["timing_cache_path"], "ab") as cache:
            cache.write(b"+measured")
        self.act()
        return json.dumps({"input": _input_name(program), "shape": _shape(inputs[0].given)}).encode()


def _input_name(program: Any) -> str:
    return next(node.target for node in program.module().graph.nodes if node.op == "placeholder")


def _shape(given: dict[str, Any]) -> list[int]:
    if "shape" in given:
        return list(given["shape"])
    ends = zip(given["min_shape"], given["max_shape"], strict=True)
    return [low if low == high else -1 for low, high in ends]


def convert_typed_on_demand(
    exported_program: Any,
    inputs: Any = None,
    *,
    device: Any = None,
    disable_tf32: bool = False,
    workspace_size: int = 0,
    timing_cache_path: str = "",
    use_explicit_typing: bool = False,
) -> bytes:
    """``convert_exported_program_to_serialized_trt_engine`` of 2.9 to 2.12."""
    raise NotImplementedError


def convert_strongly_typed(
    exported_program: Any,
    inputs: Any = None,
    *,
    device: Any = None,
    disable_tf32: bool = False,
    workspace_size: int = 0,
    timing_cache_path: str = "",
) -> bytes:
    """The same of 2.13 and later."""
    raise NotImplementedError


class _Severity(enum.Enum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class _Logger:
    Severity = _Severity


class _DataType(enum.Enum):
    FLOAT, HALF, INT32, INT64 = range(4)


class _Mode(enum.Enum):
    INPUT, OUTPUT = range(2)


class _Engine:
    def __init__(self, plan: bytes, outputs: tuple[str, ...]) -> None:
        said = json.loads(plan)
        batch, _, height, width = said["shape"]
        self._tensors = {said["input"]: (_Mode.INPUT, said["shape"])}
        self._tensors.update({name: (_Mode.OUTPUT, [batch, 4, height, width]) for name in outputs})
        self.num_io_tensors = len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> _Mode:
        return self._tensors[name][0]

    def get_tensor_dtype(self, name: str) -> _DataType:
        return _DataType.FLOAT

    def get_tensor_shape(self, name: str) -> list[int]:
        return self._tensors[name][1]


class _Config:
    def create_timing_cache(self, data: bytes) -> bytes | None:
        return data if data.startswith(b"cache") else None

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        return True


def install(monkeypatch: pytest.MonkeyPatch, signature: Callable[..., bytes]) -> StandIn:
    """Replace both modules for one test."""
    stand_in = StandIn()

    def convert(exported_program: Any, inputs: Any = None, **options: Any) -> bytes:
        return stand_in.convert(exported_program, inputs, **options)

    convert.__signature__ = inspect.signature(signature)  # type: ignore[attr-defined]
    trt = _module(
        "tensorrt",
        __version__="10.13.3.9",
        ILogger=_Logger,
        DataType=_DataType,
        TensorIOMode=_Mode,
        Builder=lambda log: SimpleNamespace(create_builder_config=_Config),
        Runtime=lambda log: SimpleNamespace(
            deserialize_cuda_engine=lambda plan: _Engine(plan, stand_in.outputs)
        ),
    )
    torch_tensorrt = _module(
        "torch_tensorrt",
        __version__="2.9.0",
        Input=Input,
        ENABLED_FEATURES=SimpleNamespace(tensorrt_rtx=False),
        dynamo=SimpleNamespace(convert_exported_program_to_serialized_trt_engine=convert),
    )
    for module in (trt, torch_tensorrt):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return stand_in


def install_with_gpu(monkeypatch: pytest.MonkeyPatch, signature: Callable[..., bytes]) -> StandIn:
    """Replace both modules for one test, and make the plugin find a GPU, whose work the CPU does."""

    @contextmanager
    def on_cpu(gpu: Gpu) -> Iterator[torch.device]:
        yield torch.device("cpu")

    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("segplug_tensorrt.torch_compile.on_gpu", on_cpu)
    monkeypatch.setattr("segplug_tensorrt.torch_builder.find_gpu", lambda device: Gpu(0, "Made up", (9, 0)))
    monkeypatch.setattr("segplug_tensorrt.torch_builder.cuda_version", lambda: "13.0")
    monkeypatch.setattr("segplug_tensorrt.log._LOGS", {})
    return install(monkeypatch, signature)


def _module(name: str, **contents: Any) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(contents)
    return module


class Network(nn.Module):
    """Halves the size, pools over the image, and resizes the logits to the input's size."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.norm(self.stem(images)).relu()
        features = features + features.mean((2, 3), keepdim=True)
        return nn.functional.interpolate(self.head(features), images.shape[2:], mode="bilinear")


class Mixed(Network):
    """Creates a float32 tensor in its forward pass, which no conversion reaches."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) @ torch.eye(images.shape[-1])


class Fixed(Network):
    """Takes one width only."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) * torch.ones(96)


class Shallow(Network):
    """Its smallest map has a 32nd of the input's size, and must have two rows or more."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = nn.functional.avg_pool2d(self.norm(self.stem(images)), 16)
        torch._check(features.shape[2] >= 2)
        return nn.functional.interpolate(self.head(features), images.shape[2:], mode="bilinear")


def make_model(network: nn.Module, **changes: object) -> SegmentationModel:
    values = {"name": "tiny", "classes": ("a", "b", "c", "d"), "out_channels": 4, "input_size": (64, 96)}

    def exportable() -> nn.Module:
        """A module whose method is bound to the original network, as sources make it."""
        other = nn.Module()
        other.inner = network
        other.forward = lambda images: other.inner(images)
        return other.eval()

    return SegmentationModel(
        network,
        ModelMeta(**{**values, **changes}),  # type: ignore[arg-type]
        exportable=exportable,
        input_limits=lambda: InputLimits((16, 16), 16),
    )


def parsed(wheel: ZipFile, module: str) -> ast.Module:
    return ast.parse(wheel.read(f"torch_tensorrt/{module}.py"))


def parameters(tree: ast.Module, function: str) -> list[str]:
    (found,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    return [argument.arg for argument in (*found.args.args, *found.args.kwonlyargs)]


def imported(tree: ast.Module) -> set[str]:
    found = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return {alias.asname or alias.name for node in found for alias in node.names}


def texts(tree: ast.AST) -> set[str]:
    return {
        str(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
