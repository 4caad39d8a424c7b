"""mmsegmentation 0.x, as a :class:`segplug_mmseg.generation.Generation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segplug.errors import ModelError
from segplug_mmseg.compat import report_warnings
from segplug_mmseg.explain import explained
from segplug_mmseg.v0.config import read_config, read_settings, runnable_model
from segplug_mmseg.v0.facts import palette_of_class, read_facts
from segplug_mmseg.v0.parts import open_parts

if TYPE_CHECKING:
    from torch import nn

    from segplug.progress import Reporter

__all__ = [
    "build_segmentor",
    "open_parts",
    "palette_of_class",
    "read_config",
    "read_facts",
    "read_settings",
    "runnable_model",
]


def build_segmentor(settings: Any, location: str, reporter: Reporter, *, initialise: bool) -> nn.Module:
    """The network of settings; see :meth:`segplug_mmseg.generation.Generation.build_segmentor`."""
    from mmseg.models import build_segmentor as build

    with explained(ModelError, f"cannot build the model of {location}"), report_warnings(reporter):
        segmentor: nn.Module = build(settings)
        if initialise:
            segmentor.init_weights()  # type: ignore[operator]
    return segmentor
