"""The table of rules for torch's own operators (aten), as they are called below autograd.

Composed operators are split up before: ``einsum``, ``matmul`` and ``nn.MultiheadAttention`` arrive as
``bmm`` and ``addmm``, ``F.conv2d`` as ``convolution``, ``linear`` as ``addmm`` or ``mm``. The names are those
without the suffix of an in-place variant (``add_`` is ``add``).

Products are counted with ptflops' functions for aten. They are right for grouped, dilated and transposed
convolutions and for addmm, with two exceptions that are corrected here: they count a bias as MACs (it is a
sum without a product), so they are called without it; and ``_convolution`` has more arguments than they
expect. They have no functions for ``baddbmm``, ``mv``, fused attention and operators without products.
"""

from __future__ import annotations

from math import prod
from types import SimpleNamespace
from typing import Any

import torch
from ptflops.aten_ops import ATEN_OPS_MAPPING  # type: ignore[import-untyped, unused-ignore]

from segplug_analysis.flops.rules import (
    MOVES,
    NOTHING,
    PER_ATTENTION,
    PER_CONVOLUTION,
    PER_LINEAR,
    PER_MATRIX,
    SOFTMAX_STEPS,
    Call,
    Count,
    Rule,
    adaptive_cells,
    attention,
    per_input,
    per_output,
    size,
    table,
)

__all__ = ["ATEN_RULES"]

_PTFLOPS: dict[Any, Any] = ATEN_OPS_MAPPING
_aten = torch.ops.aten


def _convolution(call: Call) -> Count:
    image, weight, bias, *others = call.details[:9]
    result = SimpleNamespace(shape=call.result)  # only the shape is used
    macs = _PTFLOPS[_aten.convolution]([image, weight, None, *others], [result])
    return Count(macs, others=size(call.result) if bias is not None else 0)


def _addmm(call: Call) -> Count:
    return Count(_PTFLOPS[_aten.addmm]([None, *call.details[1:3]], []), others=size(call.result))


def _mm(call: Call) -> Count:
    return Count(_PTFLOPS[_aten.mm](call.details[:2], []))


def _bmm(call: Call) -> Count:
    return Count(_PTFLOPS[_aten.bmm](call.details[:2], []))


def _baddbmm(call: Call) -> Count:
    return Count(_PTFLOPS[_aten.bmm](call.details[1:3], []), others=size(call.result))


def _linear(call: Call) -> Count:
    biased = call.has(2)
    return Count(size(call.result) * call.taken(1)[-1], others=size(call.result) if biased else 0)


def _fused_attention(call: Call) -> Count:
    query, key, value = (call.taken(position) for position in range(3))
    return attention(query, key, value, masked=call.has(3))


def _batch_norm(call: Call) -> Count:
    measures = bool(call.details[5])  # `training`: true for instance norms, also in eval mode
    steps = _norm_steps(call) if measures else 2
    return Count(others=steps * size(call.taken(0)))


def _norm(call: Call) -> Count:
    return Count(others=_norm_steps(call) * size(call.taken(0)))


def _norm_steps(call: Call) -> int:
    scaled = call.has(1)
    return 5 + (2 if scaled else 0)


def _pooling(call: Call) -> Count:
    return Count(others=prod(call.details[1]) * size(call.result))


def _adaptive_pooling(call: Call) -> Count:
    before, after = call.taken(0), call.result
    axes = len(call.details[1])
    return Count(others=prod(after[:-axes]) * adaptive_cells(before[-axes:], after[-axes:]))


def _grid_sampling(call: Call) -> Count:
    per_value = {0: 7, 1: 0, 2: 31}[call.details[2]]
    return Count(others=per_value * size(call.result) + 16 * size(call.taken(1)) // 2)


def _distances(call: Call) -> Count:
    return Count(others=3 * size(call.result) * call.taken(0)[-1])


_PER_NORM = "5 FLOPs per value: mean, variance, normalisation; 2 more with scale and shift"

ATEN_RULES: dict[str, Rule] = table(
    [
        (Rule(PER_CONVOLUTION, _convolution), "convolution _convolution"),
        (Rule(PER_ATTENTION, _fused_attention), """
            _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention
            _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention
            _scaled_dot_product_fused_attention_overrideable"""),
        (per_output(1), """
            add sub rsub mul div neg abs reciprocal sqrt rsqrt square exp exp2 expm1 log log2 log10 log1p
            sin cos tan tanh atan atan2 erf erfc sigmoid pow relu clamp clamp_min clamp_max hardtanh threshold
            maximum minimum fmax fmin floor ceil round trunc frac remainder fmod floor_divide sign sgn
            eq ne lt le gt ge isnan isinf isfinite logical_and logical_or logical_not logical_xor
            bitwise_and bitwise_or bitwise_not bitwise_xor __and__ __or__"""),
        (per_output(2, "a comparison and a product"), "leaky_relu prelu _prelu_kernel"),
        (per_output(2, "sigmoid and product"), "silu glu"),
        (per_output(2, "product or quotient, and sum"), "addcmul addcdiv"),
        (per_output(3, "exponential, sum, logarithm"), "softplus log_sigmoid_forward"),
        (per_output(3, "difference, product, sum"), "lerp"),
        (per_output(3, "sum, clamp, quotient"), "hardsigmoid"),
        (per_output(3, "exponential, difference, product"), "elu celu"),
        (per_output(4, "sum, clamp, product, quotient"), "hardswish"),
        (per_output(4, "exponential, logarithm, tanh, product"), "mish"),
        (per_output(5, "quotient, erf, sum, two products"), "gelu"),
        (
            per_output(SOFTMAX_STEPS, "maximum, difference, exponential, sum, quotient"),
            "_softmax _log_softmax _safe_softmax",
        ),
        (
            Rule("2 FLOPs per value: scale and shift, folded; 5 to 7 as instance norm", _batch_norm),
            "native_batch_norm _native_batch_norm_legit cudnn_batch_norm",
        ),
        (per_output(2, "scale and shift, folded"), "_native_batch_norm_legit_no_training"),
        (Rule(_PER_NORM, _norm), "native_layer_norm native_group_norm"),
        (Rule("1 FLOP per input value of each window", _pooling), """
            avg_pool1d avg_pool2d avg_pool3d max_pool2d_with_indices max_pool3d_with_indices"""),
        (Rule("1 FLOP per input value of each cell", _adaptive_pooling), """
            _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d"""),
        (per_input(1), """
            sum mean nansum prod amax amin max min argmax argmin any all aminmax cumsum cumprod topk sort"""),
        (per_input(2, "square or magnitude, and sum"), "linalg_vector_norm norm"),
        (per_input(4, "sum; difference, square, sum"), "var std var_mean std_mean"),
        (per_input(4, "maximum, difference, exponential, sum"), "logsumexp"),
        (per_input(1, "a sum", position=-1), "index_add scatter_add scatter_reduce"),
        (per_input(1, "a sum where patches overlap"), "col2im"),
        (per_output(3, "2 products, 1 sum"), "upsample_linear1d"),
        (per_output(7, "4 products, 3 sums"), "upsample_bilinear2d"),
        (per_output(15, "8 products, 7 sums"), "upsample_trilinear3d"),
        (per_output(31, "16 products, 15 sums"), "upsample_bicubic2d"),
        (Rule("3 FLOPs per pair and channel: difference, power, sum", _distances), "_cdist_forward"),
        (MOVES, """
            _to_copy copy clone cat stack index index_select index_put gather scatter slice_scatter
            select_scatter masked_fill masked_select masked_scatter where take fill constant_pad_nd
            reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d roll flip repeat
            repeat_interleave im2col pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle
            embedding tril triu _unsafe_view _reshape_alias resize upsample_nearest1d upsample_nearest2d
            upsample_nearest3d _upsample_nearest_exact2d nonzero unbind_copy _conj_physical
            lift_fresh lift_fresh_copy diag_embed"""),
        (NOTHING, """
            empty empty_like empty_strided zeros zeros_like ones ones_like full full_like new_empty new_zeros
            new_empty_strided new_ones new_full scalar_tensor arange linspace eye tril_indices triu_indices
            one_hot zero
            _local_scalar_dense is_nonzero item equal sym_size _assert_async _assert_tensor_metadata"""),
    ],
    {
        "grid_sampler_2d": Rule(
            "7 FLOPs per output value (bilinear), 16 per point for its place and weights", _grid_sampling
        ),
        "mm": Rule(PER_MATRIX, _mm),
        "addmm": Rule(PER_LINEAR, _addmm),
        "bmm": Rule(PER_MATRIX, _bmm),
        "baddbmm": Rule(PER_LINEAR, _baddbmm),
        "linear": Rule(PER_LINEAR, _linear),
        "mv": Rule(PER_MATRIX, lambda call: Count(size(call.taken(0)))),
        "dot": Rule(PER_MATRIX, lambda call: Count(size(call.taken(0)))),
    },
)  # fmt: skip
"""Operator to rule. Others are reported as not counted, unless they are views or can be decomposed."""
