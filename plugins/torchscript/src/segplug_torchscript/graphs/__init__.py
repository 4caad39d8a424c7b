"""Run the graph of a TorchScript file node by node in Python, so that torch.export can follow it.

torch.export follows Python code, and TorchScript is none: it has a graph of its own. Here each node of it
calls the operator that it names, through ``torch.ops``, with the same arguments: the numbers are the file's.

* :mod:`segplug_torchscript.graphs.reading`: the graph as plain steps, and what cannot be followed;
* :mod:`segplug_torchscript.graphs.network`: a module that runs them;
* :mod:`segplug_torchscript.graphs.operations`: what TorchScript's own operators do;
* :mod:`segplug_torchscript.graphs.sizes`: sizes, which a traced file computes as tensors.

These modules import torch; they are imported when a file is exported, never before.
"""
