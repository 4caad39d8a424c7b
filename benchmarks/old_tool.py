"""Run a script of mmsegmentation 0.30 with current libraries: ``python old_tool.py pytorch2onnx.py ARGS``.

The scripts are in the installed package. This module restores what they expect of older libraries: mmcv's
compiled module (or its stand-in), the old exporter of torch, and the old defaults of ``torch.load``.
"""

from __future__ import annotations

import functools
import importlib
import runpy
import sys
from pathlib import Path
from typing import Any

import torch
from segplug_mmseg.compat import import_mmseg


def main(script: str, arguments: list[str]) -> None:
    """Run the script as if it were the program."""
    mmseg = import_mmseg()
    symbolic = importlib.import_module("mmcv.onnx.symbolic")
    folder = Path(str(mmseg.__file__)).parent / ".mim" / "tools"
    if not (folder / script).is_file():
        sys.exit(f"the installed mmsegmentation has no {script} in {folder}")
    torch.onnx.export = functools.partial(_export, torch.onnx.export)
    # mmcv's symbolic functions read a node's attributes by subscript, as in torch 1.x.
    torch._C.Node.__getitem__ = lambda node, name: getattr(node, node.kindOf(name))(name)
    # mmcv's functions for resizing call torch's with arguments that no longer exist. Use torch's own instead.
    register = symbolic.register_custom_op_symbolic
    symbolic.register_custom_op_symbolic = lambda name, function, opset: (
        None if "upsample" in name else register(name, function, opset)
    )
    torch.load = functools.partial(torch.load, weights_only=False)
    sys.argv = [script, *arguments]
    runpy.run_path(str(folder / script), run_name="__main__")


def _export(export: Any, model: torch.nn.Module, *arguments: Any, **options: Any) -> None:
    # The current tracer would append the keywords that the script bound to `forward` as positional arguments.
    bound = model.forward
    model.forward = lambda images: bound(images)
    export(model, *arguments, **options, dynamo=False)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
