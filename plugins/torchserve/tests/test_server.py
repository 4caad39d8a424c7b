"""A real TorchServe: all kinds of requests, batches, workers, gRPC."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from torchserve_support.bands import band_image, npy
from torchserve_support.calling import call, form
from torchserve_support.hostile import bomb, png_header
from torchserve_support.local_server import LocalServer
from torchserve_support.packing import labels_of, mask_of, pictures, png_of

from segplug.api import Segplug
from segplug.progress import QuietReporter
from segplug.runtime.preprocess import Preprocessor
from segplug.serving.client import Client

pytestmark = pytest.mark.server

IMAGES = pictures()
PNGS = [png_of(image) for image in IMAGES]


@pytest.fixture(scope="module")
def reference(model):
    """PyTorch's labels, with as many threads as the server's workers have."""
    return labels_of(model, IMAGES, backend="pytorch")


def at_once(url: str, bodies, **given):
    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(lambda body: call(url, body, **given), bodies))


def pids(server: LocalServer, name: str) -> set[int]:
    return {worker["pid"] for worker in server.workers(name) if worker["status"] == "READY"}


@pytest.mark.parametrize("name", ["plain", "script"])
def test_masks_are_pytorchs(server, reference, name):
    for content, labels in zip(PNGS, reference, strict=True):
        answer = call(server.predictions_url(name), content)
        assert answer.status == 200
        assert answer.headers["content-type"] == "image/png"
        assert np.array_equal(mask_of(answer.body), labels)


def test_masks_of_onnx_are_pytorchs_away_from_near_ties(server, model, reference):
    for content, labels, margin in zip(PNGS, reference, margins_of(model), strict=True):
        decided = margin > 1e-3
        assert decided.mean() > 0.98
        mask = mask_of(call(server.predictions_url("onnx"), content).body)
        assert np.array_equal(mask[decided], labels[decided])


def margins_of(model):
    """How far the largest logit is above the second, at each image's own size."""
    with Segplug().open(model, backend="pytorch", threads=1) as engine:
        preprocess = Preprocessor(engine.spec.meta, engine.spec, QuietReporter())
        for image in IMAGES:
            logits = engine.run(preprocess(image, "it").array[None])[0]
            size = (image.shape[1], image.shape[0])
            whole = np.sort(
                [cv2.resize(channel, size, interpolation=cv2.INTER_LINEAR) for channel in logits], 0
            )
            yield whole[-1] - whole[-2]


def test_requests_that_come_together_are_one_batch(server, reference):
    answers = at_once(server.predictions_url("onnx"), PNGS)
    assert [answer.status for answer in answers] == [200] * len(PNGS)
    assert {answer.together for answer in answers} == {len(PNGS)}
    for answer, labels in zip(answers, reference, strict=True):
        mask = mask_of(answer.body)
        assert mask.shape == labels.shape
        assert np.mean(mask == labels) > 0.999


def test_hostile_requests_do_not_affect_others(server, reference):
    before = pids(server, "onnx")
    good = PNGS[0]
    requests = {
        "good": (good, "image/png", 200, ""),
        "junk": (b"this is no image", "image/png", 400, "image"),
        "cut off": (good[: len(good) // 2], "image/png", 400, "cut off"),
        "empty": (b"", "image/png", 400, "no image"),
        "bomb": (bomb(), "image/png", 413, "pixels"),
        "wide": (png_header(20000, 2), "image/png", 413, "20000"),
        "type": (good, "video/mp4", 415, "video/mp4"),
        "base64": (json.dumps({"image": "%%%"}).encode(), "application/json", 400, "base64"),
    }
    url = server.predictions_url("onnx")
    with ThreadPoolExecutor(len(requests)) as pool:
        calls = {
            name: pool.submit(call, url, body, kind=kind) for name, (body, kind, _, _) in requests.items()
        }
    for name, (_, _, status, words) in requests.items():
        answer = calls[name].result()
        assert answer.status == status, (name, answer.body)
        assert not words or words in answer.json["error"], name
    mask = mask_of(calls["good"].result().body)
    assert np.mean(mask == reference[0]) > 0.999
    assert pids(server, "onnx") == before


def test_too_many_bytes_are_refused(server):
    noise = np.random.default_rng(0).integers(0, 255, (900, 900, 3), np.uint8)
    answer = call(server.predictions_url("onnx"), png_of(noise))
    assert answer.status == 413
    assert "bytes" in answer.json["error"]


def test_every_output_and_form(server, reference):
    url, content = server.predictions_url("script"), PNGS[1]
    shares = call(url, content, X_Segplug_Output="json").json
    assert {entry["label"] for entry in shares["classes"]} == set(np.unique(reference[1]).tolist())
    painted = call(url, content, X_Segplug_Output="painted", X_Segplug_Opacity="0.3")
    assert cv2.imdecode(np.frombuffer(painted.body, np.uint8), cv2.IMREAD_UNCHANGED).shape == IMAGES[1].shape
    assert painted.body != call(url, content, X_Segplug_Output="painted").body
    body, kind = form("anything", content, output="json")
    assert call(url, body, kind=kind).json == shares
    text = json.dumps({"image": base64.b64encode(content).decode()}).encode()
    assert np.array_equal(mask_of(call(url, text, kind="application/json").body), reference[1])
    # TorchServe passes a query on at this address only.
    asked = f"{server.inference_url}/models/script/invoke?output=json"
    assert call(asked, content).json == shares


def test_images_of_bands_get_the_masks_of_a_local_run(server, store):
    """``infer torchserve`` sends them as they are, and TorchServe passes them and the headers on."""
    images = [band_image(seed=0), band_image(seed=1), band_image(31, 90)]
    expected = labels_of(store.parent / "bands.onnx", images, backend="onnxruntime")
    asked = {"backend": "torchserve", "model_name": "bands"}
    for labels, found in zip(
        expected, labels_of(server.inference_url, images, threads=None, **asked), strict=True
    ):
        assert np.array_equal(found, labels)
    url, content = server.predictions_url("bands"), npy(images[0])
    assert np.array_equal(mask_of(call(url, content, kind="application/x-npy").body), expected[0])
    unsure = mask_of(call(url, content, kind="application/x-npy", X_Segplug_Unknown_Below="0.7").body)
    assert 0 < (unsure == 255).mean() < 1
    assert np.array_equal(unsure[unsure != 255], expected[0][unsure != 255])
    refused = call(url, PNGS[0])
    assert (refused.status, "the network takes 5" in refused.json["error"]) == (400, True)


def test_the_meta_needs_no_image(server, model):
    url = server.predictions_url("plain")
    assert call(url, X_Segplug_Output="meta").json["meta"]["classes"] == list(model.meta.classes)
    described = server.manage("/models/plain?customized=true")[0]
    assert described["customizedMetadata"]["meta"]["palette"] == [list(c) for c in model.meta.palette]
    asked = Client(f"{server.inference_url}/models/plain/invoke")
    assert asked.meta().num_classes == model.meta.num_classes
    asked.close()


def test_the_archive_sets_the_batch_and_version(server):
    onnx, script = server.manage("/models/onnx")[0], server.manage("/models/script")[0]
    assert (onnx["batchSize"], onnx["maxBatchDelay"], onnx["minWorkers"]) == (8, 1000, 1)
    assert script["modelVersion"] == "2.1"
    assert call(server.predictions_url("script") + "/2.1", PNGS[0]).status == 200
    assert call(server.predictions_url("script") + "/9", PNGS[0]).status == 404


def test_workers_are_scaled_and_both_answer(server, reference):
    server.manage("/models/onnx?min_worker=2&max_worker=2&synchronous=true", "PUT")
    server.wait_ready("onnx", count=2)
    answers = at_once(server.predictions_url("onnx"), PNGS)
    assert [answer.status for answer in answers] == [200] * len(PNGS)
    server.manage("/models/onnx?min_worker=1&max_worker=1&synchronous=true", "PUT")
    assert len(server.workers("onnx")) == 1


def test_models_are_registered_and_removed_while_it_runs(server, store, reference):
    query = (
        "url=plain.mar&model_name=late&batch_size=3&max_batch_delay=3000&initial_workers=1&synchronous=true"
    )
    said = server.manage(f"/models?{query}", "POST")
    assert "late" in said["status"]
    server.wait_ready("late")
    answers = at_once(server.predictions_url("late"), PNGS[:3])
    assert [answer.status for answer in answers] == [200] * 3
    for answer, labels in zip(answers, reference, strict=False):
        # The engine ran them together, and adds up in another order then: near-ties may fall to either side.
        assert np.mean(mask_of(answer.body) == labels) > 0.999
        assert answer.together == 3
    (pid,) = pids(server, "late")
    server.manage("/models/late", "DELETE")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        server.workers("late")
    assert call(server.predictions_url("late"), PNGS[0]).status == 404
    assert _gone(pid)


def _gone(pid: int) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_a_killed_worker_is_restarted(server, reference):
    (pid,) = pids(server, "onnx")
    os.kill(pid, signal.SIGKILL)
    assert _gone(pid)
    end = time.monotonic() + 60
    while not pids(server, "onnx") - {pid}:
        assert time.monotonic() < end
        time.sleep(0.2)
    answer = call(server.predictions_url("onnx"), PNGS[0])
    assert answer.status == 200
    assert np.mean(mask_of(answer.body) == reference[0]) > 0.999


def test_scores_are_pytorchs(server, model, tmp_path):
    """`infer torchserve` gives the scores of `infer pytorch` on the same images and masks."""
    for number, image in enumerate(IMAGES):
        for kind, content in (("images", image), ("masks", (image[:, :, 0] // 40).astype(np.uint8))):
            (tmp_path / kind).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / kind / f"{number}.png"), content)
    given = {"dataset": tmp_path, "metrics": ["mIoU"], "nan_to_num": 0.0}
    here = Segplug().evaluate(model, backend="pytorch", threads=1, **given)
    there = Segplug().evaluate(server.inference_url, backend="torchserve", model_name="plain", **given)
    assert there.scores.metrics == here.scores.metrics
    assert there.images == len(IMAGES)


def test_the_command_line_writes_masks(server, tmp_path):
    (tmp_path / "a.png").write_bytes(PNGS[0])
    command = [sys.executable, "-m", "segplug", "run", "infer", "torchserve", server.inference_url]
    command += ["--model-name", "script", "--input-img", "a.png", "--format-only", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "a.png").is_file()


def test_workers_log_what_they_run(server):
    for name in ("pytorch", "onnxruntime", "torchscript"):
        assert any(name in line and " serves config" in line for line in server.logs().splitlines()), name


def test_grpc_predicts_and_manages(server, stubs, reference):
    grpc = pytest.importorskip("grpc")
    request = stubs.inference_pb2.PredictionsRequest
    with grpc.insecure_channel(server.grpc_inference) as channel:
        stub = stubs.inference_pb2_grpc.InferenceAPIsServiceStub(channel)
        answer = stub.Predictions(request(model_name="plain", input={"data": PNGS[0]}))
        assert np.array_equal(mask_of(answer.prediction), reference[0])
        shares = stub.Predictions(request(model_name="plain", input={"image": PNGS[0], "output": b"json"}))
        assert {entry["label"] for entry in json.loads(shares.prediction)["classes"]} == set(
            np.unique(reference[0]).tolist()
        )
        # TorchServe has no status for a single call here: a refusal is told by its content.
        refused = json.loads(
            stub.Predictions(request(model_name="plain", input={"data": b"junk"})).prediction
        )
        assert refused["code"] == 400
        assert "damaged" in refused["error"]
    with grpc.insecure_channel(server.grpc_management) as channel:
        stub = stubs.management_pb2_grpc.ManagementAPIsServiceStub(channel)
        described = stub.DescribeModel(stubs.management_pb2.DescribeModelRequest(model_name="plain"))
        assert json.loads(described.msg)[0]["workers"][0]["status"] == "READY"
