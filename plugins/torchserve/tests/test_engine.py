"""``infer torchserve`` without a server: the errors."""

from __future__ import annotations

import pytest

from segplug.api import Segplug
from segplug.errors import EngineError, UsageError


@pytest.mark.parametrize(
    ("url", "given", "words"),
    [
        ("http://127.0.0.1:1/predictions/a", {"model_name": "b"}, "another model"),
        ("ftp://127.0.0.1", {"model_name": "b"}, "address"),
        ("http://127.0.0.1:1", {"model_name": "b", "device": "cuda:0"}, "the server chooses"),
        ("http://127.0.0.1:1", {"model_name": "b", "threads": 2}, "the server chooses"),
    ],
)
def test_invalid_arguments_are_refused(url, given, words):
    with pytest.raises(UsageError, match=words), Segplug().open(url, backend="torchserve", **given):
        pass


def test_a_server_that_cannot_be_reached_is_an_error():
    with (
        pytest.raises(EngineError, match="cannot be reached"),
        Segplug().open("http://127.0.0.1:1", backend="torchserve", model_name="m"),
    ):
        pass
