"""Run in a process of its own: what the processors that use torchvision give, and what their classes say.

In the process of the tests, transformers may have been imported without torchvision already.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from transformers_support.processor_cases import CASES, images, settings_of
from transformers_support.torchvision import functions


def main(target: Path) -> None:
    """Write ``values.npz`` and ``classes.json``.

    Args:
        target: The folder of both files.
    """
    functions()
    import transformers

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
    main(Path(sys.argv[1]))
