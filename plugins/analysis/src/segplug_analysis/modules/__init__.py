"""What a network is made of: its modules, seen in one pass that computes nothing.

Needs torch: import it inside a call.
"""

from segplug_analysis.modules.tree import ModuleRecord, trace_modules

__all__ = ["ModuleRecord", "trace_modules"]
