"""Train the demo's network on its generated scenes and write demo/weights.pth.

    python demo/make_data.py --train 300
    python demo/train.py

The network, the data and the augmentation come from demo/config.py; only the training loop is here. The test
scenes are not trained on, but the network and the number of steps were chosen by the score on them. The
weights are those of the last step. Training took 853 s on one core of a CPU with bfloat16 arithmetic.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from segplug_mmseg.compat import import_mmseg, report_warnings

HERE = Path(__file__).resolve().parent
CONFIG = HERE / "config.py"
WEIGHTS = HERE / "weights.pth"


def main() -> None:
    """Train, and write the checkpoint."""
    parser = argparse.ArgumentParser(description="train the demo's network")
    parser.add_argument("--steps", type=int, default=1700)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)  # mmseg's pipelines draw from numpy's global generator

    import_mmseg()
    from mmcv import Config
    from mmseg.datasets import build_dataset
    from mmseg.models import build_segmentor

    os.chdir(HERE.parent)  # the config's paths are relative to the repository's root
    config = Config.fromfile(str(CONFIG))
    with report_warnings():
        dataset = build_dataset(config.data.train)
        network = build_segmentor(config.model)
        network.init_weights()
    fit(network, batches(dataset, config.data.samples_per_gpu, args.steps, args.seed), args.steps, args.lr)
    save(network, config, args.output)


def batches(dataset: Any, size: int, steps: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield ``steps`` batches of augmented scenes. Each scene is used once before any is used again."""
    rng = np.random.default_rng(seed)
    queue: list[int] = []
    for _ in range(steps):
        if len(queue) < size:
            queue.extend(rng.permutation(len(dataset)).tolist())
        samples = [dataset[queue.pop(0)] for _ in range(size)]
        images = torch.stack([sample["img"].data for sample in samples])
        labels = torch.stack([sample["gt_semantic_seg"].data for sample in samples])
        yield images.to(memory_format=torch.channels_last), labels


def fit(
    network: torch.nn.Module, data: Iterator[tuple[torch.Tensor, torch.Tensor]], steps: int, peak: float
) -> None:
    """Train with AdamW and a one-cycle schedule: the forward pass in bfloat16, the weights in float32."""
    network.train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=peak, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak, total_steps=steps, pct_start=0.15)
    start, running = time.monotonic(), None
    for step, (images, labels) in enumerate(data, 1):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = network.forward_train(images, [{}] * len(images), labels)
        loss = losses["decode.loss_ce"].float()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        running = loss.item() if running is None else 0.95 * running + 0.05 * loss.item()
        if step % 50 == 0 or step == steps:
            print(f"step {step}/{steps}  loss {running:.3f}  {time.monotonic() - start:.0f} s", flush=True)


def save(network: torch.nn.Module, config: Any, output: Path) -> None:
    """Write a checkpoint in mmcv's layout, of plain types only, so that ``weights_only=True`` reads it."""
    import mmcv
    import mmseg

    meta = {
        "CLASSES": list(config.classes),
        "PALETTE": [list(colour) for colour in config.palette],
        "config": config.text.split("\n", 1)[
            1
        ],  # without mmcv's first line, which holds a path of this machine
        "mmcv_version": mmcv.__version__,
        "mmseg_version": mmseg.__version__,
    }
    state = {name: value.contiguous().clone() for name, value in network.state_dict().items()}
    torch.save({"meta": meta, "state_dict": state}, output)
    print(f"wrote {output} ({output.stat().st_size / 1e6:.2f} MB)")


if __name__ == "__main__":
    main()
