"""K-Net's last step of each stage, the convolution of each image with its own kernels, for a free batch.

mmseg runs a convolution for each image in a loop, and an export keeps as many as its sample has images.
Kernels of one pixel are a matrix, and all images' products are one batch of them.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from segplug_torch.exportable.registry import method_form, original_forward
from segplug_torch.exportable.sizes import Size
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true

__all__: list[str] = []


@method_form("mmseg.models.decode_heads.knet_head.KernelUpdateHead")
def _kernel_update_head(
    self: Any, x: Tensor, kernels: Tensor, masks: Tensor, mask_shape: tuple[Size, Size] | None = None
) -> tuple[Tensor, Tensor]:
    if self.conv_kernel_size != 1 or mask_shape is not None:
        updated: tuple[Tensor, Tensor] = original_forward(self)(x, kernels, masks, mask_shape)
        return updated
    if self.feat_transform is not None:
        x = self.feat_transform(x)
    kernels = _updated_kernels(self, _gathered(x, masks), kernels.flatten(2))
    masks = _convolved(_at_mask_stride(self, x), self.fc_mask(_through(self.mask_fcs, kernels)))
    if self.mask_transform_stride == 2:
        masks = F.interpolate(masks, scale_factor=2, mode="bilinear", align_corners=False)
    return masks, kernels[..., None, None]


def _gathered(x: Tensor, masks: Tensor) -> Tensor:
    """(N, classes, C): the features under each class' mask."""
    size = x.shape[2:]
    if not all(map(_known_equal, masks.shape[2:], size)):
        masks = F.interpolate(masks, size=size, mode="bilinear", align_corners=False)
    return masks.softmax(dim=1).flatten(2) @ x.flatten(2).transpose(1, 2)


def _known_equal(a: Any, b: Any) -> bool:
    """Whether two sizes are equal whatever the input; not known of the tensors of TorchScript's tracer."""
    equal = a == b
    return not isinstance(equal, Tensor) and statically_known_true(equal)


def _updated_kernels(self: Any, gathered: Tensor, kernels: Tensor) -> Tensor:
    """(N, classes, C), from (N, classes, C) features and kernels."""
    batch, classes, channels = kernels.shape
    updated = self.kernel_update_conv(gathered, kernels.unsqueeze(2)).reshape(batch, classes, channels)
    attended = self.attention_norm(self.attention(updated.transpose(0, 1))).transpose(0, 1)
    settled: Tensor = self.ffn_norm(self.ffn(attended)) if self.with_ffn else attended
    return settled


def _through(layers: Any, x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def _at_mask_stride(self: Any, x: Tensor) -> Tensor:
    if self.mask_transform_stride == 2 and self.feat_gather_stride == 1:
        return F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)
    return x


def _convolved(x: Tensor, kernels: Tensor) -> Tensor:
    """(N, classes, H, W): each image (N, C, H, W) with its own one-pixel kernels (N, classes, C)."""
    return (kernels @ x.flatten(2)).reshape(*kernels.shape[:2], *x.shape[2:])
