"""ONNX files as Ultralytics, optimum-onnx and mmdeploy write them: the same tensors and metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx

__all__ = ["WEIGHTS", "mmdeploy_file", "optimum_file", "scores_of", "ultralytics_file"]

WEIGHTS = np.random.default_rng(5).normal(0, 1, (4, 3, 1, 1)).astype(np.float32)
"""Of the convolution that each of these networks is."""

_STRIDED = 2


def scores_of(image: np.ndarray, stride: int = 1) -> np.ndarray:
    """The scores of a network's input, float32 ``(3, H, W)``: what these networks compute."""
    return np.einsum("kc,chw->khw", WEIGHTS[:, :, 0, 0], image[:, ::stride, ::stride])


def _save(path: Path, signature: str, body: str, properties: dict[str, str], stride: int = 1) -> Path:
    values = ", ".join(str(value) for value in WEIGHTS.ravel())
    text = (
        '<ir_version: 8, opset_import: ["": 18], producer_name: "pytorch", producer_version: "2.0.1"> '
        f"main_graph {signature} <float[4,3,1,1] W = {{{values}}}> "
        f"{{ raw = Conv<strides=[{stride},{stride}]>(IMAGE, W) {body} }}"
    )
    image = signature.split(")")[0].split()[-1]
    model = onnx.parser.parse_model(text.replace("IMAGE", image))
    for key, value in properties.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def ultralytics_file(
    path: Path,
    size: tuple[int, int] = (64, 96),
    *,
    dynamic: bool = False,
    scores: bool = False,
    **changes: Any,
) -> Path:
    """A file of Ultralytics' exporter for the task 'semantic': uint8 labels, or scores as older ones gave.

    ``changes`` are entries of its metadata; ``None`` removes one.
    """
    names = {0: "road", 1: "sky", 2: "tree", 3: "car"}
    properties: dict[str, Any] = {
        "description": "Ultralytics YOLO26n-sem model trained on some.yaml",
        "author": "Ultralytics",
        "date": "2026-12-01T11:48:29.041024+00:00",
        "version": "8.4.190",
        "stride": "32",
        "task": "semantic",
        "head": "SemanticSegment",
        "batch": "1",
        "imgsz": str(list(size)),
        "names": str(names),
        "args": "{'batch': 1, 'dynamic': " + str(dynamic) + ", 'opset': None}",
        "channels": "3",
        "end2end": "False",
    } | changes
    kept = {key: str(value) for key, value in properties.items() if value is not None}
    sizes = "height,width" if dynamic else f"{size[0]},{size[1]}"
    if scores:
        signature = f"(float[1,3,{sizes}] images) => (float[1,4,{sizes}] output0)"
        return _save(path, signature, "output0 = Identity(raw)", kept)
    signature = f"(float[1,3,{sizes}] images) => (uint8[1,{sizes}] output0)"
    body = "best = ArgMax<axis=1, keepdims=0>(raw) output0 = Cast<to=2>(best)"
    return _save(path, signature, body, kept)


def optimum_file(folder: Path, size: tuple[int, int] | None = (64, 96), **config: Any) -> Path:
    """A folder of optimum-onnx with a network whose scores have half the input's size."""
    sizes = "height,width" if size is None else f"{size[0]},{size[1]}"
    half = "h,w" if size is None else f"{size[0] // 2},{size[1] // 2}"
    signature = f"(float[N,3,{sizes}] pixel_values) => (float[N,4,{half}] logits)"
    path = _save(folder / "model.onnx", signature, "logits = Identity(raw)", {}, _STRIDED)
    labels = {str(label): name for label, name in enumerate(("road", "sky", "tree", "car"))}
    content = {
        "architectures": ["SegformerForSemanticSegmentation"],
        "model_type": "segformer",
        "id2label": labels,
    } | config
    processor = {"image_processor_type": "SegformerImageProcessor", "size": {"height": 64, "width": 96}}
    (folder / "config.json").write_text(json.dumps(content), "utf-8")
    (folder / "preprocessor_config.json").write_text(json.dumps(processor), "utf-8")
    return path


def mmdeploy_file(
    folder: Path,
    size: tuple[int, int] = (64, 96),
    *,
    dynamic: bool = False,
    scores: bool = False,
    transforms: list[dict[str, Any]] | None = None,
    after: dict[str, Any] | None = None,
    deploy: dict[str, Any] | None = None,
) -> Path:
    """A folder of mmdeploy for a segmentor of mmsegmentation."""
    sizes = "height,width" if dynamic else f"{size[0]},{size[1]}"
    kind, channels = ("float", 4) if scores else ("int64", 1)
    signature = f"(float[1,3,{sizes}] input) => ({kind}[1,{channels},{sizes}] output)"
    body = "output = Identity(raw)" if scores else "output = ArgMax<axis=1, keepdims=1>(raw)"
    path = _save(folder / "end2end.onnx", signature, body, {})
    if transforms is None:
        normal = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "to_rgb": True}
        transforms = [
            {"type": "LoadImageFromFile"},
            {"type": "Resize", "keep_ratio": dynamic, "size": [size[1], size[0]]},
            {"type": "Normalize", **normal},
            {"type": "ImageToTensor", "keys": ["img"]},
            {"type": "Collect", "keys": ["img"], "meta_keys": ["img_shape", "pad_shape"]},
        ]
    last = {
        "module": "mmseg",
        "name": "postprocess",
        "component": "ResizeMask",
        "params": {"type": "FCNHead", "num_classes": 4, "with_argmax": not scores},
    } | (after or {})
    tasks = [
        {"module": "Transform", "name": "Preprocess", "transforms": transforms},
        {"module": "Net", "name": "fcn", "input_map": {"img": "input"}},
        last,
    ]
    pipeline = {"pipeline": {"input": ["img"], "output": ["post_output"], "tasks": tasks}}
    (folder / "pipeline.json").write_text(json.dumps(pipeline), "utf-8")
    model = {"name": "fcn", "net": path.name, "backend": "onnxruntime", "dynamic_shape": dynamic}
    content = {"version": "1.3.1", "task": "Segmentor", "models": [model]} | (deploy or {})
    (folder / "deploy.json").write_text(json.dumps(content), "utf-8")
    return path
