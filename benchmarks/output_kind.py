"""Labels or scores as the output of an ONNX file: time for an image, size of the output, pixels that differ.

    python benchmarks/output_kind.py --rounds 5

Both files of a model run on the same images, in turns. An image of the network's own size is the best case
of labels; an image of another size is resized on its way in, and its labels back by nearest neighbour.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from measure import data_folder, show

from segplug import Segplug
from segplug.runtime.segment import Segmenter

CAMVID = ("fastscnn_480x360_camvid", "fcn_m-v2-d8_480x360_camvid")
CITYSCAPES = "cgnet/cgnet_512x1024_60k_cityscapes.py"
ADE20K = "segformer/segformer_mit-b0_512x512_160k_ade20k.py"
"""150 classes; random weights, whose labels say nothing."""
COLUMNS = (
    "model",
    "image",
    "scores ms",
    "labels ms",
    "ratio",
    "scores MB",
    "labels MB",
    "pixels that differ",
)


def main() -> None:
    """Export each model twice, run both files in turns, print one row for each size of image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    rows = []
    for name, config, checkpoint, sizes in _models():
        with tempfile.TemporaryDirectory() as work:
            files = _export(config, checkpoint, Path(work))
            rows += [_row(name, files, size, rounds) for size in sizes]
    show("labels and scores", COLUMNS, rows)


def _models() -> list[tuple[str, Path, Path | None, list[tuple[int, int]]]]:
    import mmseg

    data = data_folder()
    camvid = [
        (name, data / "models" / f"{name}.py", data / "models" / f"{name}.pth", [(360, 480), (720, 960)])
        for name in CAMVID
    ]
    configs = Path(mmseg.__file__).parent / ".mim" / "configs"
    cgnet = data / "weights" / "cgnet_cityscapes.pth"
    return [
        *camvid,
        ("cgnet, 19 classes", configs / CITYSCAPES, cgnet, [(1024, 2048), (720, 1280)]),
        ("segformer, 150 classes", configs / ADE20K, None, [(512, 683)]),
    ]


def _export(config: Path, checkpoint: Path | None, folder: Path) -> dict[str, Path]:
    session = Segplug()
    overrides = {} if checkpoint else {"model.backbone.init_cfg": None}
    model = session.load_model(str(config), checkpoint=checkpoint and str(checkpoint), cfg_options=overrides)
    paths = {kind: folder / f"{kind}.onnx" for kind in ("logits", "labels")}
    for kind, path in paths.items():
        session.export("onnx", model, output=path, dynamic=True, output_kind=kind)
    return paths


def _row(name: str, files: dict[str, Path], size: tuple[int, int], rounds: int) -> tuple[Any, ...]:
    frame = next((data_folder() / "camvid" / "test").iterdir())
    image = cv2.resize(cv2.imread(str(frame)), size[::-1], interpolation=cv2.INTER_CUBIC)
    session = Segplug()
    seconds: dict[str, list[float]] = {kind: [] for kind in files}
    labels, megabytes = {}, {}
    with (
        session.open(files["logits"], backend="onnxruntime") as scores,
        session.open(files["labels"], backend="onnxruntime") as classes,
    ):
        segmenters = {"logits": Segmenter(scores), "labels": Segmenter(classes)}
        for number in range(rounds + 1):
            for kind, segment in segmenters.items():
                start = time.perf_counter()
                (found,) = segment([image])
                if isinstance(found, Exception):
                    raise found
                labels[kind] = found.labels
                if number:  # the first run warms up
                    seconds[kind].append(time.perf_counter() - start)
        batch = np.zeros((1, 3, *size), np.float32)
        megabytes = {"logits": scores.run(batch).nbytes / 1e6, "labels": classes.run(batch).nbytes / 1e6}
    slow, fast = (median(seconds[kind]) * 1000 for kind in ("logits", "labels"))
    differ = f"{float(np.mean(labels['logits'] != labels['labels'])):.4%}"
    where = f"{size[1]}x{size[0]}"
    return name, where, slow, fast, slow / fast, megabytes["logits"], megabytes["labels"], differ


if __name__ == "__main__":
    main()
