"""Small parts of networks with weights that matter, their files, and how far two answers are apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from segplug.testing import randomise

__all__ = ["distance", "exported", "randomised"]


def randomised(module: nn.Module) -> nn.Module:
    """Give every weight and statistic a value that an error cannot hide behind (seeded), in eval mode."""
    randomise(module)
    return module.eval()


def distance(expected: Tensor, actual: Tensor) -> float:
    """The largest difference of two answers of one shape, relative to the range of the first."""
    a, b = (np.asarray(x.detach()) for x in (expected, actual))
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / (a.max() - a.min()))


def exported(module: nn.Module, sample: tuple[int, ...], file: Path) -> Callable[[Tensor], Tensor]:
    """Write ``module`` as ONNX with free batch, height and width, and give a function that runs the file."""
    free = torch.export.Dim.DYNAMIC
    program = torch.onnx.export(
        module,
        (torch.zeros(sample),),
        dynamo=True,
        verbose=False,
        input_names=["input"],
        dynamic_shapes=({0: free, 2: free, 3: free},),
    )
    assert program is not None
    program.save(file)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"input": x.numpy()})[0])
