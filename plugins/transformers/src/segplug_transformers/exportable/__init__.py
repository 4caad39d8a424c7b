"""The exportable forms of the classes of transformers: one small module for each cause.

Importing this package registers them (see :mod:`segplug_torch.exportable.registry`); then
:func:`segplug_torch.exportable.make_exportable` applies them. To add a cause, write a module here that
registers a form, import it below, and give it a test of equal numbers at sizes that nothing divides.
"""

from __future__ import annotations

from segplug_torch.exportable import make_exportable

from . import (  # noqa: F401  (each registers its forms)
    deformable_attention,
    mask_switches,
    mobilevit,
    position_tables,
    query_decoders,
    relative_positions,
    same_padding,
    sine_positions,
    swin,
)

__all__ = ["make_exportable"]
