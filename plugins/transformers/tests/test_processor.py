"""Preprocessing equals the processors of transformers."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from segplug_transformers import processor
from segplug_transformers.architectures import ARCHITECTURES, Architecture
from segplug_transformers.folder import Folder
from segplug_transformers.options import Backend
from segplug_transformers.processor import Processing
from segplug_transformers.processor.classes import PROCESSORS
from segplug_transformers.processor.keys import SILENT, STEPS
from transformers_support import processors_of_torchvision
from transformers_support.processor_cases import CASES, TORCHVISION_ONLY, images, settings_of

from segplug.model import ModelMeta
from segplug.runtime.preprocess import Preprocessor
from segplug.runtime.sizes import plan_sizes

_IMAGES = images()


def _architecture(name: str) -> Architecture:
    return next(each for each in ARCHITECTURES.values() if each.processor == name)


def _read(name: str, settings: Mapping[str, Any], backend: Backend) -> Processing:
    folder = Folder(Path("folder"), {}, settings, None, Path("config.json"), Path("preprocessor_config.json"))
    return processor.read(folder, _architecture(name), backend)


def _ours(processing: Processing, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """The input that segplug makes of an RGB image, which it decodes to BGR."""
    meta = ModelMeta("model", preprocessing=processing.steps, decoding=processing.decoding)
    array: npt.NDArray[np.float32] = Preprocessor(meta)(
        np.ascontiguousarray(image[:, :, ::-1]), "image"
    ).array
    return array


def _joined(
    windows: npt.NDArray[Any], offsets: npt.NDArray[Any], image: npt.NDArray[np.float32], edge: int
) -> npt.NDArray[Any]:
    """The windows of our image at EoMT's offsets, after a check of their sizes."""
    assert windows.shape[2:] == (edge, edge)
    axis = 1 if image.shape[1] > image.shape[2] else 2
    return np.stack([np.take(image, range(start, end), axis) for _, start, end in offsets])


def _pil_class(name: str) -> Any:
    stem = name.removesuffix("ImageProcessor").lower().replace("mobilenetv2", "mobilenet_v2")
    module = importlib.import_module(f"transformers.models.{stem}.image_processing_pil_{stem}")
    return getattr(module, f"{name}Pil")


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, case, _ in settings_of(torchvision=False)])
def test_steps_equal_pillow_processor(name: str, case: str) -> None:
    settings = CASES[name][case]
    processing = _read(name, settings, "pil")
    made = _pil_class(name).from_dict(dict(settings))
    for image in _IMAGES:
        found = made(image)
        theirs = np.stack(found["pixel_values"])
        ours = _ours(processing, image)
        if processing.inference.mode == "slide":
            assert processing.window is not None
            offsets = np.array([each.tolist() for each in found["patch_offsets"]])
            assert np.array_equal(_joined(theirs, offsets, ours, processing.window), theirs)
            continue
        assert ours.shape == theirs.shape[1:]
        assert np.array_equal(ours, theirs[0].astype(np.float32)), np.abs(ours - theirs[0]).max()


@pytest.mark.parametrize("name", [name for name, known in PROCESSORS.items() if known.has_pil])
def test_defaults_equal_pillow_processor(name: str) -> None:
    image = _IMAGES[0]
    theirs = _pil_class(name)()(image)["pixel_values"][0]
    assert np.array_equal(_ours(_read(name, {}, "pil"), image), theirs)


@pytest.fixture(scope="module")
def torchvision(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the processors that use torchvision give, and what their classes say."""
    target = tmp_path_factory.mktemp("torchvision")
    tests = Path(__file__).parent
    path = os.pathsep.join([str(tests), *filter(None, [os.environ.get("PYTHONPATH")])])
    subprocess.run(
        [sys.executable, "-m", processors_of_torchvision.__name__, str(target)],
        check=True,
        env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
    )
    with np.load(target / "values.npz") as values:
        return dict(values), json.loads((target / "classes.json").read_text())


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, case, _ in settings_of(torchvision=True)])
def test_steps_equal_torchvision_processor(
    name: str, case: str, torchvision: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    processing = _read(name, CASES[name][case], "torchvision")
    assert processing.backend == "torchvision"
    for number, image in enumerate(_IMAGES):
        key = f"{name}/{case}/{number}"
        theirs = torchvision[0][key]
        ours = _ours(processing, image)[None]
        if processing.inference.mode == "slide":
            assert processing.window is not None
            ours = _joined(theirs, torchvision[0][f"{key}/offsets"], ours[0], processing.window)
        assert ours.shape == theirs.shape
        assert np.array_equal(ours, theirs), np.abs(ours - theirs).max()


@pytest.mark.parametrize("name", PROCESSORS)
def test_table_of_classes_is_that_of_transformers(
    name: str, torchvision: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    known = PROCESSORS[name]
    forms = [torchvision[1][name]]
    if known.has_pil:
        forms.append(json.loads(json.dumps(processors_of_torchvision.facts_of(_pil_class(name)))))
    for facts in forms:
        unknown = [key for key in facts if key not in SILENT and key not in STEPS]
        assert not unknown
        assert facts["default_to_square"] is known.default_to_square
        read = known.reads | known.torchvision_reads
        for key in read - {"default_to_square"}:
            assert (known.defaults.get(key) or None) == (facts.get(key) or None), key


def test_every_network_has_a_processor() -> None:
    assert {each.processor for each in ARCHITECTURES.values()} == set(PROCESSORS)
    assert {name for name, known in PROCESSORS.items() if not known.has_pil} == set(TORCHVISION_ONLY)
    for architecture in ARCHITECTURES.values():
        assert PROCESSORS[str(architecture.processor)].serves == architecture.kind


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, case, _ in settings_of(torchvision=True)])
def test_input_size_is_that_of_every_image(name: str, case: str) -> None:
    processing = _read(name, CASES[name][case], "torchvision")
    sizes = {plan_sizes(processing.steps, each.shape[:2]).geometry.network for each in _IMAGES}
    if processing.window is not None:
        assert processing.input_size == (processing.window, processing.window)
    elif processing.input_size is None:
        assert len(sizes) > 1
    else:
        assert sizes == {processing.input_size}
