"""Quantise a graph to int8 with explicit Q/DQ nodes, with ONNX Runtime's quantiser and real inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from segplug.files import scratch_folder, temporary_files_in
from segplug.progress import Progress, QuietReporter, Reporter
from segplug.quiet import quiet
from segplug_tensorrt.graphs.converted import Converted
from segplug_tensorrt.graphs.sensitive import WEIGHTED, sensitive_nodes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Batch = dict[str, npt.NDArray[np.float32]]

__all__ = ["convert"]

_Saved = dict[str, Path]
"""The inputs of one batch: name to file."""


def convert(model: onnx.ModelProto, batches: Iterable[Batch], reporter: Reporter | None = None) -> Converted:
    """Quantise weights (one scale for each channel) and activations to 8 bits, both symmetric.

    Some layers stay in floating point: the classifier, because no later layer averages its errors out;
    depthwise convolutions, which sum few products and would save little time; and layers that would magnify
    rounding errors.

    Args:
        model: With its weights. It is not changed.
        batches: Inputs by name, to calibrate the ranges of the activations.
        reporter: Gets the progress.
    """
    import numpy as np
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static as quantize

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Gives the batches of the range that was set; they wait in files."""

        def __init__(self, saved: Sequence[_Saved], progress: Progress) -> None:
            self._saved = saved
            self._next = iter(saved)
            self._progress = progress

        def __len__(self) -> int:
            return len(self._saved)

        def set_range(self, start_index: int, end_index: int) -> None:
            self._next = iter(self._saved[start_index:end_index])

        def get_next(self) -> Batch | None:
            saved = next(self._next, None)
            if saved is None:
                return None
            self._progress.advance()
            return {name: np.load(path) for name, path in saved.items()}

    named = onnx.ModelProto()
    named.CopyFrom(model)
    for number, node in enumerate(named.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    not_quantised = tuple(dict.fromkeys((*_classifier(named), *_depthwise(named))))
    sensitive = sensitive_nodes(named)
    static: Any = quantize
    with scratch_folder() as folder, temporary_files_in(folder), quiet():
        output, saved = folder / "int8.onnx", _save(batches, folder)
        with (reporter or QuietReporter()).progress("running batches", len(saved)) as progress:
            static(
                named,
                output,
                Reader(saved, progress),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(WEIGHTED),
                nodes_to_exclude=[*not_quantised, *sensitive],
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.Percentile,
                extra_options={
                    "ActivationSymmetric": True,
                    "WeightSymmetric": True,
                    "QuantizeBias": False,
                    "AddQDQPairToWeight": True,
                    "CalibPercentile": 99.99,
                    # One batch at a time: all layers' outputs of all batches at once took 16 GB for 16 images
                    # of 480x360.
                    "CalibStridedMinMax": 1,
                },
            )
        quantised = onnx.load(output)
    del quantised.metadata_props[:]
    quantised.metadata_props.extend(model.metadata_props)
    return Converted(quantised, sensitive, not_quantised=not_quantised)


def _save(batches: Iterable[Batch], folder: Path) -> list[_Saved]:
    """Write the batches to files: the quantiser asks for their number before it takes the first."""
    import numpy as np

    saved = []
    for number, batch in enumerate(batches):
        paths = {name: folder / f"batch_{number}_{place}.npy" for place, name in enumerate(batch)}
        for name, path in paths.items():
            np.save(path, batch[name])
        saved.append(paths)
    return saved


def _classifier(model: onnx.ModelProto) -> tuple[str, ...]:
    """The last layer with weights before the output."""
    makers = {output: node for node in model.graph.node for output in node.output}
    waiting, seen = [model.graph.output[0].name], set()
    while waiting:
        node = makers.get(waiting.pop(0))
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if node.op_type in WEIGHTED:
            return (node.name,)
        waiting.extend(node.input)
    return ()


def _depthwise(model: onnx.ModelProto) -> Iterator[str]:
    """Convolutions whose every group is one channel."""
    weights = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    for node in model.graph.node:
        groups = next((each.i for each in node.attribute if each.name == "group"), 1)
        if node.op_type == "Conv" and groups > 1 and weights.get(node.input[1], (0, 0))[1] == 1:
            yield node.name
