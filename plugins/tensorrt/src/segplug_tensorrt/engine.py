"""A TensorRT engine that follows the engine contract."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from segplug.engine import Axis, EngineSpec
from segplug.errors import ArtifactError, DeviceError, EngineError, ShapeError, UsageError
from segplug_tensorrt.buffers import Buffer, Cuda

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from segplug.model import ModelMeta

__all__ = ["Log", "TensorRTEngine"]

_Shape = tuple[int, ...]


class Log(Protocol):
    """The log of TensorRT: ``reason()`` is its message about the last failure."""

    def reason(self) -> str: ...


class TensorRTEngine:
    """Runs a deserialised ``ICudaEngine``. An output is a view of memory that the next run overwrites."""

    def __init__(
        self, trt: Any, engine: Any, meta: ModelMeta, cuda: Cuda, *, backend: str, logger: Log
    ) -> None:
        self._engine: Any = engine
        self._cuda, self._log = cuda, logger
        self._input, self._output = _tensors(trt, engine)
        self._input_type = _dtype(trt, engine, self._input, ("FLOAT", "HALF"))
        self._output_type = _dtype(trt, engine, self._output, ("FLOAT", "HALF", "INT32", "INT64"))
        labels = self._output_type.startswith("int")
        rank = len(tuple(engine.get_tensor_shape(self._output)))
        if rank != (3 if labels else 4):
            raise ArtifactError(f"the engine's output {self._output} is {self._output_type} of rank {rank}")
        self._profiles: list[tuple[_Shape, _Shape]] = []
        for index in range(engine.num_optimization_profiles):
            low, _, high = engine.get_tensor_profile_shape(self._input, index)
            self._profiles.append((tuple(low), tuple(high)))
        batch, _, height, width = (
            Axis(min(low[axis] for low, _ in self._profiles), max(high[axis] for _, high in self._profiles))
            for axis in range(4)
        )
        self._spec = EngineSpec(
            meta=meta,
            output="labels" if labels else "logits",
            batch=batch,
            height=height,
            width=width,
            backend=backend,
            fresh_output=False,
        )
        self._profile: int | None = None
        self._in, self._out = Buffer(cuda), Buffer(cuda)
        self._stream = cuda.stream_create()
        self._context: Any = None
        try:
            self._context = engine.create_execution_context()
        finally:
            if self._context is None:
                self.close()
        if self._context is None:
            raise DeviceError(
                f"TensorRT could not make an execution context: {logger.reason()}",
                hint="other programs may fill the GPU's memory",
            )

    @property
    def spec(self) -> EngineSpec:
        """What the engine accepts and returns: the union of its profiles."""
        return self._spec

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.generic]:
        """Run one batch; see :meth:`segplug.engine.Engine.run`.

        A batch that is too large for every profile that takes its images is run in parts.
        """
        import numpy as np

        if self._context is None:
            raise UsageError("this engine is closed")
        self._cuda.use_device()
        if (most := self._largest_batch(batch.shape)) >= len(batch):
            return self._run(batch)
        starts = range(0, len(batch), most)
        return np.concatenate([self._run(batch[start : start + most]).copy() for start in starts])

    def _run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.generic]:
        import numpy as np

        context, cuda, stream = self._context, self._cuda, self._stream
        self._switch(self._choose(batch.shape))
        self._require(context.set_input_shape(self._input, batch.shape), "take the input's shape")
        shape = tuple(context.get_tensor_shape(self._output))
        if any(size < 0 for size in shape):
            raise EngineError(f"TensorRT does not know the output's shape: {shape}")
        input_size = math.prod(batch.shape) * np.dtype(self._input_type).itemsize
        output_size = math.prod(shape) * np.dtype(self._output_type).itemsize
        self._in.reserve(input_size)
        self._out.reserve(output_size)
        np.frombuffer(self._in.view(input_size), self._input_type).reshape(batch.shape)[...] = batch
        self._require(context.set_tensor_address(self._input, self._in.device), "take the input's memory")
        self._require(context.set_tensor_address(self._output, self._out.device), "take the output's memory")
        cuda.copy_to_device_async(self._in.device, self._in.host, input_size, stream)
        if not context.execute_async_v3(stream):
            cuda.synchronize(stream)  # the copy may still read the pinned memory
            self._require(False, "run the batch")
        cuda.copy_to_host_async(self._out.host, self._out.device, output_size, stream)
        cuda.synchronize(stream)
        output: npt.NDArray[Any] = np.frombuffer(self._out.view(output_size), self._output_type).reshape(
            shape
        )
        return output.astype(np.float32) if self._output_type == "float16" else output

    def close(self) -> None:
        """Free the context, the engine, the memory and the stream."""
        self._context = self._engine = None
        self._cuda.use_device()
        stream, self._stream = self._stream, 0
        try:
            self._in.close()
        finally:
            try:
                self._out.close()
            finally:
                if stream:
                    self._cuda.stream_destroy(stream)

    def _largest_batch(self, shape: _Shape) -> int:
        """The largest batch of such images that a profile takes; the whole batch if none takes it."""
        whole, rest = shape[0], shape[1:]
        fitting = [
            min(whole, high[0])
            for low, high in self._profiles
            if low[0] <= whole and _within(rest, low[1:], high[1:])
        ]
        return max(fitting, default=whole)

    def _choose(self, shape: _Shape) -> int:
        """The index of the smallest profile that takes the shape."""
        fitting = [
            (math.prod(high), index)
            for index, (low, high) in enumerate(self._profiles)
            if _within(shape, low, high)
        ]
        if fitting:
            return min(fitting)[1]
        known = ", ".join(f"{_text(low)} to {_text(high)}" for low, high in self._profiles)
        raise ShapeError(f"the engine cannot take an input of {_text(shape)}: its profiles are {known}")

    def _switch(self, index: int) -> None:
        if index == self._profile:
            return
        self._profile = None  # unknown if the switch fails
        self._require(self._context.set_optimization_profile_async(index, self._stream), "switch its profile")
        self._cuda.synchronize(self._stream)
        self._profile = index

    def _require(self, done: bool, what: str) -> None:
        if not done:
            raise EngineError(f"TensorRT could not {what}: {self._log.reason()}")


def _tensors(trt: Any, engine: Any) -> tuple[str, str]:
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    outputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT]
    # Every output needs an address, and segplug uses one only: its builders keep no others.
    if len(inputs) != 1 or len(outputs) != 1:
        raise ArtifactError(
            f"the engine has the inputs {inputs} and the outputs {outputs} instead of one each"
        )
    return inputs[0], outputs[0]


def _dtype(trt: Any, engine: Any, name: str, allowed: tuple[str, ...]) -> str:
    found = engine.get_tensor_dtype(name)
    types = {"FLOAT": "float32", "HALF": "float16", "INT32": "int32", "INT64": "int64"}
    for kind in allowed:
        if found == getattr(trt.DataType, kind):
            return types[kind]
    raise ArtifactError(f"the engine's tensor {name} is {found}: segplug takes {', '.join(allowed)}")


def _within(shape: _Shape, low: _Shape, high: _Shape) -> bool:
    return len(shape) == len(low) and all(a <= size <= b for a, size, b in zip(low, shape, high, strict=True))


def _text(shape: _Shape) -> str:
    return "x".join(map(str, shape))
