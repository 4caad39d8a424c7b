"""Engines of the demo's network, built once a session, by each flavour that this machine can use."""

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
    """Builds what tests ask for; skips, by name, what the machine lacks."""

    demo: Demo
    gpu: Gpu
    report: Report
    folder: Path
    _built: dict[tuple[Flavor, Precision, Mode], Contender] = field(default_factory=dict)
    _lacking: dict[Flavor, str] = field(default_factory=dict)

    def get(self, flavor: Flavor, precision: Precision, mode: Mode) -> Contender:
        """An engine of the demo's network; the test is skipped where this flavour does not run here."""
        self.require(flavor)
        return self._engine(flavor, precision, mode)

    def require(self, flavor: Flavor) -> Library:
        """The library; the test is skipped where it is not installed or does not know the GPU."""
        if reason := self.lacking(flavor):
            pytest.skip(reason)
        return load_library(flavor)

    def lacking(self, flavor: Flavor) -> str:
        """Why this flavour does not run here; empty: it does, or must."""
        if flavor not in self._lacking:
            self._lacking[flavor] = reason = self._reason(flavor)
            if reason:
                self.report.note(reason)
        return self._lacking[flavor]

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
        self.report.note(f"{library} says of its engines on {self.gpu.name}: {answer}.")
        try:
            with self.demo.session.open(engine.subject, backend="tensorrt", device=DEVICE):
                return ""
        except ArtifactError as error:
            # It tells which GPUs it builds for. To refuse one of them is a failure, not a lack.
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
    """What to build for: TensorRT-RTX's plans are for every GPU that it knows, unless one is named."""
    return DEVICE if flavor == "tensorrt" else None


def validity(library: Library, plan: Path) -> str:
    """What TensorRT-RTX answers when it is asked whether a plan runs here."""
    trt: Any = library.module
    runtime = trt.Runtime(get_log(trt, QuietReporter()))
    answer, diagnostics = runtime.get_engine_validity(plan.read_bytes())
    return f"{answer.name}, diagnostics {diagnostics}"
