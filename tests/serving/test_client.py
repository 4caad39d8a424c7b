"""The client and its engine: masks come back, and the errors of a server name it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import numpy as np
import pytest

from segplug.errors import EngineError, ShapeError, UsageError
from segplug.runtime.pipeline import run
from segplug.runtime.sinks import ScoreSink
from segplug.serving.answers import Answer, png, refusal
from segplug.serving.client import Client, Reply, decode_mask, predictions_url
from segplug.serving.remote_engine import RemoteEngine
from segplug.serving.requests import Request
from segplug.testing import ArrayDataset, EngineConformance
from tests.serving.conftest import META, bright, encoded, http_server, noise


def test_a_mask_comes_back(url) -> None:
    client = Client(url)
    reply = client.post(encoded(noise()))
    assert reply.status == 200
    assert np.array_equal(decode_mask(reply.body, url), bright(noise()))
    assert {"decode", "model", "process", "encode"} <= set(reply.timing())
    assert 0 < reply.timing()["model"] < reply.seconds
    assert client.meta() == META
    client.close()


def test_server_timing_of_other_servers_is_parsed() -> None:
    header = 'app;dur=47.5;desc="all", db;desc="x";dur=5, miss, cache;dur=, total;dur=oops, batch;desc="4"'
    assert Reply(200, b"", {"server-timing": header}, 1.0).timing() == {"app": 0.0475, "db": 0.005}
    assert Reply(200, b"", {}, 1.0).timing() == {}


def test_the_output_is_also_sent_in_a_header(service) -> None:
    heard = []

    def answering(request):
        heard.append(request)
        return service.answer([request])[0]

    with http_server(answering, query=False) as url:
        client = Client(url)
        assert client.meta() == META
        client.post(encoded(noise()), output="json")
    assert [request.output for request in heard] == ["meta", "json"]


def test_a_server_that_requires_a_token() -> None:
    with (
        http_server(lambda request: refusal(401, "no token")) as url,
        pytest.raises(EngineError, match="--token"),
    ):
        Client(url).meta()


def test_a_refusal_has_a_reason(url) -> None:
    reply = Client(url).post(b"no image")
    assert reply.status == 400
    assert "is text, not an image" in reply.reason


def test_connections_are_reused_and_renewed(service) -> None:
    """A server that was started again is reached again."""
    with http_server(lambda request: service.answer([request])[0]) as url:
        client = Client(url)
        assert client.post(encoded(noise())).status == 200
        client._local.connection.sock.close()
        assert client.post(encoded(noise())).status == 200


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8080",
        "ftp://host/x",
        "http://",
        "http://h:99999/x",
        "http://h/x?y=1",
        "http://[::1/x",
        "http://h/é",
        "http://a:b@h/x",
        "http://a..b/x",
        "http://h/x#y",
        "http://h/a b",
        "http://h/a\nb",
        "http://h/x\r\nX-Header: y",
        "http://h/\tx",
        " http://h/x",
        "http://h/x\n",
        "http://h :80/x",
        "http://h\x7f/x",
        "http://h/\x1b[2J",
        "",
    ],
)
def test_invalid_addresses(url) -> None:
    for connect in (Client, lambda address: predictions_url(address, None)):
        with pytest.raises(UsageError) as caught:
            connect(url)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("token", ["a\nX: y", "tök€n", "", "a b"])
def test_invalid_tokens(token) -> None:
    with pytest.raises(UsageError, match="token"):
        Client("http://127.0.0.1:9/x", token=token)


@pytest.mark.parametrize(
    ("url", "name", "expected"),
    [
        ("http://h:8080", "fcn", "http://h:8080/predictions/fcn"),
        ("http://h:8080/", "a b/c", "http://h:8080/predictions/a%20b%2Fc"),
        ("https://h/fcn", "fcn", "https://h/fcn/predictions/fcn"),
        ("http://h:8080/predictions/fcn", None, "http://h:8080/predictions/fcn"),
        ("http://h:8080/predictions/fcn/2.0", "fcn", "http://h:8080/predictions/fcn/2.0"),
    ],
)
def test_the_address_of_predictions(url, name, expected) -> None:
    assert predictions_url(url, name) == expected


def test_an_address_of_another_model() -> None:
    with pytest.raises(UsageError, match="another model than 'b'"):
        predictions_url("http://h:1/predictions/a", "b")


def _lists(models: object) -> Callable[[Request], Answer]:
    return lambda request: Answer(200, json.dumps(models).encode(), "application/json")


def test_the_only_model_of_a_server_is_found() -> None:
    with http_server(_lists({"models": [{"name": "the one"}]})) as url:
        server = url.removesuffix("/predictions/m")
        assert predictions_url(server, None) == server + "/predictions/the%20one"


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ({"models": [{"name": "a"}, {"name": "b"}]}, "has several models: a, b"),
        ({"models": []}, "has no model"),
        ({"code": 404}, "does not list its models"),
    ],
)
def test_without_one_model_the_name_is_needed(models, words) -> None:
    with http_server(_lists(models)) as url, pytest.raises(UsageError, match=words):
        predictions_url(url.removesuffix("/predictions/m"), None)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(EngineError, match="cannot be reached: Connection refused"):
        RemoteEngine(Client("http://127.0.0.1:9/predictions/m"), target="http")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"<html>", "text/html"),
        Answer(200, json.dumps({"model": 3}).encode(), "application/json"),
        Answer(200, b"[]", "application/json"),
        refusal(404, "no model m"),
    ],
)
def test_a_server_without_a_segplug_model(answer) -> None:
    with http_server(lambda request: answer) as url, pytest.raises(EngineError, match="does not describe"):
        Client(url).meta()


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (3, "the model metadata is wrong: an object is expected, not 3"),
        ({**META.to_dict(), "schema_version": 99}, "has schema 99"),
    ],
)
def test_a_server_of_a_model_with_wrong_metadata(meta, message) -> None:
    answer = Answer(200, json.dumps({"meta": meta}).encode(), "application/json")
    with http_server(lambda request: answer) as url, pytest.raises(EngineError, match=message):
        Client(url).meta()


def test_a_server_that_hangs() -> None:
    free = threading.Event()

    def hang(request):
        free.wait(10)
        return refusal(503, "too late")

    with http_server(hang) as url:
        try:
            with pytest.raises(EngineError, match="timed out"):
                Client(url, timeout=0.3).meta()
        finally:
            free.set()


def test_a_server_that_is_refused_keeps_no_connection() -> None:
    with http_server(lambda request: refusal(404, "no model m")) as url:
        client = Client(url)
        with pytest.raises(EngineError):
            RemoteEngine(client, target="http")
        assert [connection.sock for connection in client._connections] == [None]


@pytest.fixture
def remote(url):
    return RemoteEngine(Client(url), target="http")


class TestConformance(EngineConformance):
    @pytest.fixture
    def engine(self, remote) -> RemoteEngine:
        return remote


def test_a_server_is_scored_as_any_engine(remote) -> None:
    images = [noise(seed=seed) for seed in range(5)] + [noise(31, 17)]
    scored = ScoreSink(["mIoU"])
    run(remote, ArrayDataset(images, [bright(image) for image in images]), [scored], batch_size=4)
    assert scored.scores.metrics["mIoU"] == 1.0
    remote.close()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (refusal(422, "too wide"), ShapeError, "too wide"),
        (refusal(413, "too large"), ShapeError, "too large"),
        (refusal(503, "full"), EngineError, "answered 503: full"),
        (Answer(200, b"junk", "image/png"), EngineError, "no label mask"),
        (Answer(200, encoded(noise()), "image/png"), EngineError, "no label mask"),
        (Answer(200, png(np.zeros((3, 3), np.uint8)), "image/png"), EngineError, "a mask of"),
    ],
)
def test_a_server_that_answers_nonsense(service, answer, error, words) -> None:
    def answering(request):
        return service.answer([request])[0] if request.output == "meta" else answer

    with http_server(answering) as url:
        engine = RemoteEngine(Client(url), target="http")
        with pytest.raises(error, match=words):
            engine.run(noise()[None])
        engine.close()
