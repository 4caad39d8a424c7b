"""Weights that are NaN or infinite are named and counted."""

from __future__ import annotations

import pytest
import torch

from segplug.checkpoint import refuse_nonfinite
from segplug.errors import NonfiniteError


def test_the_first_tensors_are_named_with_their_counts():
    state = {f"w{index}": torch.zeros(4, 5) for index in range(6)}
    for index in (1, 2, 4, 5):
        state[f"w{index}"][0, :index] = float("nan")
    with pytest.raises(NonfiniteError) as caught:
        refuse_nonfinite(state, "the weights of best.pth")
    assert caught.value.message == (
        "the weights of best.pth hold NaN or infinity, 12 values in 4 tensors: w1 (1 of 20), w2 (2 of 20), "
        "w4 (4 of 20) and 1 more"
    )
    assert "--allow-nonfinite" in caught.value.hint
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64]
)
def test_every_type_of_numbers(dtype, value):
    tensor = torch.ones(3, 4, dtype=dtype).t()
    refuse_nonfinite({"w": tensor}, "x")
    tensor[1, 1] = float(value)
    with pytest.raises(NonfiniteError, match=r"w \(1 of 12\)"):
        refuse_nonfinite({"w": tensor}, "x")


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_numbers_of_8_bits(name):
    values = torch.ones(3, 4)
    refuse_nonfinite({"w": values.to(getattr(torch, name))}, "x")
    values[1, 1] = float("nan")
    with pytest.raises(NonfiniteError, match=r"w \(1 of 12\)"):
        refuse_nonfinite({"w": values.to(getattr(torch, name))}, "x")


def test_what_is_finite_passes():
    largest = torch.full((100, 100), torch.finfo(torch.float16).max, dtype=torch.float16)
    mixed = torch.tensor([3e38, 3e38, -3e38])
    quantized = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    state = {
        "the sum is too large": largest,
        "mixed": mixed,
        "whole numbers": torch.ones(3, dtype=torch.int64),
        "truth": torch.ones(3, dtype=torch.bool),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(1.0),
        "quantised": quantized,
        "without values": torch.zeros(3, device="meta"),
        "sparse": torch.eye(3).to_sparse(),
        "no tensor": "x",
    }
    if hasattr(torch, "float4_e2m1fn_x2"):  # since 2.8
        state["numbers of 4 bits"] = torch.zeros(3, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    refuse_nonfinite(state, "x")
