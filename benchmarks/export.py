"""Export as a whole process: time and peak memory of segplug and of mmseg's pytorch2onnx.py.

    python benchmarks/export.py --rounds 3

Both export the same config at the same static shape, without a comparison, in turns. The first five are
ResNet-50 networks with much arithmetic, at the image size of their configs' tests. The light ones show the
fixed cost: imports and the work on the graph.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from measure import OLD_TOOL, PYTHON, Usage, median_of, run, show
from segplug_mmseg.compat import import_mmseg

CASES = {
    "fcn": ("fcn/fcn_r50-d8_512x1024_80k_cityscapes.py", (1024, 2048)),
    "pspnet": ("pspnet/pspnet_r50-d8_512x1024_80k_cityscapes.py", (1024, 2048)),
    "deeplabv3plus": ("deeplabv3plus/deeplabv3plus_r50-d8_512x1024_80k_cityscapes.py", (1024, 2048)),
    "upernet": ("upernet/upernet_r50_512x1024_80k_cityscapes.py", (1024, 2048)),
    "gcnet": ("gcnet/gcnet_r50-d8_512x1024_80k_cityscapes.py", (1024, 2048)),
    "light: sem_fpn": ("sem_fpn/fpn_r50_512x1024_80k_cityscapes.py", (1024, 2048)),
    "light: bisenetv2": ("bisenetv2/bisenetv2_fcn_4x4_1024x1024_160k_cityscapes.py", (1024, 2048)),
    "light: cgnet": ("cgnet/cgnet_512x1024_60k_cityscapes.py", (360, 480)),
    "light: segformer-b0": ("segformer/segformer_mit-b0_512x512_160k_ade20k.py", (256, 256)),
}


def main() -> None:
    """Export each config with both in turns, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", choices=tuple(CASES), action="append", help="default: all")
    arguments = parser.parse_args()
    configs = Path(str(import_mmseg().__file__)).parent / ".mim" / "configs"
    rows = []
    for name in arguments.case or CASES:
        config, shape = CASES[name]
        ours, theirs = _take_turns(str(configs / config), shape, arguments.rounds)
        rows.append(_row(f"{name} {shape[0]}x{shape[1]}", ours, theirs))
    columns = ("case", "segplug s", "old s", "ratio", "cpu ratio", "segplug MB", "old MB", "ratio")
    show(f"export, whole process, median of {arguments.rounds}", columns, rows)


def _take_turns(config: str, shape: tuple[int, int], rounds: int) -> tuple[list[Usage], list[Usage]]:
    size = [str(edge) for edge in shape]
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as work:
        new = (PYTHON, "-m", "segplug", "run", "export", "onnx", config, "--shape", *size, "--force")
        # Opset 13 is the first with the operators of attention; the script's default is 11.
        old = (*OLD_TOOL, "pytorch2onnx.py", config, "--opset-version", "13", "--shape", *size)
        for number in range(rounds):
            print(f"{Path(config).stem}: round {number + 1} of {rounds}", file=sys.stderr)
            ours.append(run((*new, "--output", f"{work}/new.onnx")))
            theirs.append(run((*old, "--output-file", f"{work}/old.onnx"), cwd=work))
    return ours, theirs


def _row(name: str, ours: list[Usage], theirs: list[Usage]) -> tuple[object, ...]:
    new, old = ({field: median_of(u, field) for field in ("wall", "cpu", "peak_mb")} for u in (ours, theirs))
    return (
        name,
        *(new["wall"], old["wall"], new["wall"] / old["wall"], new["cpu"] / old["cpu"]),
        *(new["peak_mb"], old["peak_mb"], new["peak_mb"] / old["peak_mb"]),
    )


if __name__ == "__main__":
    main()
