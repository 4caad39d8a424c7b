"""mmsegmentation 1.x, as a :class:`segplug_mmseg.generation.Generation`."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from unittest import mock

from segplug.errors import ModelError
from segplug_mmseg.compat import report_warnings, stand_ins
from segplug_mmseg.explain import explained
from segplug_mmseg.v1.config import read_config, read_settings, runnable_model
from segplug_mmseg.v1.facts import palette_of_class, read_facts
from segplug_mmseg.v1.opening import open_parts
from segplug_mmseg.v1.scopes import default_scope

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
    from mmseg.registry import MODELS

    from segplug_mmseg.v1.initial_weights import initialise as initialise_weights

    with (
        default_scope(settings.get("_scope_")),
        explained(ModelError, f"cannot build the model of {location}"),
        report_warnings(reporter),
        stand_ins(),
        contextlib.redirect_stdout(io.StringIO()),  # some of mmseg's networks print their settings
        _no_downloads(),
    ):
        segmentor: nn.Module = MODELS.build(settings)
        if initialise:
            initialise_weights(segmentor)
    return segmentor


@contextlib.contextmanager
def _no_downloads() -> Iterator[None]:
    """Let mmengine read checkpoints from disk only, while the block runs; a network may load its own.

    Its table of readers is one of the whole process: only one thread at a time builds a network.
    """
    from mmengine.runner import CheckpointLoader

    def refuse(filename: str, *_: Any, **__: Any) -> Any:
        raise ModelError(f"the network wants to download {filename}; segplug downloads nothing")

    remote = dict.fromkeys((scheme for scheme in CheckpointLoader._schemes if scheme), refuse)
    with mock.patch.dict(CheckpointLoader._schemes, remote):
        yield
