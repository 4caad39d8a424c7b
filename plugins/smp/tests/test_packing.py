"""A folder of smp in a server's package: the package has all that loads it again."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from segplug_smp.transform import TRANSFORM

from segplug import Segplug
from segplug.verification.sample import sample_image


@pytest.mark.slow
def test_a_package_is_the_same_model(copy: Path, tmp_path: Path) -> None:
    resize = {"__class_fullname__": "Resize", "height": 64, "width": 96}
    compose = {"__class_fullname__": "Compose", "p": 1.0, "transforms": [resize]}
    (copy / TRANSFORM).write_text(json.dumps({"transform": compose}))
    session = Segplug()
    model = session.load_model(copy, std=(255,), classes=("a", "b", "c"))
    packed = session.pack("torchserve", model, folder=tmp_path / "models", model_name="net")
    with zipfile.ZipFile(packed.path) as archive:
        archive.extractall(tmp_path / "unpacked")
    folder = tmp_path / "unpacked" / "model" / "unet"
    assert {file.name for file in folder.iterdir()} == {"config.json", "model.safetensors", TRANSFORM}
    again = session.load_model(folder, std=(255,), classes=("a", "b", "c"))
    assert again.meta.preprocessing == model.meta.preprocessing
    image = sample_image(70, 90)
    labels = [session.predict(one, image).labels for one in (model, again)]
    assert np.array_equal(*labels)
