"""Foreign backbone weights under mmseg's names, and the proof that nothing was lost on the way.

What a converter is made of is public, so that another distribution can add one by an entry point in the
group ``segplug.convert_weights``::

    provider = Converter(family="ResNeSt", layouts=(Layout(...),), describe=...)
"""

from segplug_converters.converter import Converter
from segplug_converters.layout import WEIGHT_OR_BIAS, Layout, Shapes, Variant
from segplug_converters.operations import RENAME, Operation, merge, reorder, reshape
from segplug_converters.rules import Rule, drop, join, make, move, share

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
