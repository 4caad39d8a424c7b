"""Engines of the demo's network, each built once, with TensorRT and TensorRT-RTX."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest
from segplug_tensorrt.driver import Gpu
from segplug_tensorrt.library import Flavor, Library, load_library
from segplug_tensorrt.log import get_log

from segplug.errors import ArtifactError, MissingDependencyError
from segplug.progress import QuietReporter
from tests.gpu.demo import PROFILES, Demo, Mode, Precision
from tests.gpu.measuring import Contender
from tests.gpu.report import Report

__all__ = ["DEVICE", "FLAVORS", "Engines"]

DEVICE = "cuda"
FLAVORS: tuple[Flavor, ...] = get_args(Flavor)


@dataclass
class Engines:
    """Builds the engines that tests need, and skips tests whose library or GPU is missing."""

    demo: Demo
    gpu: Gpu
    report: Report
    folder: Path
    _built: dict[tuple[Flavor, Precision, Mode], Contender] = field(default_factory=dict)
    _skip_reasons: dict[Flavor, str] = field(default_factory=dict)

    def get(self, flavor: Flavor, precision: Precision, mode: Mode) -> Contender:
        """An engine of the demo's network. The test is skipped if the library does not run here."""
        self.require(flavor)
        return self._engine(flavor, precision, mode)

    def require(self, flavor: Flavor) -> Library:
        """The library. The test is skipped if it is not installed or does not support the GPU."""
        if reason := self.skip_reason(flavor):
            pytest.skip(reason)
        return load_library(flavor)

    def skip_reason(self, flavor: Flavor) -> str:
        """Why the library does not run here; empty if it does, or must."""
        if flavor not in self._skip_reasons:
            self._skip_reasons[flavor] = reason = self._reason(flavor)
            if reason:
                self.report.note(reason)
        return self._skip_reasons[flavor]

    def _reason(self, flavor: Flavor) -> str:
        try:
            library = load_library(flavor)
        except MissingDependencyError as error:
            return str(error)
        if flavor == "tensorrt":
            return ""
        engine = self._engine(flavor, "fp32", "whole")
        assert isinstance(engine.subject, Path)
        answer = validity(library, engine.subject)
        self.report.note(f"{library} rates its engine on {self.gpu.name}: {answer}.")
        try:
            with self.demo.session.open(engine.subject, backend="tensorrt", device=DEVICE):
                return ""
        except ArtifactError as error:
            # If TensorRT-RTX supports this GPU and refuses the engine, that is a failure.
            major, minor = self.gpu.compute_capability
            if f"SM{major}{minor}" in library.module.ComputeCapability.__members__:
                raise
            return str(error).replace(f"{self.folder}/", "")

    def _engine(self, flavor: Flavor, precision: Precision, mode: Mode) -> Contender:
        key = (flavor, precision, mode)
        if key not in self._built:
            source, output = self.demo.onnx(mode), self.folder / f"{'-'.join(key)}.engine"
            start = time.perf_counter()
            self.demo.session.build_engine(
                "tensorrt",
                source,
                output=output,
                precision=precision,
                device=device_for(flavor),
                flavor=flavor,
                **PROFILES[mode],
            )
            seconds = time.perf_counter() - start
            name = str(load_library(flavor))
            self._built[key] = Contender(name, "tensorrt", DEVICE, precision, mode, output, seconds)
        return self._built[key]


def device_for(flavor: Flavor) -> str | None:
    """The device to build for. None: TensorRT-RTX builds for every GPU that it supports."""
    return DEVICE if flavor == "tensorrt" else None


def validity(library: Library, plan: Path) -> str:
    """TensorRT-RTX's own answer whether a plan runs here."""
    trt: Any = library.module
    runtime = trt.Runtime(get_log(trt, QuietReporter()))
    answer, diagnostics = runtime.get_engine_validity(plan.read_bytes())
    return f"{answer.name}, diagnostics {diagnostics}"
