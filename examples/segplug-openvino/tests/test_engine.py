"""Run the conformance suite, which needs one fixture. Set SEGPLUG_ARTIFACT=model.onnx."""

import os
from pathlib import Path

import pytest
from segplug_openvino.engine import Options, provider

from segplug.requests import InferRequest
from segplug.testing import EngineConformance, make_request


class TestOpenVino(EngineConformance):
    tolerance = 1e-3

    @pytest.fixture
    def engine(self):
        path = Path(os.environ["SEGPLUG_ARTIFACT"])
        return provider.infer(make_request(InferRequest, artifact=path, options=Options()))
