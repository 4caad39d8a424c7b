"""What optimum_export.py runs in the environment of optimum-onnx: its own models, its own inference.

python optimum_peer.py make CASE FOLDER                       a model with random weights, its processor
python optimum_peer.py export TASK SIZE COMPARED MODEL ONNX   SIZE 0: free sizes; COMPARED: 0, or 1
python optimum_peer.py run CASE MODEL ONNX IMAGES MAPS        label maps as .npy; prints images per second
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

WARM_UP = 2


def segformer() -> tuple[Any, Any]:
    """SegFormer-B0 for ADE20K, 512x512."""
    config = transformers.SegformerConfig(decoder_hidden_size=256, num_labels=150)
    processor = transformers.SegformerImageProcessor(size={"height": 512, "width": 512})
    return transformers.SegformerForSemanticSegmentation(config), processor


def dpt() -> tuple[Any, Any]:
    """DPT with ViT-B, 384x384. The released DPT for ADE20K has ViT-L, three times as large."""
    config = transformers.DPTConfig(
        num_labels=150,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        backbone_out_indices=[2, 5, 8, 11],
        neck_hidden_sizes=[96, 192, 384, 768],
        use_auxiliary_head=False,
    )
    return transformers.DPTForSemanticSegmentation(config), transformers.DPTImageProcessor()


def maskformer() -> tuple[Any, Any]:
    """MaskFormer with Swin-T for ADE20K, 512x512."""
    swin = transformers.SwinConfig(
        image_size=512, out_features=["stage1", "stage2", "stage3", "stage4"], window_size=7
    )
    config = transformers.MaskFormerConfig(backbone_config=swin, num_labels=150)
    processor = transformers.MaskFormerImageProcessor(size={"height": 512, "width": 512})
    return transformers.MaskFormerForInstanceSegmentation(config), processor


CASES = {"segformer": segformer, "dpt": dpt, "maskformer": maskformer}


def make(case: str, folder: str) -> None:
    """Save the model with weights that give several classes, and the processor."""
    torch.manual_seed(0)
    model, processor = CASES[case]()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=1.3 / parameter[0].numel() ** 0.5)
        if case == "maskformer":  # else all queries see the same
            model.model.transformer_module.queries_embedder.weight.normal_(std=3)
            model.class_predictor.weight *= 4
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def export(task: str, size: str, compared: str, model: str, output: str) -> None:
    """Export with the function behind optimum's command line, which cannot leave out the comparison."""
    from optimum.exporters.onnx import main_export

    edge = int(size)
    fixed = {"no_dynamic_axes": True, "batch_size": 1, "height": edge, "width": edge} if edge else {}
    main_export(model, output, task=task, do_validation=compared == "1", **fixed)


def run(case: str, model: str, exported: str, images: str, maps: str) -> None:
    """Run the exported file as optimum's documentation does: its own class, and the processor in Python."""
    from optimum.onnxruntime import ORTModelForCustomTasks, ORTModelForSemanticSegmentation

    # optimum has no class of its own for the outputs of MaskFormer.
    kind = ORTModelForCustomTasks if case == "maskformer" else ORTModelForSemanticSegmentation
    network = kind.from_pretrained(exported)
    processor = transformers.AutoImageProcessor.from_pretrained(model)
    files = sorted(Path(images).iterdir())
    for file in files[:WARM_UP]:
        labels_of(network, processor, file)
    start = time.perf_counter()
    found = [labels_of(network, processor, file) for file in files]
    print(len(files) / (time.perf_counter() - start))
    for file, labels in zip(files, found, strict=True):
        np.save(Path(maps, f"{file.stem}.npy"), labels)


def labels_of(network: Any, processor: Any, file: Path) -> np.ndarray:
    """The label map of an image file, at its own size."""
    image = Image.open(file).convert("RGB")
    inputs = processor(image, return_tensors="pt")
    outputs = network(**{name: inputs[name] for name in network.input_names})
    if isinstance(outputs, dict):
        outputs = SimpleNamespace(**outputs)
    found = processor.post_process_semantic_segmentation(outputs, target_sizes=[image.size[::-1]])
    return found[0].numpy().astype(np.uint8)


if __name__ == "__main__":
    {"make": make, "export": export, "run": run}[sys.argv[1]](*sys.argv[2:])
