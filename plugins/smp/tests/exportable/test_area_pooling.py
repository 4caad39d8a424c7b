"""PSPNet of smp, which pools by ``interpolate(mode="area")`` while it is exported to ONNX."""

from __future__ import annotations

from collections.abc import Callable

import onnxruntime
import pytest
import torch
from segmentation_models_pytorch.decoders.pspnet.decoder import PSPModule
from segplug_smp.exportable import make_exportable
from smp_support.comparing import distance
from torch import Tensor, nn

from segplug.testing import randomise

SIZES = [(1, 18, 20), (3, 7, 13), (2, 31, 9)]


def file_of(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """Write ONNX with free sizes, and give a function that runs it; no grid divides the traced size."""
    free = torch.export.Dim.DYNAMIC
    program = torch.onnx.export(
        module,
        (torch.zeros(2, 8, 20, 26),),
        dynamo=True,
        verbose=False,
        input_names=["input"],
        dynamic_shapes=({0: free, 2: free, 3: free},),
    )
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    return lambda x: torch.from_numpy(session.run(None, {"input": x.numpy()})[0])


@pytest.fixture(scope="module")
def pools() -> nn.Module:
    module = PSPModule(8, sizes=(3,))
    randomise(module)
    return module.eval().requires_grad_(False)


def differences(network: nn.Module, file: Callable[[Tensor], Tensor]) -> list[float]:
    """Of each size; where the file cannot run, as large as can be."""
    found = []
    for shape in SIZES:
        x = torch.randn(shape[0], 8, *shape[1:])
        try:
            found.append(distance(network(x), file(x)))
        except onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument:
            found.append(float("inf"))
    return found


@pytest.mark.slow
def test_one_file_follows_the_size(pools: nn.Module) -> None:
    assert max(differences(pools, file_of(make_exportable(pools)))) < 1e-5


@pytest.mark.slow
def test_a_plain_export_does_not(pools: nn.Module) -> None:
    """Else the form is not needed, and the test above says nothing."""
    assert max(differences(pools, file_of(pools))) > 0.01
