"""One side of the comparison of both generations of mmsegmentation, in the environment that has it.

    python -m matrix.generation_sides versions
    python -m matrix.generation_sides old CONFIG SIZE FOLDER [CHECKPOINT]
    python -m matrix.generation_sides new CONFIG FOLDER

``old`` builds the network, gives it random weights if it has no checkpoint, and stores the checkpoint, an
input and its logits. ``new`` loads the same config and checkpoint where 1.x is installed, and compares the
logits of the same input. Both print one line of JSON.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from matrix.inputs import sample_input

CHECKPOINT, STORED = "checkpoint.pth", "stored.pth"
MADE_BY = (
    *("mmsegmentation", "onedl-mmsegmentation", "mmcv", "mmcv-lite", "mmengine", "mmcls", "mmpretrain"),
    *("segplug", "segplug-mmseg", "torch"),
)


def versions() -> dict[str, str]:
    """The installed versions that the logits depend on."""
    found = {}
    for name in MADE_BY:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def store(config: str, size: str, folder: str, checkpoint: str | None = None) -> dict[str, Any]:
    """Write the checkpoint, an input and the logits that mmseg's own code gives for it.

    Args:
        config: A config of 0.30: its path, or its place among mmseg's own configs.
        size: "HEIGHTxWIDTH" of the input; a config with sliding windows gets one window.
        folder: Where to write.
        checkpoint: The trained weights; ``None``: random ones, none of them zero.
    """
    import torch
    from segplug_mmseg.compat import import_mmseg

    from segplug import Segplug
    from segplug.testing import randomise

    path = Path(str(import_mmseg().__file__)).parent / ".mim" / "configs" / config
    model = Segplug().load_model(path, checkpoint=checkpoint, structure_only=checkpoint is None)
    segmentor: Any = model.module.segmentor
    if checkpoint is None:
        randomise(segmentor)
        torch.save({"meta": {}, "state_dict": segmentor.state_dict()}, Path(folder, CHECKPOINT))
    else:
        shutil.copy(checkpoint, Path(folder, CHECKPOINT))
    height, width = model.meta.inference.crop_size or tuple(int(side) for side in size.split("x"))
    image = torch.from_numpy(sample_input(model.meta, (height, width)))[None]
    with torch.inference_mode():
        logits = segmentor.encode_decode(image, None)
    torch.save({"image": image, "logits": logits}, Path(folder, STORED))
    parameters = sum(parameter.numel() for parameter in segmentor.parameters())
    return {"config": str(path), "parameters": parameters, "compared_at": f"1x{height}x{width}"}


def compare(config: str, folder: str) -> dict[str, Any]:
    """Load a config and a checkpoint of 0.30 with 1.x, and compare the logits of the stored input."""
    import torch

    from segplug import Segplug
    from segplug.checkpoint import read_checkpoint

    checkpoint = Path(folder, CHECKPOINT)
    segmentor: Any = Segplug().load_model(config, checkpoint=checkpoint).module.segmentor
    written = read_checkpoint(str(checkpoint)).state
    changed = [
        name for name, value in segmentor.state_dict().items() if not torch.equal(value, written[name])
    ]
    if changed:
        raise RuntimeError(f"other weights than those of the checkpoint: {', '.join(changed)}")
    stored = torch.load(Path(folder, STORED), weights_only=True)
    image, expected = stored["image"], stored["logits"]
    size = image.shape[2:]
    with torch.inference_mode():
        logits = segmentor.encode_decode(image, [{"img_shape": size, "pad_shape": size, "ori_shape": size}])
    return {
        "equal": torch.equal(logits, expected),
        "difference": float((logits - expected).abs().max()),
        "largest_logit": float(expected.abs().max()),
    }


SIDES: dict[str, Callable[..., dict[str, Any]]] = {"versions": versions, "old": store, "new": compare}

if __name__ == "__main__":
    print(json.dumps(SIDES[sys.argv[1]](*sys.argv[2:])))
