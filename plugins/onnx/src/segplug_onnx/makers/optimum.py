"""optimum-onnx: it writes the model's own config.json and preprocessor_config.json beside the file.

They are those of transformers, which a model source reads.
"""

from __future__ import annotations

from segplug.errors import ArtifactError
from segplug.regular_files import is_regular
from segplug_onnx.makers.companions import read_companion
from segplug_onnx.makers.contract import File, Folder, Maker, OtherTaskError

__all__ = ["maker"]

_CONFIG = "config.json"
_INPUT = "pixel_values"
_SCORES = "logits"


def _made(file: File) -> bool:
    """It has the input's name of transformers, and the config of a model of transformers lies beside it."""
    if not any(tensor.name == _INPUT for tensor in file.inputs) or not is_regular(file.path.parent / _CONFIG):
        return False
    try:
        config = read_companion(file.path.parent / _CONFIG)
    except ArtifactError:
        return True  # what is wrong with it is said when it is read
    return isinstance(config.get("model_type"), str)


def _name(file: File) -> str:
    return "optimum-onnx, or a tool that writes such folders"


def _read(file: File) -> Folder:
    read_companion(file.path.parent / _CONFIG)
    names = [tensor.name for tensor in file.outputs]
    if len(file.inputs) != 1 or _SCORES not in names:
        given = ", ".join(str(tensor) for tensor in (*file.inputs, *file.outputs))
        raise OtherTaskError(
            f"{file.path} gives no score for each class and pixel, as '{_SCORES}' of a model for semantic "
            f"segmentation does: {given}",
            hint="a network of queries gives a class and a mask for each: export the model's own folder with "
            "segplug export onnx FOLDER --output model.onnx, which gives scores",
        )
    return Folder(file.path.parent, "logits", _SCORES)


maker = Maker(_made, _name, "config.json and preprocessor_config.json beside it", _read)
