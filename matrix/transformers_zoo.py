"""Tiny models of transformers with random weights, saved by transformers, and what it says of an image.

The modules are those of the real models; only the numbers of layers and channels are small, so that an export
takes seconds. Scales, tables and biases are not zero, and at least three classes each cover more than 5% of
the sample images (``SIZES``, ``SEEDS``). ``reference`` computes labels and scores with transformers alone.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers

from matrix.transformers_configs import ENTRIES, TASK_LENGTH, Size
from matrix.transformers_weights import filled

CLASSES = ("road", "building", "vegetation", "sky", "car")
SIZES: tuple[Size, ...] = ((75, 131), (97, 61))
SEEDS = (0, 1)
"""The sample images that a model is balanced for: each seed in each size (height, width)."""

NAMES = tuple(ENTRIES)
"""The names of the models; those with a hyphen name the backbone, too."""

TORCHVISION_ONLY = frozenset({"sapiens2", "tipsv2_dpt", "videomt"})
"""Models whose processors have no Pillow backend: their JSON is written here."""


def sample_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return an uint8 RGB image (height, width, 3) with areas, edges and noise.

    A seed gives the same image for the same size, and images that look alike for other sizes.
    """
    random = np.random.default_rng(seed)
    areas = random.integers(0, 256, (7, 9, 3), np.uint8)
    rows = (np.arange(height) * 7) // height
    columns = (np.arange(width) * 9) // width
    image = areas[rows][:, columns].astype(np.float64)
    waves = 40 * np.sin(np.linspace(0, 20, height))[:, None, None]
    image += waves + random.normal(0, 8, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def save(name: str, folder: Path, *, size: Size | None = None) -> None:
    """Write a tiny model with random weights, and its processor, as ``save_pretrained`` does.

    Args:
        name: One of ``NAMES``.
        folder: The folder to make.
        size: (height, width) of the network's input instead of that of the table. Processors that state edges
            take them as the shortest and the longest edge.

    Raises:
        RuntimeError: No seed gives three classes that each cover more than 5% of the sample images.
    """
    entry = ENTRIES[name]
    size = size or entry.size
    config = entry.config(size)
    config.id2label = dict(enumerate(CLASSES))
    config.label2id = {label: number for number, label in enumerate(CLASSES)}
    folder.mkdir(parents=True, exist_ok=True)
    save_processor(name, folder, size)
    inputs = []
    for shape, seed in itertools.product(SIZES, SEEDS):
        if name in TORCHVISION_ONLY:  # about what its processor gives
            pixels = torch.from_numpy(sample_image(*size, seed)).permute(2, 0, 1)[None].float() / 57 - 2
            video = {"pixel_values_videos": pixels[None]}
            inputs.append(video if name == "videomt" else {"pixel_values": pixels})
        else:
            inputs.append(preprocess(folder, config, sample_image(*shape, seed), "pil")[1])
            inputs[-1].pop("patch_offsets", None)
    filled(getattr(transformers, entry.model), config, inputs).save_pretrained(folder)


def save_processor(name: str, folder: Path, size: Size) -> None:
    """Write the processor of a model into a folder that exists, and for OneFormer its tokenizer.

    Args:
        name: One of ``NAMES``.
        folder: The folder.
        size: (height, width) of the network's input; of a processor that states edges, both edges.
    """
    kind, sizing = ENTRIES[name].processor, ENTRIES[name].sizing
    settings: dict[str, Any] = {"do_reduce_labels": True} if name in ("upernet-convnext", "beit") else {}
    if sizing == "exact":
        settings["size"] = {"height": size[0], "width": size[1]}
    elif sizing == "crop":
        settings["size"] = {"shortest_edge": size[0] + 8}
        settings["crop_size"] = {"height": size[0], "width": size[1]}
    elif sizing == "edges":
        settings["size"] = {"shortest_edge": size[0], "longest_edge": size[1]}
    else:
        settings["size"] = {"shortest_edge": size[0], "longest_edge": None}
        settings["do_split_image"] = True
    if name in TORCHVISION_ONLY:
        _write_processor(kind, folder, settings)
        return
    processor = getattr(transformers, f"{kind}Pil")(**settings)
    if name == "oneformer":
        _tokenizer(folder).save_pretrained(folder)
    processor.save_pretrained(folder)


def _write_processor(kind: str, folder: Path, settings: dict[str, Any]) -> None:
    """Write the JSON that the processor's ``save_pretrained`` writes where torchvision is installed."""
    video = kind.endswith("VideoProcessor")
    content = {
        "do_convert_rgb": True,
        "do_normalize": kind != "Tipsv2DptImageProcessor",
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        ("video_processor_type" if video else "image_processor_type"): kind,
        "resample": 2,
        "rescale_factor": 1 / 255,
        **settings,
    }
    if kind == "Tipsv2DptImageProcessor":
        del content["image_mean"], content["image_std"]
    file = folder / ("video_preprocessor_config.json" if video else "preprocessor_config.json")
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _tokenizer(folder: Path) -> Any:
    """Return a tokenizer as OneFormer's: CLIP's, with an own small vocabulary."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    merges = [("t", "h"), ("th", "e</w>"), ("i", "s</w>"), ("t", "a"), ("ta", "s"), ("tas", "k</w>")]
    merges += [("s", "e"), ("m", "a"), ("n", "t"), ("i", "c</w>")]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TASK_LENGTH)


def reference(
    folder: Path, image: np.ndarray, backend: Literal["pil", "torchvision"] = "pil"
) -> tuple[np.ndarray, np.ndarray]:
    """Return what transformers says of an image: its processor, its model, its post-processing.

    Args:
        folder: A folder that ``save`` wrote.
        image: An uint8 RGB image (H, W, 3).
        backend: Which processor, ``"torchvision"`` for those that have no other, too: it has to be installed.

    Returns:
        Labels (H, W) int64, and scores (C, H, W) float32 of the size of the image.
    """
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"][0]
    model = getattr(transformers, kind).from_pretrained(folder).eval()
    processor, inputs = preprocess(folder, model.config, image, backend)
    offsets = inputs.pop("patch_offsets", None)
    with torch.no_grad():
        outputs = model(**inputs)
        if offsets is not None:
            outputs.patch_offsets = offsets
        result = processor.post_process_semantic_segmentation(
            outputs, target_sizes=[image.shape[:2]], return_segmentation_scores=True
        )[0]
    return result.segmentation.numpy(), result.segmentation_scores.numpy()


def preprocess(folder: Path, config: Any, image: np.ndarray, backend: str) -> tuple[Any, dict[str, Any]]:
    """Return the processor, and the inputs of the model that it makes of an image.

    Args:
        folder: A folder with a processor, and for OneFormer a tokenizer.
        config: The config of the model.
        image: An uint8 RGB image (H, W, 3).
        backend: ``"pil"`` or ``"torchvision"``.
    """
    if config.model_type == "videomt":
        processor = transformers.VideomtVideoProcessor.from_pretrained(folder)
        return processor, dict(processor(videos=[[image]], return_tensors="pt"))
    content = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    name = content["image_processor_type"] + ("Pil" if backend == "pil" else "")
    processor = getattr(transformers, name).from_pretrained(folder)
    if config.model_type != "oneformer":
        return processor, dict(processor([image], return_tensors="pt"))
    inputs = dict(processor([image], ["semantic"], return_tensors="pt"))
    text = transformers.OneFormerProcessor.__new__(
        transformers.OneFormerProcessor
    )  # its own class wants torchvision
    text.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    inputs["task_inputs"] = text._preprocess_text(["the task is semantic"], max_length=config.task_seq_len)
    return processor, inputs
