"""Images of any channels and type over HTTP: masks are those of the same file without a server."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from serve_support.bands import band_image, npy, save_model
from serve_support.servers import Running, form_of, png

from segplug import Segplug
from segplug.cli.root import run_command_line
from segplug.preprocessing import Flip
from segplug.runtime.postprocess import Prediction
from segplug.runtime.segment import Segmenter
from segplug.testing import EngineConformance

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bands")
    return {name: save_model(name, folder) for name in ("five", "four")}


@pytest.fixture(scope="module")
def running(started, files) -> dict[str, Running]:
    return {name: started(file, "--threads", "1", "--batch-size", "2") for name, file in files.items()}


@pytest.fixture(scope="module")
def expected(files) -> Callable[[str, np.ndarray], Prediction]:
    """What the same file predicts without a server."""

    def predict(name: str, image: np.ndarray) -> Prediction:
        with Segplug().open(files[name], backend="onnxruntime", threads=1) as engine:
            (prediction,) = Segmenter(engine)([image], confidence=True)
        assert len(np.unique(prediction.labels)) == 4, "a mask of few labels would prove little"
        return prediction

    return predict


def tiff(image: np.ndarray) -> bytes:
    content = io.BytesIO()
    tifffile.imwrite(content, image, photometric="minisblack", planarconfig="contig", compression="zlib")
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "encode", "kind"),
    [
        ("five", npy, "application/x-npy"),
        ("five", tiff, "image/tiff"),
        ("four", npy, "application/octet-stream"),
        ("four", png, "image/png"),
    ],
)
def test_masks_are_those_of_a_local_run(running, expected, name, encode, kind):
    image = band_image(name)
    content = encode(image)
    form, form_kind = form_of(any_name=content)
    text = json.dumps({"image": base64.b64encode(content).decode()})
    for body, content_type in ((content, kind), (form, form_kind), (text, "application/json")):
        answer = running[name].post(body, content_type=content_type)
        assert np.array_equal(answer.image, expected(name, image).labels), content_type


@pytest.mark.parametrize("name", ["five", "four"])
def test_the_client_gets_the_masks_of_a_local_run(running, expected, name):
    """``infer http`` sends every image without a loss."""
    images = [band_image(name, seed, *size) for seed, size in enumerate([(40, 57), (40, 57), (96, 31)])]
    with Segplug().open(running[name].address, backend="http") as engine:
        assert engine.spec.meta.in_channels == images[0].shape[2]
        predictions = Segmenter(engine, batch_size=2)(images)
    for image, prediction in zip(images, predictions, strict=True):
        assert np.array_equal(prediction.labels, expected(name, image).labels)


class TestHttpEngine(EngineConformance):
    @pytest.fixture(params=["five", "four"])
    def engine(self, request, running):
        with Segplug().open(running[request.param].address, backend="http") as engine:
            yield engine


def test_the_command_line_gives_the_masks_of_a_local_run(running, files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("a.tif").write_bytes(tiff(band_image("five")))
    for backend, subject in (("http", running["five"].address), ("onnxruntime", files["five"])):
        words = ["run", "infer", backend, str(subject), "--input-img", "a.tif", "--format-only", backend]
        assert run_command_line(words) == 0, capsys.readouterr().err
    (served,), (local,) = (list(Path(folder).iterdir()) for folder in ("http", "onnxruntime"))
    served, local = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (served, local))
    assert len(np.unique(local)) > 1
    assert np.array_equal(served, local)


def test_probabilities_and_unknown_labels(running, expected):
    image = band_image("five")
    prediction = expected("five", image)
    answer = running["five"].post(npy(image), "?output=confidence")
    assert answer.image.dtype == np.uint16
    assert np.abs(answer.image / 65535 - prediction.confidence).max() < 1e-5
    unsure = prediction.confidence < 0.7
    assert 0.05 < unsure.mean() < 0.95
    for query, headers in (("?unknown_below=0.7", {}), ("", {"x_segplug_unknown_below": "0.7"})):
        mask = running["five"].post(npy(image), query, **headers).image
        assert np.array_equal(mask, np.where(unsure, 255, prediction.labels))
    shares = running["five"].post(npy(image), "?output=json&unknown_below=0.7").json["classes"]
    (unknown,) = [entry for entry in shares if entry["name"] == "unknown"]
    assert unknown["pixels"] == unsure.sum()
    assert running["five"].post(npy(image), "?unknown_below=2").status == 400


def test_bands_of_a_painted_image(running):
    image = band_image("five")
    usual, chosen = (
        running["five"].post(npy(image), f"?output=painted&opacity=0.01{bands}").image
        for bands in ("", "&bands=3,2,1")
    )
    assert np.abs(usual.astype(int) - chosen[:, :, ::-1]).max() <= 4
    by_header = running["five"].post(npy(image), "?output=painted&opacity=0.01", x_segplug_bands="3,2,1")
    assert np.array_equal(by_header.image, chosen)
    refused = running["five"].post(npy(image), "?output=painted&bands=9")
    assert refused.status == 400
    assert "band 9" in refused.json["error"]


def test_other_channels_are_refused_in_one_line(running):
    for content in (npy(band_image("four")), png(np.zeros((8, 8, 3), np.uint8))):
        answer = running["five"].post(content)
        assert answer.status == 400
        assert "the network takes 5" in answer.json["error"]


def test_the_operator_can_make_unsure_labels_unknown(started, files, expected):
    server: Running = started(files["five"], "--threads", "1", "--unknown-below", "0.7")
    image = band_image("five")
    prediction = expected("five", image)
    mask = server.post(npy(image)).image
    assert np.array_equal(mask, np.where(prediction.confidence < 0.7, 255, prediction.labels))
    with Segplug().open(server.address, backend="http") as engine:
        assert np.array_equal(Segmenter(engine)([image])[0].labels, prediction.labels)


def test_what_is_not_served_is_in_the_log(started, tmp_path):
    file = save_model(
        "five", tmp_path, tta=((), (Flip("horizontal"),)), approximations=("the crop is left out",)
    )
    server: Running = started(file, "--max-decoded", "20000")
    log = " ".join(server.log.read_text().split())
    assert "test-time augmentation (views: 2) is left out" in log
    assert "the crop is left out" in log
    meta = server.ask("GET", f"/predictions/{server.model}?output=meta").json["meta"]
    assert len(meta["tta"]) == 2
    assert meta["approximations"] == ["the crop is left out"]
    refused = server.post(npy(band_image("five")))
    assert refused.status == 413, "40 x 57 x 5 x 4 bytes"
    assert server.post(npy(band_image("five", 0, 20, 30))).status == 200


def test_probabilities_need_scores(tmp_path, capsys):
    labels = save_model("five", tmp_path, output_kind="labels")
    assert run_command_line(["serve", str(labels), "--port", "0", "--unknown-below", "0.5"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "--unknown-below needs the scores of every class" in error
    assert "--output-kind logits" in error
