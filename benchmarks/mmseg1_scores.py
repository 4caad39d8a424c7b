"""mIoU on CamVid in mmsegmentation 1.x: mmengine's own ``Runner.test``, segplug in PyTorch and ONNX Runtime.

    .venv-mmseg1/bin/python benchmarks/mmseg1_scores.py [--model fcn ...]

The networks were trained with mmsegmentation 0.30. Three of the columns read configs of 1.x written by hand;
the last one reads the 0.30 config itself, which segplug translates. It prints a table in Markdown, and exits
with 1 if two scores of a network differ.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from measure import data_folder

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins" / "mmseg" / "tests"))

from mmseg_support.runner import CAMVID, runner_scores, write_camvid

from segplug import Segplug

COLUMNS = ("`Runner.test`", "segplug, PyTorch", "segplug, ONNX Runtime", "segplug, the 0.30 config")


def main() -> None:
    """Score every network in all ways, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", nargs="*", choices=CAMVID, default=list(CAMVID))
    names = parser.parse_args().model
    print(f"| network | {' | '.join(COLUMNS)} |")
    print(f"| --- |{' --- |' * len(COLUMNS)}")
    differing = []
    for name in names:
        with tempfile.TemporaryDirectory() as work:
            scores = _scores(name, data_folder(), Path(work))
        print(f"| {name} | {' | '.join(f'{score:.4f}' for score in scores)} |", flush=True)
        if len(set(scores)) > 1:
            differing.append(name)
    sys.exit(f"scores differ: {', '.join(differing)}" if differing else 0)


def _scores(name: str, data: Path, work: Path) -> list[float]:
    """The mIoU of each column, as fractions of 4 decimals."""
    models = data / "models"
    old, weights = models / f"{CAMVID[name][0]}.py", models / f"{CAMVID[name][1]}.pth"
    config = write_camvid(name, models, data / "camvid", work)
    session = Segplug()
    model = session.load_model(config, checkpoint=weights)
    artifact = session.export("onnx", model, output=work / f"{name}.onnx")
    translated = session.load_dataset(old, cfg_options={"data.test.data_root": str(data / "camvid")})
    reports = (
        session.evaluate(model, backend="pytorch", dataset=config),
        session.evaluate(artifact, backend="onnxruntime", dataset=config),
        session.evaluate(session.load_model(old, checkpoint=weights), backend="pytorch", dataset=translated),
    )
    found = [report.scores.metrics["mIoU"] for report in reports if report.scores is not None]
    return [runner_scores(config, weights, work / f"{name}_runner")["mIoU"], *(round(x, 4) for x in found)]


if __name__ == "__main__":
    main()
