"""The exportable forms of the classes of segmentation-models-pytorch and timm: a module for each cause.

Importing this package registers them (see :mod:`segplug_torch.exportable.registry`); then
:func:`segplug_torch.exportable.make_exportable` applies them. To add a cause, write a module here that
registers a form, import it below, and give it a test of equal numbers at sizes that nothing divides.
"""

from __future__ import annotations

from segplug_torch.exportable import make_exportable

from . import mix_transformer, same_padding  # noqa: F401  (each registers its forms)

__all__ = ["make_exportable"]
