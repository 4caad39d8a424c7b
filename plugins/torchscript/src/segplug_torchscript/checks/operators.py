"""Which of PyTorch's operators a program may use: those that only compute.

The installed PyTorch is asked for its operators, since each version has others. An operator is left out if
one of its forms takes text that is not known to choose between ways to compute (a file name is text), or
takes something else than tensors, numbers and lists of them. Operators with names that begin with ``_``
belong to PyTorch's own parts, which call them with arguments that they have checked: only those that
exported networks use are on the list.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from segplug_torchscript.checks.findings import names

__all__ = ["HARMLESS_PRIMITIVES", "harmless_operators", "other_operators"]

_NAMESPACE = "aten"

_TEXT_ARGUMENTS = names(
    "UPLO approximate api_name assert_msg driver equation indexing interpolation mode norm ord p "
    "pad_mode padding padding_mode padding_side reduce rounding_mode side device_type a b chars dict "
    "el fillchar idx input inputs item key l new old s self separator string substr t to_add type "
    "values"
)
"""The names of text arguments that are no names of files."""

_OTHER_TYPES = re.compile(r"Storage|Stream|Future|RRef|Await|Generator|__torch__|Capsule|QScheme")
_GENERATOR = re.compile(r"Optional\[Generator\]")
"""Operators that draw numbers take a generator, and nothing else than ``None`` can be written for it."""

_LEFT_OUT = names(
    "save from_file load set_ set_data warn manual_seed seed initial_seed get_device_module backward "
    "is_pinned pin_memory requires_grad_ retain_grad sparse_coo_tensor sparse_compressed_tensor "
    "sparse_csr_tensor sparse_csc_tensor sparse_bsr_tensor sparse_bsc_tensor segment_reduce ctc_loss"
)
"""Beside those of files and devices: two that take an address from values, and do not check it."""
_LEFT_OUT_NAMES = re.compile(r"(fbgemm|cudnn|miopen|mkldnn|mps|q_|quantized|record)_?.*|.*backward.*")
"""Operators of single libraries, which take packed weights as they are, and those of training."""

_PRIVATE = names(
    "__and__ __contains__ __derive_index __getitem__ __iand__ __ilshift__ __interpolate __ior__ "
    "__irshift__ __is__ __isnot__ __ixor__ __lshift__ __not__ __or__ __range_length "
    "__round_to_zero_floordiv __rshift__ __upsample __upsample_bilinear __upsample_nearest __xor__ "
    "_adaptive_avg_pool2d _adaptive_avg_pool3d _add_relu _aminmax _assert_async _assert_scalar "
    "_assert_tensor_metadata _batch_norm_impl_index _batch_norm_no_update _cast_Byte _cast_Char "
    "_cast_Double _cast_Float _cast_Half _cast_Int _cast_Long _cast_Short _cdist_forward _conj "
    "_conj_copy _conj_physical _convolution _convolution_mode _dim_arange _euclidean_dist _fft_c2c "
    "_fft_c2r _fft_r2c _functional_assert_async _functional_assert_scalar "
    "_functional_sym_constrain_range _functional_sym_constrain_range_for_size _fused_rms_norm "
    "_fused_sdp_choice _grouped_mm _infer_size _int_mm _is_all_true _is_any_true "
    "_linalg_check_errors _linalg_det _linalg_eigh _linalg_slogdet _linalg_solve_ex _linalg_svd "
    "_list_to_tensor _local_scalar_dense _log_softmax _logcumsumexp _masked_softmax "
    "_native_batch_norm_legit _native_batch_norm_legit_functional "
    "_native_batch_norm_legit_no_training _native_multi_head_attention _neg_view _neg_view_copy "
    "_pad_circular _pad_enum _prelu_kernel _reshape_copy _reshape_from_tensor _safe_softmax "
    "_scaled_dot_product_attention_math _scaled_dot_product_cudnn_attention "
    "_scaled_dot_product_efficient_attention _scaled_dot_product_flash_attention "
    "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_fused_attention_overrideable "
    "_set_item _shape_as_tensor _size_if_not_equal _softmax _stack _tensor_to_list _to_copy _to_cpu "
    "_to_dense _transform_bias_rescale_qkv _transformer_encoder_layer_fwd _trilinear _unique "
    "_unique2 _unsafe_index _unsafe_index_put _unsafe_view _unwrap_optional _upsample_bicubic2d_aa "
    "_upsample_bilinear2d_aa _upsample_lanczos2d_aa _upsample_nearest_exact1d "
    "_upsample_nearest_exact2d _upsample_nearest_exact3d _weight_norm _weight_norm_interface"
)

HARMLESS_PRIMITIVES = names(
    "NumToTensor RaiseException TupleIndex TupleUnpack abs data device dtype grad index is_cpu is_cuda "
    "is_meta is_mkldnn is_mps is_nested is_quantized is_sparse is_sparse_csr is_vulkan is_xla is_xpu "
    "itemsize layout max min name nbytes rangelist requires_grad shape tolist type unchecked_cast "
    "unchecked_unwrap_optional ListConstruct ListUnpack TupleConstruct Uninitialized isinstance"
)
"""The operators of TorchScript itself (``prim``) that only compute."""


@cache
def harmless_operators() -> frozenset[str]:
    """The names in PyTorch's own namespace (``aten``) that only compute on tensors, numbers and lists."""
    return _sorted_out()[0]


@cache
def other_operators() -> frozenset[str]:
    """All other names in that namespace."""
    return _sorted_out()[1]


@cache
def _sorted_out() -> tuple[frozenset[str], frozenset[str]]:
    import torch

    known, others = set(), set()
    schemas: Any = torch._C._jit_get_all_schemas()
    for schema in schemas:
        namespace, _, name = schema.name.partition("::")
        if namespace == _NAMESPACE:
            known.add(name)
            if not _is_harmless(name, schema):
                others.add(name)
    return frozenset(known - others), frozenset(others)


def _is_harmless(name: str, schema: Any) -> bool:
    if name in _LEFT_OUT or _LEFT_OUT_NAMES.fullmatch(name):
        return False
    if name.startswith("_") and name not in _PRIVATE:
        return False
    for argument in (*schema.arguments, *schema.returns):
        kind = _GENERATOR.sub("", str(argument.type))
        if _OTHER_TYPES.search(kind):
            return False
    return all(
        "str" not in str(argument.type) or argument.name in _TEXT_ARGUMENTS for argument in schema.arguments
    )
