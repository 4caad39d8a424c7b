"""Make a network exportable: :func:`make_exportable`, and one small module for each cause.

Written for the torch.export-based exporter of torch 2.13; it can also follow all that plain tracing can.
How to call the exporter on the result (``D`` is ``torch.export.Dim.DYNAMIC``)::

    torch.onnx.export(
        exportable, (torch.zeros(2, 3, 488, 680),), dynamo=True, verbose=False, optimize=True,
        dynamic_shapes=({0: D, 2: D, 3: D},),
    )

* ``Dim.DYNAMIC`` and not a named ``Dim`` with limits: it refuses a size that was fixed to a constant, and
  accepts what a network truly asks of its sizes. A named one makes an error of every derived condition.
  If sizes must be multiples (UNet), declare that: ``16 * torch.export.Dim("height")``.
* Sample: batch 2 (1 is taken for a constant), height and width different, and both large: whatever a network
  counts must be above 1 and differ between the axes on the sample, or it may be taken for a constant or for
  the same number (Swin counts windows of 7 x 7 at a 32nd of the size). Nothing is computed on the sample, so
  its size costs no time. A static export takes the real size, batch 1 and no ``dynamic_shapes``.
* Leave ``strict`` alone: the first attempt is not strict, and its error is the informative one.
* ``optimize=True`` folds BatchNorm into convolutions and constants into weights. Folding them beforehand, or
  switching off gradients or the garbage collector, saves no measurable time.
* Opset 18 is what the exporter's own library is written for; another goes through a converter.

To add a cause, write a module that registers a form (see :mod:`.registry`), and give it a test of equal
numbers at sizes that nothing divides. A cause that belongs to torch goes here; one that belongs to the
classes of a framework goes into the plugin of that framework.
"""

from __future__ import annotations

from . import adaptive_pooling, patches  # noqa: F401  (each registers its forms)
from .copying import make_exportable

__all__ = ["make_exportable"]
