"""The demo: its scenes, its config, its weights, and their score."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "demo"
CONFIG = DEMO / "config.py"
WEIGHTS = DEMO / "weights.pth"
SCENES = 4

cv2 = pytest.importorskip("cv2")


def draw(root: Path) -> None:
    subprocess.run(
        [sys.executable, str(DEMO / "make_data.py"), "--root", str(root), "--test", str(SCENES)],
        check=True,
        capture_output=True,
    )


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*.png"))
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    draw(root)
    return root


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    exec(compile(CONFIG.read_text(encoding="utf-8"), str(CONFIG), "exec"), namespace)
    return namespace


@pytest.fixture(scope="module")
def checkpoint() -> dict[str, Any]:
    torch = pytest.importorskip("torch")
    return torch.load(WEIGHTS, map_location="cpu", weights_only=True)


def test_scenes_are_the_same_in_every_run(scenes: Path, tmp_path: Path) -> None:
    draw(tmp_path)
    assert len(digests(scenes)) == 2 * SCENES
    assert digests(tmp_path) == digests(scenes)


def test_all_scenes_differ(scenes: Path) -> None:
    assert len(set(digests(scenes).values())) == 2 * SCENES


def test_existing_scenes_are_not_drawn_again(scenes: Path) -> None:
    kept = scenes / "images" / "test" / "0000.png"
    before = kept.stat().st_mtime_ns
    draw(scenes)
    assert kept.stat().st_mtime_ns == before


def test_masks_hold_every_class_and_no_other_label(scenes: Path, config: dict[str, Any]) -> None:
    masks = [cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in sorted((scenes / "masks" / "test").iterdir())]
    assert {mask.shape for mask in masks} == {(256, 512)}
    assert set(np.unique(np.stack(masks))) == set(range(len(config["classes"])))


def test_images_are_colour_images_of_the_masks_size(scenes: Path) -> None:
    paths = sorted((scenes / "images" / "test").iterdir())
    assert len(paths) == SCENES
    for path in paths:
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert image.shape == (256, 512, 3)
        assert image.dtype == np.uint8
        assert image.std() > 15, "a scene must have contrast"


def test_config_and_scenes_name_the_same_classes(config: dict[str, Any]) -> None:
    code = "import scenes, json; print(json.dumps([scenes.CLASSES, scenes.PALETTE]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=DEMO, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == [list(config["classes"]), config["palette"]]


def test_weights_are_a_small_file_of_plain_data_with_classes(
    checkpoint: dict[str, Any], config: dict[str, Any]
) -> None:
    assert WEIGHTS.stat().st_size < 3_000_000
    assert tuple(checkpoint["meta"]["CLASSES"]) == config["classes"]
    assert checkpoint["meta"]["PALETTE"] == config["palette"]
    weights = checkpoint["state_dict"].values()
    assert len(weights) > 100
    assert all(value.isfinite().all() for value in weights)


def test_weights_reach_their_score_through_the_public_api(
    scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mmseg")
    from segplug import Segplug

    monkeypatch.chdir(ROOT)
    sp = Segplug()
    model = sp.load_model(CONFIG, checkpoint=WEIGHTS)
    report = sp.evaluate(
        model, backend="pytorch", dataset=CONFIG, cfg_options={"data.test.data_root": str(scenes)}, threads=1
    )
    assert report.images == SCENES
    assert report.scores is not None
    assert report.scores.metrics["mIoU"] > 0.8
