"""Requests for the tests of providers: what a test does not name is filled in."""

from __future__ import annotations

from typing import Any, TypeVar

from segplug.api import Segplug
from segplug.calls import Call
from segplug.options import NoOptions
from segplug.progress import QuietReporter
from segplug.requests import (
    AnalyzeRequest,
    BuildEngineRequest,
    CommandRequest,
    ConvertWeightsRequest,
    ExportRequest,
    InferRequest,
    LoadDatasetRequest,
    LoadModelRequest,
    PackRequest,
    Request,
    RunRequest,
)

__all__ = ["make_request"]

RequestT = TypeVar("RequestT", bound=Request[Any])

_HOOKS: dict[type[Request[Any]], str] = {
    AnalyzeRequest: "analyze",
    BuildEngineRequest: "build_engine",
    CommandRequest: "command",
    ConvertWeightsRequest: "convert_weights",
    ExportRequest: "export",
    InferRequest: "infer",
    LoadDatasetRequest: "load_dataset",
    LoadModelRequest: "load_model",
    PackRequest: "export",
    RunRequest: "run",
}


def make_request(kind: type[RequestT], /, **fields: Any) -> RequestT:
    """A request to call a provider's method with, without the registry, add-ons and staging around it.

    Args:
        kind: The class: ``InferRequest``.
        **fields: Its fields. Without ``options``, the provider has none; without ``destination``, it is
            ``output``; ``call`` and ``reporter`` are made up. The session is a ``Segplug()``: calls through
            it have the installed add-ons.
    """
    made_up: dict[str, Any] = {
        "call": Call(hook=_HOOKS[kind], target="under-test"),
        "options": NoOptions(),
        "reporter": QuietReporter(),
        "session": Segplug(),
    }
    if "output" in fields:
        made_up["destination"] = fields["output"]
    return kind(**{**made_up, **fields})
