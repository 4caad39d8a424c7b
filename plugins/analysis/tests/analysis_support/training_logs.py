"""Lines of training logs as mmcv writes them, for the tests of ``analyze logs``."""

from __future__ import annotations

import json

from segplug import Segplug

HEADER = {"env_info": "sys.platform: linux", "config": "model = dict()\n", "seed": 0, "exp_name": "a.py"}


def train(iteration, loss, epoch=1, **more):
    return {"mode": "train", "epoch": epoch, "iter": iteration, "lr": 0.01, "loss": loss, **more}


def val(miou, epoch=1, images=500, **more):
    return {"mode": "val", "epoch": epoch, "iter": images, "lr": 0.01, "mIoU": miou, **more}


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = [line if isinstance(line, str) else json.dumps(line) for line in (HEADER, *lines)]
    path.write_text("\n".join(text) + "\n")
    return path


def curves(*logs, **options):
    report = Segplug().analyze("logs", *logs, **options)
    return {(one["run"], one["key"], one["mode"]): one for one in report.data["curves"]}


def labels(report):
    return [one["label"] for one in report.data["curves"]]
