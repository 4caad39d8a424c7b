"""The modules of a network, recorded in one pass that computes no values.

Needs torch: import it inside a call.
"""

from segplug_analysis.modules.tree import ModuleRecord, trace_modules

__all__ = ["ModuleRecord", "trace_modules"]
