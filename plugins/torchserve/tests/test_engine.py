"""``infer torchserve`` before a server comes into it."""

from __future__ import annotations

import pytest
from segplug_torchserve.engine import predictions_url

from segplug.api import Segplug
from segplug.errors import EngineError, UsageError


@pytest.mark.parametrize(
    ("url", "name", "expected"),
    [
        ("http://h:8080", "fcn", "http://h:8080/predictions/fcn"),
        ("http://h:8080/", "a b/c", "http://h:8080/predictions/a%20b%2Fc"),
        ("https://h/serve", "fcn", "https://h/serve/predictions/fcn"),
        ("http://h:8080/predictions/fcn", None, "http://h:8080/predictions/fcn"),
        ("http://h:8080/predictions/fcn/2.0", None, "http://h:8080/predictions/fcn/2.0"),
    ],
)
def test_where_predictions_are(url, name, expected):
    assert predictions_url(url, name) == expected


@pytest.mark.parametrize(
    ("url", "given", "words"),
    [
        ("http://127.0.0.1:1", {}, "--model-name"),
        ("http://127.0.0.1:1/predictions/a", {"model_name": "b"}, "already"),
        ("ftp://127.0.0.1", {"model_name": "b"}, "address"),
        ("http://127.0.0.1:1", {"model_name": "b", "device": "cuda:0"}, "server's"),
        ("http://127.0.0.1:1", {"model_name": "b", "threads": 2}, "server's"),
    ],
)
def test_what_makes_no_sense_is_refused(url, given, words):
    with pytest.raises(UsageError, match=words), Segplug().open(url, backend="torchserve", **given):
        pass


def test_a_server_that_is_not_there_is_an_error():
    with (
        pytest.raises(EngineError, match="cannot be reached"),
        Segplug().open("http://127.0.0.1:1", backend="torchserve", model_name="m"),
    ):
        pass
