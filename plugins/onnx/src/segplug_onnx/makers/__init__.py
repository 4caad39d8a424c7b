"""Other tools that write ONNX files of segmentation models, and what their own metadata says of a file.

One module for each tool: how its files are recognised, and how its metadata becomes segplug's. All of it is
read as data: nothing of a file or of what lies beside it runs, and no library of these tools is needed.
"""

from __future__ import annotations

from segplug_onnx.makers import mmdeploy, optimum, ultralytics
from segplug_onnx.makers.contract import (
    Described,
    File,
    Folder,
    Maker,
    OtherTaskError,
    OutputKind,
    Tensor,
    read_maker,
)

__all__ = [
    "Described",
    "File",
    "Folder",
    "Maker",
    "OtherTaskError",
    "OutputKind",
    "Tensor",
    "find_maker",
    "read_maker",
]

_MAKERS: tuple[Maker, ...] = (ultralytics.maker, mmdeploy.maker, optimum.maker)


def find_maker(file: File) -> Maker | None:
    """The tool that made a file; ``None``: none of these."""
    return next((maker for maker in _MAKERS if maker.made(file)), None)
