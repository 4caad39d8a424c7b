"""mmsegmentation 1.x, as a :class:`segplug_mmseg.generation.Generation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segplug.errors import ModelError
from segplug_mmseg.compat import report_warnings
from segplug_mmseg.explain import explained
from segplug_mmseg.v1.config import read_config, runnable_model
from segplug_mmseg.v1.facts import palette_of_class, read_facts

if TYPE_CHECKING:
    from torch import nn

    from segplug.progress import Reporter

__all__ = ["build_segmentor", "palette_of_class", "read_config", "read_facts", "runnable_model"]


def build_segmentor(settings: Any, location: str, reporter: Reporter, *, initialise: bool) -> nn.Module:
    """The network of settings; see :meth:`segplug_mmseg.generation.Generation.build_segmentor`."""
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS

    init_default_scope("mmseg")
    with explained(ModelError, f"cannot build the model of {location}"), report_warnings(reporter):
        segmentor: nn.Module = MODELS.build(settings)
        if initialise:
            segmentor.init_weights()  # type: ignore[operator]
    return segmentor
