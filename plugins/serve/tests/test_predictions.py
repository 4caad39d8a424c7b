"""Masks over HTTP: all forms of requests, all outputs, batches, and hostile input."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from segplug_serve.forms import form_headers
from serve_support.hostile import REQUESTS
from serve_support.models import Project, paced_labels
from serve_support.servers import Running, form_of, picture, png

from segplug import Segplug
from segplug.runtime.segment import Segmenter

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def expected(project: Project) -> Callable[[np.ndarray], np.ndarray]:
    """The labels of an image, from the same file without a server."""
    with Segplug().open(project.artifact(".onnx"), backend="onnxruntime", threads=1) as engine:
        segment = Segmenter(engine)
        yield lambda image: segment([image])[0].labels


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return picture(1)


def test_an_image_gets_its_mask(server, image, expected):
    labels = expected(image)
    assert len(np.unique(labels)) > 1, "a mask of one label would prove little"
    answer = server.post(png(image), content_type="image/png")
    assert answer.headers["content-type"] == "image/png"
    assert "model;dur=" in answer.headers["server-timing"]
    assert np.array_equal(answer.image, labels)


def test_a_form_and_json_get_the_same_mask(server, image, expected):
    form, kind = form_of(any_name=png(image))
    text = base64.b64encode(png(image)).decode()
    for body, content_type in (
        (form, kind),
        (json.dumps({"image": text}), "application/json"),
        (json.dumps({"image": {"b64": text}}), "application/json; charset=utf-8"),
        (png(image), "application/x-www-form-urlencoded"),  # curl --data-binary
        (iter([png(image)[:100], png(image)[100:]]), "image/png"),  # chunked
    ):
        answer = server.post(body, content_type=content_type)
        assert np.array_equal(answer.image, expected(image)), content_type


@pytest.mark.parametrize("charset", ["punycode", "undefined", "utf-16"])
def test_the_charset_of_a_form_is_ignored(server, image, expected, charset):
    form, kind = form_of(any_name=png(image))
    answer = server.post(form, content_type=f'{kind}; charset={charset}; x="y"')
    assert np.array_equal(answer.image, expected(image))
    assert form_headers(f"multipart/form-data; charset={charset}; boundary='e=d ge'").raw == [
        (b"content-type", b"multipart/form-data; boundary=\"'e=d ge'\"")
    ]


def test_put_is_accepted(server, image, expected):
    """As ``curl -T`` sends it."""
    answer = server.ask("PUT", f"/predictions/{server.model}", png(image))
    assert np.array_equal(answer.image, expected(image))


def test_a_form_of_two_images_is_refused(server, image):
    form, kind = form_of(one=png(image), two=png(image))
    answer = server.post(form, content_type=kind)
    assert answer.status == 400
    assert "one" in answer.json["error"].lower() or "1" in answer.json["error"]


def test_a_query_and_a_header_choose_the_output(server, image, expected):
    counts = np.bincount(expected(image).ravel(), minlength=4)
    for query, headers in (("?output=json", {}), ("", {"x_segplug_output": "json"})):
        found = server.post(png(image), query, **headers).json
        assert (found["height"], found["width"]) == image.shape[:2]
        assert {item["label"]: item["pixels"] for item in found["classes"]} == {
            label: count for label, count in enumerate(counts) if count
        }
    strong = server.post(png(image), "?output=painted&opacity=1").image
    assert strong.shape == image.shape
    palette = np.array([[128, 64, 128], [70, 70, 70], [70, 130, 180], [0, 0, 142]], np.uint8)[:, ::-1]
    assert np.array_equal(strong, palette[expected(image)])
    weak = server.post(png(image), x_segplug_output="painted", x_segplug_opacity="0.1").image
    assert np.abs(weak.astype(int) - image).mean() < np.abs(strong.astype(int) - image).mean()
    for query in ("?output=nothing", "?output=painted&opacity=2", "?output=painted&opacity=x"):
        assert server.post(png(image), query).status == 400


def test_the_model_describes_itself(server):
    for method in ("GET", "POST"):
        said = server.ask(method, f"/predictions/{server.model}?output=meta").json
        assert said["meta"]["classes"] == ["road", "building", "sky", "car"]
        assert said["backend"].startswith("onnxruntime")
    (model,) = server.ask("GET", "/models").json["models"]
    assert model["name"] == server.model
    assert server.ask("GET", model["meta"]).json == said
    assert server.ask("GET", "/health").status == 200
    assert server.ask("GET", "/ready").status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("POST", "/predictions/other", 404),
        ("POST", "/predictions/", 404),
        ("DELETE", "/models", 405),
    ],
)
def test_other_addresses_are_refused_with_a_reason(server, method, path, status):
    answer = server.ask(method, path, b"x" * 100_000)
    assert answer.status == status
    assert answer.json["code"] == status
    assert answer.json["error"]


def test_images_of_all_sizes_get_their_own_masks_in_shared_batches(server, expected):
    images = [picture(seed, *size) for seed in range(4) for size in ((48, 64), (33, 71), (96, 40), (7, 9))]
    with ThreadPoolExecutor(len(images)) as pool:
        answers = list(pool.map(lambda image: server.post(png(image)), images))
    for image, answer in zip(images, answers, strict=True):
        assert np.array_equal(answer.image, expected(image))
    assert any('batch;desc="4"' in answer.headers["server-timing"] for answer in answers)


def test_hostile_requests_do_not_affect_others(server, expected):
    good = {f"good {seed}": (png(picture(seed)), "image/png", 200) for seed in range(8)}
    everything = {**REQUESTS, **good}
    order = np.random.default_rng(0).permutation(sorted(everything)).tolist()
    with ThreadPoolExecutor(len(order) + 1) as pool:
        found = pool.map(
            lambda name: server.post(everything[name][0], content_type=everything[name][1]), order
        )
        health = pool.map(lambda _: server.ask("GET", "/health").status, range(50))
        answers = dict(zip(order, found, strict=True))
        assert set(health) == {200}
    assert {name: answer.status for name, answer in answers.items()} == {
        name: status for name, (_, _, status) in everything.items()
    }
    for seed in range(8):
        assert np.array_equal(answers[f"good {seed}"].image, expected(picture(seed)))
    for name in REQUESTS:
        assert answers[name].json["code"] == REQUESTS[name][2]
        assert "\n" not in answers[name].json["error"]
        assert "Traceback" not in answers[name].json["error"]


def test_the_log_warns_once_that_labels_are_resized(started, project, tmp_path):
    session, path = Segplug(), tmp_path / "labels.onnx"
    model = session.load_model(project.config, checkpoint=project.checkpoint)
    session.export("onnx", model, output=path, output_kind="labels")
    server: Running = started(path, "--threads", "1")
    for size in ((96, 128), (24, 32)):
        assert server.post(png(picture(1, *size))).status == 200
    log = " ".join(server.log.read_text().split())
    assert log.count("resized by nearest") == 1
    assert log.count("exported with --output-kind logits gives equal masks") == 1


def test_many_clients_get_the_masks_of_their_own_images(server, expected):
    images = [picture(seed) for seed in range(160)]

    def client(number: int) -> list[bool]:
        mine = images[number * 20 : number * 20 + 20]
        return [np.array_equal(server.post(png(image)).image, expected_masks[id(image)]) for image in mine]

    expected_masks = {id(image): expected(image) for image in images}
    with ThreadPoolExecutor(8) as pool:
        assert all(all(equal) for equal in pool.map(client, range(8)))


def test_a_batch_takes_the_requests_that_waited_for_the_model(paced):
    server: Running = paced(0.3, "--batch-size", "8")
    images = [picture(seed, 16, 16) for seed in range(9)]
    with ThreadPoolExecutor(9) as pool:
        answers = list(pool.map(lambda image: server.post(png(image)), images))
    for image, answer in zip(images, answers, strict=True):
        assert np.array_equal(answer.image, paced_labels(image))
    found = server.metrics()
    assert found["segplug_batch_size_sum", frozenset()] == 9
    assert found["segplug_batch_size_count", frozenset()] < 9, "without a delay, too"


def test_metrics_count_requests(started, project, image):
    server: Running = started(project.artifact(".onnx"), "--name", "counted")
    for _ in range(3):
        server.post(png(image))
    server.post(png(image), "?output=json")
    server.post(b"no image")
    server.post(png(image), "?output=<odd>")
    server.ask("POST", "/predictions/other", png(image))
    found = server.metrics()
    counted = {
        tuple(sorted(dict(labels).values())): value
        for (name, labels), value in found.items()
        if name == "segplug_requests_total"
    }
    assert counted == {
        ("200", "mask"): 3, ("200", "json"): 1, ("400", "mask"): 1, ("400", "unknown"): 1, ("404", "mask"): 1,
    }  # fmt: skip
    assert found["segplug_request_seconds_count", frozenset({("output", "mask")})] == 3
    assert found["segplug_model_seconds_count", frozenset()] == 4
    assert found["segplug_batch_size_sum", frozenset()] == 4
    assert found["segplug_requests_in_flight", frozenset()] == 0
    assert found["segplug_ready", frozenset()] == 1
    assert found["process_resident_memory_bytes", frozenset()] > 0


def test_memory_stays_bounded(started, project):
    server: Running = started(project.artifact(".onnx"), "--batch-size", "4")
    hostile = list(REQUESTS.values())
    image = png(picture(1, 480, 640))

    def send(number: int) -> int:
        body, kind, status = hostile[number % len(hostile)] if number % 2 else (image, "image/png", 200)
        return server.post(body, content_type=kind).status == status

    def resident() -> float:
        return server.metrics()["process_resident_memory_bytes", frozenset()]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(send, range(100)))
        before = resident()
        assert all(pool.map(send, range(400)))
    assert resident() - before < 40e6, "400 requests that stay in memory would take 370 MB"
