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
    """One array whose axes change places.

    The result has a memory of its own: the file would otherwise hold tensors in JAX's order of axes, with
    strides, and whoever reads it would compute on those.
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
    what="the files of google-research/vision_transformer",
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
        move("Transformer/encoder_norm/scale", "ln1.weight", spare=True),
        move("Transformer/encoder_norm/bias", "ln1.bias", spare=True),
        drop("pre_logits/<*>", "the classifier"),
        drop("head/<*>", "the classifier"),
    ),
    notes=(
        "JAX computes GELU by its approximation with tanh, and so do the settings; timm and mmseg's configs "
        "use these weights with the exact one: features differ by more than 1e-4 of the largest",
    ),
    backbone={
        "norm_cfg": {"type": "LN", "eps": 1e-6},
        "act_cfg": {"type": "GELU", "approximate": "tanh"},
    },
    one_way="mmseg's weights do not tell the heads that JAX's arrays are cut into, and .npz is not written",
)


def describe(shapes: Shapes) -> Variant:
    """A ViT as any other, and its number of heads, which the file's arrays tell.

    Raises:
        CheckpointError: mmseg's VisionTransformer cannot be a network of these shapes.
    """
    variant = vit_variant.describe(shapes)
    # mmseg's tensors are the same for other heads: only the arrays show whether all blocks have as many.
    Shapes(shapes.in_file).check_alike(f"{_BLOCK}/")
    _, heads, _ = shapes.in_file[_QUERY.replace("<i>", "0")]
    # All that was noted is that the heads are not known.
    return Variant(variant.name, {**variant.backbone, "num_heads": heads})


provider = Converter(family="ViT", layouts=(GOOGLE,), describe=describe)
