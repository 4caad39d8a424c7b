"""Convert backbone weights of other libraries to mmseg's names, and check that no tensor is lost.

The parts of a converter are public, so that another distribution can add one by an entry point in the group
``segplug.convert_weights``::

    provider = Converter(family="ResNeSt", layouts=(Layout(...),), describe=..., about="ResNeSt for mmseg's.")
"""

from segplug_converters.converter import Converter
from segplug_converters.layout import WEIGHT_OR_BIAS, Layout
from segplug_converters.operations import RENAME, Operation, merge, reorder, reshape
from segplug_converters.rules import Rule, drop, join, make, move, share
from segplug_converters.shapes import Shapes, Variant

__all__ = [
    "RENAME",
    "WEIGHT_OR_BIAS",
    "Converter",
    "Layout",
    "Operation",
    "Rule",
    "Shapes",
    "Variant",
    "drop",
    "join",
    "make",
    "merge",
    "move",
    "reorder",
    "reshape",
    "share",
]
