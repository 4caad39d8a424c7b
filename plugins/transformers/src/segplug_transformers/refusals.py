"""Refuse a folder that is no segmentation model, or one that cannot be loaded exactly, before it is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from segplug.errors import ModelError
from segplug.limits import MOST_CHANNELS
from segplug.regular_files import is_regular
from segplug.text import counted
from segplug_transformers.architectures import ARCHITECTURES, Architecture
from segplug_transformers.folder import ADAPTER, Folder, adapter_error

__all__ = ["DECODER", "TIMM", "names_timm", "require_architecture", "require_own_labels"]

DECODER = "decoder_config"
"""MaskFormer's config of its decoder: a whole DETR's, whose backbone is not built, but would be looked up."""
TIMM = "timm_backbone"
"""The config of a network that timm builds."""
_OF_LAYERS = ("layers", "depths", "blocks")
"""The ends of the names of settings that say how many layers there are."""
_MOST_LAYERS = 1000
"""Building takes seconds for this many, and the largest real networks have some 100."""
_DIGITS = 10
"""More than any label has: Python refuses to read numbers of thousands of digits."""


def require_architecture(folder: Folder) -> Architecture:
    """The class of a folder's model.

    Raises:
        ModelError: it is no segmentation model, has code of its own, is quantised or an adapter, or names
            parts that are on a hub.
    """
    file = folder.config_file
    _refuse_remote_code(folder)
    name = _class_name(folder)
    architecture = ARCHITECTURES.get(name)
    if architecture is None:
        raise ModelError(
            f"{file}: {name} is no segmentation model that segplug reads",
            hint=f"these are: {', '.join(ARCHITECTURES)}",
        )
    model_type = folder.config.get("model_type")
    if model_type != architecture.model_type:
        raise ModelError(
            f"{file} contradicts itself: architectures says {name}, whose model_type is "
            f"{architecture.model_type}, and model_type is {model_type}"
        )
    if folder.config.get("quantization_config") is not None:
        raise ModelError(
            f"{file} has a quantization_config: the weights are quantised, and not those of the network",
            hint="name the folder of the model before it was quantised",
        )
    if is_regular(folder.path / ADAPTER):
        raise adapter_error(folder.path)
    if architecture.model_type == "oneformer" and _draws_projections(folder.config):
        raise ModelError(
            f"{file}: with this conv_dim, hidden_dim and enforce_input_proj OneFormer has convolutions whose "
            "weights no file holds: transformers draws them at random when it loads the model"
        )
    for place, count in _layers(folder.config):
        if count > _MOST_LAYERS:
            raise ModelError(f"{file}: {place} asks for {count} layers, and at most {_MOST_LAYERS} are built")
    for place, backbone in _backbones_on_a_hub(folder.config):
        raise ModelError(
            f"{file}: {place} is '{backbone}', whose config is on a hub, and nothing is fetched",
            hint="load the model with transformers where the hub is in reach, and save it again with "
            "save_pretrained: that writes a backbone_config",
        )
    return architecture


def require_own_labels(folder: Folder) -> None:
    """Check that the numbers of classes in ``config.json`` agree, and the labels are 0, 1, 2, ...

    Raises:
        ModelError: they do not.
    """
    file, config = folder.config_file, folder.config
    count = config.get("num_labels")
    if "num_labels" in config and not _is_count(count):
        raise ModelError(
            f"{file}: num_labels is {count!r}, not a number of classes from 1 to {MOST_CHANNELS}",
        )
    labels = config.get("id2label")
    if labels is None:
        return
    if not isinstance(labels, Mapping) or not all(_is_number(key) for key in labels):
        raise ModelError(f"{file}: id2label is no object that gives numbers their names")
    if not 0 < len(labels) <= MOST_CHANNELS:
        raise ModelError(
            f"{file}: id2label names {counted(len(labels), 'class', 'classes')}, and 1 to {MOST_CHANNELS} "
            "are expected"
        )
    numbers = sorted(int(key) for key in labels)
    if numbers != list(range(len(numbers))):
        gap = next(place for place, number in enumerate([*numbers, -1]) if place != number)
        raise ModelError(f"{file}: id2label has no label {gap}, and labels are 0, 1, 2, ... without a gap")
    for label, name in labels.items():
        if isinstance(name, bool) or not isinstance(name, (str, int, float)):
            raise ModelError(f"{file}: id2label names class {label} {name!r}, which is no text")
    if count is not None and count != len(numbers):
        raise ModelError(
            f"{file} contradicts itself: num_labels is {count}, and id2label names "
            f"{counted(len(numbers), 'class', 'classes')}",
            hint="correct the file, or give one that is right: --cfg-options num_labels=...",
        )


def _refuse_remote_code(folder: Folder) -> None:
    for file, content in ((folder.config_file, folder.config), (folder.processor_file, folder.processor)):
        for place in _own_code(content or {}):
            raise ModelError(
                f"{file} asks for code of its own ({place}), and segplug runs no code of a model's folder",
                hint="a function of your own code that returns the network is a model, too: "
                "python:FILE.py:FUNCTION",
            )


def _own_code(content: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """Where a config, or one in it, names classes in files of its folder."""
    for key, value in content.items():
        if key == "auto_map" and value:
            yield f"{place}{key}"
        elif isinstance(value, Mapping):
            yield from _own_code(value, f"{place}{key}.")


def _class_name(folder: Folder) -> str:
    names = folder.config.get("architectures")
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise ModelError(
            f"{folder.config_file} does not say which class the model is (architectures)",
            hint="save_pretrained of the model writes it; or --cfg-options "
            "'architectures=[\"SegformerForSemanticSegmentation\"]'",
        )
    return names[0]


def _layers(config: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, int]]:
    """How many layers each setting asks for: ``num_hidden_layers``, ``depths``, ``num_encoder_blocks``."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _layers(value, f"{place}{key}.")
        elif key.endswith(_OF_LAYERS):
            counts = value if isinstance(value, list) else [value]
            yield f"{place}{key}", sum(count for count in counts if isinstance(count, int))


def _is_number(key: Any) -> bool:
    return len(str(key)) < _DIGITS and str(key).isdecimal()


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_CHANNELS


def _draws_projections(config: Mapping[str, Any]) -> bool:
    """Whether OneFormer's maps are projected by layers in a plain list, which are in no state dict."""
    widths = config.get("conv_dim", 256), config.get("hidden_dim", 256)
    return widths[0] != widths[1] or bool(config.get("enforce_input_proj"))


def names_timm(config: Mapping[str, Any]) -> bool:
    """Whether the ``backbone`` of a config is one of timm, as DETR's is unless the config says otherwise."""
    kind = config.get("model_type")
    return kind == TIMM or bool(config.get("use_timm_backbone", kind == "detr"))


def _backbones_on_a_hub(config: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """The settings that transformers would look up on a hub: a name in place of a backbone's own config."""
    name = config.get("backbone")
    if name is not None and config.get("backbone_config") is None and not names_timm(config):
        yield f"{place}backbone", name
    for key, value in config.items():
        if isinstance(value, Mapping) and key != DECODER:
            yield from _backbones_on_a_hub(value, f"{place}{key}.")
