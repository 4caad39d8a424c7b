"""A stand-in for Triton: its own protocol over gRPC, its rules on shapes, ONNX Runtime behind it.

It shows that a client and ``config.pbtxt`` fit together. It does not show that Triton accepts them.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig
from tritonclient.utils import triton_to_np_dtype

from triton_support.models import config_of


def full_shape(config: ModelConfig, dims: Any) -> tuple[int, ...]:
    """A tensor's whole shape, -1 for free axes, as Triton's documentation defines it."""
    return ((-1,) if config.max_batch_size else ()) + tuple(dims)


def fits(config: ModelConfig, dims: Any, shape: Any) -> bool:
    """Whether Triton would take a tensor of this shape."""
    wanted = full_shape(config, dims)
    if len(shape) != len(wanted) or (config.max_batch_size and not 1 <= shape[0] <= config.max_batch_size):
        return False
    return all(size in (-1, given) for size, given in zip(wanted, shape, strict=True))


def serve_once(model: Path, version: int, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a version with the names in the config, and check the outputs against the config."""
    config = config_of(model)
    file = model / str(version) / config.default_model_filename
    session = onnxruntime.InferenceSession(str(file / file.name if file.is_dir() else file))
    for item in config.input:
        assert inputs[item.name].dtype == triton_to_np_dtype(
            DataType.Name(item.data_type).removeprefix("TYPE_")
        )
        if not fits(config, item.dims, inputs[item.name].shape):
            raise ValueError(f"unexpected shape for input '{item.name}': {inputs[item.name].shape}")
    names = [item.name for item in config.output]
    answers = dict(zip(names, session.run(names, inputs), strict=True))
    for item in config.output:
        kind = DataType.Name(item.data_type).removeprefix("TYPE_")
        assert answers[item.name].dtype == triton_to_np_dtype(kind)
        assert fits(config, item.dims, answers[item.name].shape)
    return answers


class _Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
    def __init__(self, repository: Path) -> None:
        self.repository = repository

    def ModelConfig(self, request: Any, context: Any) -> Any:
        return service_pb2.ModelConfigResponse(config=config_of(self.repository / request.name))

    def ModelInfer(self, request: Any, context: Any) -> Any:
        inputs = {
            item.name: np.frombuffer(raw, triton_to_np_dtype(item.datatype)).reshape(item.shape)
            for item, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        try:
            answers = serve_once(self.repository / request.model_name, 1, inputs)
        except ValueError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        config = config_of(self.repository / request.model_name)
        response = service_pb2.ModelInferResponse(model_name=request.model_name, model_version="1")
        for item in config.output:
            kind = DataType.Name(item.data_type).removeprefix("TYPE_")
            response.outputs.add(name=item.name, datatype=kind, shape=answers[item.name].shape)
            response.raw_output_contents.append(np.ascontiguousarray(answers[item.name]).tobytes())
        return response


@contextmanager
def serving(repository: Path) -> Iterator[str]:
    """Serve a repository on this machine; yields the address."""
    server = grpc.server(ThreadPoolExecutor(1))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Servicer(repository), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
