"""Random weights for tiny models of transformers, such that several classes are seen.

Scales, tables and biases are not zero. The last layers are scaled and moved by what sample inputs give, so
that at least three classes each cover more than 7% of the network's output for every sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from matrix.random_weights import fill, scale, shares


def filled(kind: Callable[[Any], Any], config: Any, inputs: Sequence[dict[str, Any]]) -> Any:
    """Return a model with random weights, in evaluation mode.

    Args:
        kind: The class of the model.
        config: Its config.
        inputs: What the model is called with, for each sample image.

    Raises:
        RuntimeError: No seed gives three classes that are seen in every sample.
    """
    for seed in range(200):
        torch.manual_seed(seed)
        model = kind(config).eval()
        with torch.no_grad():
            fill(model)
            _calibrate(model, inputs)
            seen = [shares(_scores(model(**one)).argmax(1), config.num_labels) for one in inputs]
        if all((share > 0.07).sum() >= 3 for share in seen):
            return model
    raise RuntimeError(f"No seed gives three classes that are seen: {type(model).__name__}")


def _queries(outputs: Any) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return the logits of classes and masks of a query model, or None."""
    if "class_queries_logits" in outputs:
        return outputs.class_queries_logits, outputs.masks_queries_logits
    return (outputs.logits, outputs.pred_masks) if "pred_masks" in outputs else None


def _need_queries(outputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
    queries = _queries(outputs)
    if queries is None:
        raise TypeError(f"{type(outputs).__name__} has no queries")
    return queries


def _product(classes: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bqc,bqhw->bchw", classes.softmax(-1)[..., :-1], masks.sigmoid())


def _scores(outputs: Any) -> torch.Tensor:
    queries = _queries(outputs)
    scores: torch.Tensor = outputs.logits if queries is None else _product(*queries)
    return scores


# The parts of a query model whose last layers give classes, masks, and the features that masks are made of.
_HEADS: Mapping[str, tuple[str, str, str]] = {
    "maskformer": ("class_predictor", "mask_embedder", "mask_projection"),
    "mask2former": ("class_predictor", "mask_embedder", "mask_projection"),
    "oneformer": ("decoder.class_embed", "decoder.mask_embed", "mask_projection"),
    "eomt": ("class_predictor", "mask_head", "layernorm2d"),
    "eomt_dinov3": ("class_predictor", "mask_head", "layernorm2d"),
    "videomt": ("class_predictor", "mask_head", "layernorm2d"),
    "detr": ("class_labels_classifier", "mask_head.output_conv", "mask_head.output_conv"),
}


def _last(model: nn.Module, part: str, width: int | None = None) -> Any:
    """Return the last layer of a part, of so many outputs if that is given."""
    found = None
    for name, module in model.named_modules():
        outputs = getattr(module, "out_features", getattr(module, "out_channels", None))
        if getattr(module, "weight", None) is not None and part in name and width in (None, outputs):
            found = found if "auxiliary" in name else module
    if found is None:
        raise RuntimeError(f"{type(model).__name__} has no last layer of {part or width}")
    return found


def _calibrate(model: Any, inputs: Sequence[dict[str, Any]]) -> None:
    """Scale the last layers so that the classes are about as frequent as each other."""
    outputs = [model(**one) for one in inputs]
    if _queries(outputs[0]) is None:
        logits = torch.cat([one.logits.transpose(0, 1).flatten(1) for one in outputs], 1)
        scale(_last(model, "", len(logits)), logits, 1)
    else:
        classes, masks, features = (_last(model, part) for part in _HEADS[model.config.model_type])
        _spread_masks(model, masks, features, inputs)
        _spread_classes(model, classes, inputs)


def _spread_masks(model: Any, masks: Any, features: Any, inputs: Sequence[dict[str, Any]]) -> None:
    """Let the masks of the queries differ from each other."""
    if model.config.model_type == "detr":  # by more weight of where each query looks
        model.bbox_attention.q_proj.weight.mul_(4)
        model.mask_head.conv1.conv.weight[:, model.config.d_model :].mul_(100)
        for stage in model.mask_head.fpn_stages:
            stage.fpn_adapter.weight.mul_(0.2)
    else:
        made = _made(model, features, inputs)
        features.bias -= torch.cat([one.transpose(0, 1).flatten(1) for one in made], 1).mean(1)
        masks.bias -= torch.cat([one.flatten(0, 1) for one in _made(model, masks, inputs)]).mean(0)
    found = [_need_queries(model(**one))[1] for one in inputs]
    factor = 4 / torch.stack([one.flatten(2).std(2).mean() for one in found]).mean()
    masks.weight.mul_(factor)
    masks.bias.mul_(factor)


def _spread_classes(model: Any, layer: Any, inputs: Sequence[dict[str, Any]]) -> None:
    found = [_need_queries(model(**one)) for one in inputs]
    scale(layer, torch.cat([logits.flatten(0, 1).T for logits, _ in found], 1), 3)
    layer.bias[-1] -= 2  # few queries are nothing
    found = [_need_queries(model(**one)) for one in inputs]
    shift = torch.zeros_like(layer.bias)
    for _ in range(60):
        labels = torch.cat([_product(logits + shift, masks).argmax(1).flatten() for logits, masks in found])
        shift[:-1] -= 0.3 * (shares(labels, len(shift) - 1) - 1 / (len(shift) - 1))
    layer.bias += shift


def _made(model: Any, layer: nn.Module, inputs: Sequence[dict[str, Any]]) -> list[torch.Tensor]:
    """Return what a layer gives for each input; of one that runs several times, the last."""
    results = []
    for one in inputs:
        made: list[torch.Tensor] = []
        handle = layer.register_forward_hook(lambda _module, _given, result, made=made: made.append(result))
        model(**one)
        handle.remove()
        results.append(made[-1])
    return results
