"""``convert_weights vit-jax``: Google's ViT files of JAX arrays (.npz) for mmseg's VisionTransformer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from segplug_converters import Converter, Layout, Operation, Shapes, Variant, drop, join, merge, move
from segplug_converters.families import vit_variant

if TYPE_CHECKING:
    import torch

__all__ = ["provider"]

_BLOCK = "Transformer/encoderblock_<i>"
_ATTENTION = f"{_BLOCK}/MultiHeadDotProductAttention_1"
_QUERY = f"{_ATTENTION}/query/kernel"


def _sized(tensor: torch.Tensor, *axes: str) -> torch.Tensor:
    if tensor.ndim != len(axes):
        raise ValueError(f"it has {tensor.ndim} dimensions, not {len(axes)}: {', '.join(axes)}")
    return tensor


def _transposed(text: str, forward: Callable[[torch.Tensor], torch.Tensor]) -> Operation:
    """An operation that transposes one array.

    The result is contiguous. Otherwise the file would hold strided tensors, and a network that loads them
    would compute on these strides.
    """

    def there(tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        return [forward(tensors[0]).contiguous()]

    return Operation("transposed", text, there, None)


_EQUAL = merge(1, 1, 1)


def _kernels(tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    matrices = [_sized(kernel, "inputs", "heads", "channels").flatten(1).T for kernel in tensors]
    return _EQUAL.forward(matrices)


def _biases(tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    return _EQUAL.forward([_sized(bias, "heads", "channels").flatten() for bias in tensors])


_IN_KERNELS = Operation("merged", "heads in one, transposed, along the rows", _kernels, None)
_IN_BIASES = Operation("merged", "heads in one, along the rows", _biases, None)
_OUT_KERNEL = _transposed(
    "heads in one, inputs last",
    lambda kernel: _sized(kernel, "heads", "channels", "outputs").flatten(0, 1).T,
)
_DENSE = _transposed("inputs last", lambda kernel: _sized(kernel, "inputs", "outputs").T)
_CONVOLUTION = _transposed(
    "outputs and inputs first",
    lambda kernel: _sized(kernel, "height", "width", "inputs", "outputs").permute(3, 2, 0, 1),
)

GOOGLE = Layout(
    name="google",
    description="the files of google-research/vision_transformer",
    anchors=((f"{_BLOCK}/LayerNorm_0/scale", "layers.<i>.ln1.weight"),),
    rules=(
        move("Transformer/posembed_input/pos_embedding", "pos_embed"),
        move("cls", "cls_token"),
        move("embedding/kernel", "patch_embed.projection.weight", _CONVOLUTION),
        move("embedding/bias", "patch_embed.projection.bias"),
        move(f"{_BLOCK}/LayerNorm_0/scale", "layers.<i>.ln1.weight"),
        move(f"{_BLOCK}/LayerNorm_0/bias", "layers.<i>.ln1.bias"),
        join(
            (_QUERY, f"{_ATTENTION}/key/kernel", f"{_ATTENTION}/value/kernel"),
            "layers.<i>.attn.attn.in_proj_weight",
            _IN_KERNELS,
        ),
        join(
            (f"{_ATTENTION}/query/bias", f"{_ATTENTION}/key/bias", f"{_ATTENTION}/value/bias"),
            "layers.<i>.attn.attn.in_proj_bias",
            _IN_BIASES,
        ),
        move(f"{_ATTENTION}/out/kernel", "layers.<i>.attn.attn.out_proj.weight", _OUT_KERNEL),
        move(f"{_ATTENTION}/out/bias", "layers.<i>.attn.attn.out_proj.bias"),
        move(f"{_BLOCK}/LayerNorm_2/scale", "layers.<i>.ln2.weight"),
        move(f"{_BLOCK}/LayerNorm_2/bias", "layers.<i>.ln2.bias"),
        move(f"{_BLOCK}/MlpBlock_3/Dense_0/kernel", "layers.<i>.ffn.layers.0.0.weight", _DENSE),
        move(f"{_BLOCK}/MlpBlock_3/Dense_0/bias", "layers.<i>.ffn.layers.0.0.bias"),
        move(f"{_BLOCK}/MlpBlock_3/Dense_1/kernel", "layers.<i>.ffn.layers.1.weight", _DENSE),
        move(f"{_BLOCK}/MlpBlock_3/Dense_1/bias", "layers.<i>.ffn.layers.1.bias"),
        move("Transformer/encoder_norm/scale", "ln1.weight", optional_target=True),
        move("Transformer/encoder_norm/bias", "ln1.bias", optional_target=True),
        drop("pre_logits/<*>", "the classifier"),
        drop("head/<*>", "the classifier"),
    ),
    notes=(
        "JAX computes GELU by its approximation with tanh, and so do the settings; timm and mmseg's configs "
        "use the exact GELU with these weights: features differ by more than 1e-4 of the largest",
    ),
    backbone={
        "norm_cfg": {"type": "LN", "eps": 1e-6},
        "act_cfg": {"type": "GELU", "approximate": "tanh"},
    },
    one_way="JAX's arrays are split by heads, whose number mmseg's weights lack, and .npz is not written",
)


def describe(shapes: Shapes) -> Variant:
    """Read the variant as for any other ViT, and the number of heads from the file's arrays.

    Raises:
        CheckpointError: mmseg's VisionTransformer cannot have these shapes.
    """
    variant = vit_variant.describe(shapes)
    # mmseg's tensors do not depend on the number of heads: only the arrays show whether all blocks agree.
    Shapes(shapes.in_file).check_alike(f"{_BLOCK}/")
    _, heads, _ = shapes.in_file[_QUERY.replace("<i>", "0")]
    # Without its notes: they only say that the heads are not known.
    return Variant(variant.name, {**variant.backbone, "num_heads": heads})


provider = Converter(
    family="ViT",
    about="Google's ViT files of JAX arrays (.npz) for mmseg's VisionTransformer.",
    layouts=(GOOGLE,),
    describe=describe,
)
