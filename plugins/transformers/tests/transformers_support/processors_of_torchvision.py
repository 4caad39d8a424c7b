"""Run in a process of its own: what the processors that use torchvision give, and what their classes say.

In the process of the tests, transformers may have been imported without torchvision already.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

_library = torch.library.Library("torchvision", "FRAGMENT")


def main(proofs: str, target: Path) -> None:
    """Write ``values.npz`` and ``classes.json``.

    Args:
        proofs: Where torchvision is installed.
        target: The folder of both files.
    """
    sys.path.append(proofs)
    for operator in ("nms", "qnms"):
        # A torchvision that was built for CUDA does not find its operators with a CPU build of torch.
        _library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import transformers

    from transformers_support.processor_cases import CASES, images, settings_of

    values: dict[str, Any] = {}
    for processor, name, settings in settings_of(torchvision=True):
        made = getattr(transformers, processor).from_dict(dict(settings))
        for number, image in enumerate(images()):
            values[f"{processor}/{name}/{number}"] = _pixels(made, image)
            if processor == "EomtImageProcessor" and made.do_split_image:
                offsets = made(image, return_tensors=None)["patch_offsets"]
                values[f"{processor}/{name}/{number}/offsets"] = np.array(
                    [offset.tolist() for offset in offsets]
                )
    classes = {processor: facts_of(getattr(transformers, processor)) for processor in CASES}
    np.savez(target / "values.npz", **values)
    (target / "classes.json").write_text(json.dumps(classes))


def _pixels(made: Any, image: Any) -> Any:
    if "Video" in type(made).__name__:
        return np.stack([np.asarray(each) for each in made(image[None])["pixel_values_videos"]])[0]
    return np.stack([np.asarray(each) for each in made(image)["pixel_values"]])


def facts_of(kind: Any) -> dict[str, Any]:
    """The settings that a class knows, and their values."""
    return {key: getattr(kind, key, None) for key in kind.valid_kwargs.__annotations__}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
