"""Run one of mmsegmentation 0.30's own scripts on this stack: ``python old_tool.py pytorch2onnx.py ARGS``.

The scripts lie in the installed package. What they expect of the libraries of their time is put in place
for them: mmcv's compiled module (or its stand-in), the exporter that torch had then, and ``torch.load``
as it was.
"""

from __future__ import annotations

import functools
import runpy
import sys
from pathlib import Path
from typing import Any

import torch
from segplug_mmseg.compat import import_mmseg


def main(script: str, arguments: list[str]) -> None:
    """Run the script as if it were the program."""
    mmseg = import_mmseg()
    import mmcv.onnx

    folder = Path(str(mmseg.__file__)).parent / ".mim" / "tools"
    torch.onnx.export = functools.partial(_export, torch.onnx.export)
    # mmcv's own symbolic functions read graph nodes as torch 1.x had them; torch's do the same work.
    mmcv.onnx.register_extra_symbolics = lambda opset: None
    torch.load = functools.partial(torch.load, weights_only=False)
    sys.argv = [script, *arguments]
    runpy.run_path(str(folder / script), run_name="__main__")


def _export(export: Any, model: torch.nn.Module, *arguments: Any, **options: Any) -> None:
    # Today's tracer appends the keywords that the script bound to `forward` as positional arguments.
    bound = model.forward
    model.forward = lambda images: bound(images)
    export(model, *arguments, **options, dynamo=False)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
