"""The table of rules for ONNX operators, of the standard's and of ONNX Runtime's own domain.

The same arithmetic as for torch (:mod:`segplug_analysis.flops.aten_rules`), under ONNX's names. Quantised
products count like floating-point ones.
"""

from __future__ import annotations

from math import prod

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
    attention,
    einsum_products,
    per_input,
    per_output,
    size,
    table,
)

__all__ = ["ONNX_RULES"]


def _biased(macs: int, call: Call, bias: int) -> Count:
    return Count(macs, others=size(call.result) if call.has(bias) else 0)


def _convolution(call: Call, *, weight: int = 1, bias: int = 2) -> Count:
    return _biased(size(call.result) * prod(call.taken(weight)[1:]), call, bias)


def _quantised_convolution(call: Call) -> Count:
    return _convolution(call, weight=3, bias=8)


def _transposed_convolution(call: Call) -> Count:
    return _biased(size(call.taken(0)) * prod(call.taken(1)[1:]), call, bias=2)


def _product(call: Call) -> Count:
    return Count(size(call.result) * call.taken(0)[-1])


def _gemm(call: Call) -> Count:
    inner = call.taken(0)[0 if call.details.get("transA") else 1]
    return _biased(size(call.result) * inner, call, bias=2)


def _einsum(call: Call) -> Count | None:
    products = einsum_products(
        call.details["equation"].decode(), [call.taken(i) for i in range(len(call.inputs))]
    )
    return None if products is None else Count(products)


def _attention(call: Call) -> Count:
    query, key, value = (call.taken(position) for position in range(3))
    if len(query) == 3:  # heads side by side in the last axis: (batch, length, heads x channels)
        heads, shared = call.details["q_num_heads"], call.details["kv_num_heads"]
        query = (query[0], heads, query[1], query[2] // heads)
        key = (key[0], shared, key[1], key[2] // shared)
        value = (value[0], shared, value[1], value[2] // shared)
    return attention(query, key, value, masked=call.has(3))


def _pooling(call: Call) -> Count:
    return Count(others=prod(call.details["kernel_shape"]) * size(call.result))


def _resizing(call: Call) -> Count | None:
    """Only axes that change are interpolated: ONNX resizes the batch and the channels too, by 1."""
    mode = call.details.get("mode", b"nearest").decode()
    axes = sum(before != after for before, after in zip(call.taken(0), call.result, strict=True))
    taps = {"nearest": 1, "linear": 2**axes, "cubic": 4**axes}.get(mode)
    return None if taps is None else Count(others=(2 * taps - 1 if taps > 1 else 0) * size(call.result))


def _grid_sampling(call: Call) -> Count | None:
    mode = call.details.get("mode", b"bilinear").decode()
    per_value = {"bilinear": 7, "linear": 7, "nearest": 0, "bicubic": 31, "cubic": 31}.get(mode)
    if per_value is None or len(call.result) != 4:
        return None
    return Count(others=per_value * size(call.result) + 16 * size(call.taken(1)) // 2)


def _of_many(call: Call) -> Count:
    return Count(others=len(call.inputs) * size(call.result))


def _norm(call: Call) -> Count:
    return Count(others=7 * size(call.taken(0)))


def _scatter(call: Call) -> Count:
    sums = call.details.get("reduction", b"none") != b"none"
    return Count(others=size(call.taken(2)) if sums else 0)


_PER_NORM = Rule("7 FLOPs per value: mean, variance, normalisation, scale and shift", _norm)

_CONVOLUTION = Rule(PER_CONVOLUTION, _convolution)
_PRODUCT = Rule(PER_MATRIX, _product)
_GEMM = Rule(PER_LINEAR, _gemm)

ONNX_RULES: dict[str, Rule] = table(
    [
        (_CONVOLUTION, "Conv ConvInteger com.microsoft.FusedConv"),
        (_PRODUCT, "MatMul MatMulInteger"),
        (_GEMM, "Gemm com.microsoft.FusedGemm"),
        (per_output(1), """
            Add Sub Mul Div Neg Abs Reciprocal Sqrt Exp Log Sin Cos Tan Tanh Atan Erf Sigmoid Pow Relu Clip
            ThresholdedRelu Floor Ceil Round Mod Sign Equal Greater GreaterOrEqual Less LessOrEqual
            IsNaN IsInf And Or Xor Not BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitShift"""),
        (Rule("1 FLOP per output value and input", _of_many), "Max Min Sum Mean"),
        (per_output(2, "a comparison and a product"), "LeakyRelu PRelu"),
        (per_output(2, "sigmoid and product"), "Swish com.microsoft.QuickGelu"),
        (per_output(2, "difference and product"), "DequantizeLinear com.microsoft.DequantizeLinear"),
        (per_output(3, "exponential, sum, logarithm"), "Softplus"),
        (per_output(3, "product, sum, clamp"), "HardSigmoid"),
        (per_output(3, "exponential, difference, product"), "Elu Celu"),
        (per_output(4, "exponential, difference, two products"), "Selu"),
        (per_output(4, "sum, clamp, product, quotient"), "HardSwish"),
        (per_output(4, "exponential, logarithm, tanh, product"), "Mish"),
        (per_output(4, "quotient, rounding, sum, clamp"), """
            QuantizeLinear DynamicQuantizeLinear com.microsoft.QuantizeLinear"""),
        (per_output(5, "quotient, erf, sum, two products"), "Gelu com.microsoft.Gelu"),
        (per_output(SOFTMAX_STEPS, "maximum, difference, exponential, sum, quotient"), "Softmax LogSoftmax"),
        (per_output(2, "scale and shift, folded"), "BatchNormalization"),
        (_PER_NORM, "InstanceNormalization LayerNormalization GroupNormalization"),
        (per_output(5, "mean, variance, normalisation"), "MeanVarianceNormalization"),
        (per_output(3, "square, sum, quotient"), "LpNormalization"),
        (Rule("1 FLOP per input value of each window", _pooling), "AveragePool MaxPool"),
        (per_input(1), """
            GlobalAveragePool GlobalMaxPool ReduceSum ReduceMean ReduceProd ReduceMax ReduceMin ArgMax ArgMin
            TopK CumSum"""),
        (per_input(2, "square or magnitude, and sum"), "ReduceL1 ReduceL2 ReduceSumSquare"),
        (per_input(2, "exponential or logarithm, and sum"), "ReduceLogSum"),
        (per_input(4, "maximum, difference, exponential, sum"), "ReduceLogSumExp"),
        (per_input(1, "a sum where patches overlap"), "Col2Im"),
        (MOVES, """
            Identity Reshape Flatten Transpose Concat Split Slice Gather GatherND GatherElements Squeeze
            Unsqueeze Expand Tile Pad Cast CastLike DepthToSpace SpaceToDepth Where Compress Trilu Dropout
            ReverseSequence NonZero"""),
        (NOTHING, "Constant ConstantOfShape Shape Size Range OneHot EyeLike"),
    ],
    {
        "ConvTranspose": Rule(PER_CONVOLUTION, _transposed_convolution),
        "QLinearConv": Rule(PER_CONVOLUTION, _quantised_convolution),
        "QLinearMatMul": _PRODUCT,
        "Einsum": Rule("MACs: product of the lengths of all indices", _einsum),
        "Attention": Rule(
            PER_ATTENTION, _attention
        ),
        "Resize": Rule("per output value 7 FLOPs (bilinear), 31 (bicubic), 0 (nearest)", _resizing),
        "Upsample": Rule("per output value 7 FLOPs (bilinear), 31 (bicubic), 0 (nearest)", _resizing),
        "GridSample": Rule(
            "7 FLOPs per output value (bilinear), 16 per point for its place and weights", _grid_sampling
        ),
        "ScatterND": Rule("1 FLOP per value that is added, none where it is put", _scatter),
        "ScatterElements": Rule("1 FLOP per value that is added, none where it is put", _scatter),
    },
)  # fmt: skip
"""Operator to rule. What is not here is reported as not counted."""
