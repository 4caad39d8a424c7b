"""What runs in a TorchServe worker: rows of a batch in, an answer for each out."""

from __future__ import annotations

import atexit
import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any

from segplug.api import Segplug
from segplug.progress import QuietReporter
from segplug.serving.answers import Answer, refusal
from segplug.serving.requests import RefusedRequestError, Request
from segplug.serving.served import SERVED_FILE, Served, open_served
from segplug.serving.service import Service
from segplug_torchserve.rows import request_of

__all__ = ["Handler"]

_log = logging.getLogger("segplug.torchserve")


class Handler:
    """One worker's model. TorchServe calls :meth:`initialize` once, then :meth:`handle` for each batch."""

    def __init__(self) -> None:
        self._service: Service | None = None
        self._opened = ExitStack()

    def initialize(self, context: Any) -> None:
        """Open what the archive's ``segplug-served.json`` describes.

        Args:
            context: TorchServe's: the folder of the unpacked archive, the GPU's number if there is one, and
                how many requests a batch may have.
        """
        properties = context.system_properties
        folder = Path(properties["model_dir"])
        served = Served.from_json((folder / SERVED_FILE).read_text(encoding="utf-8"))
        gpu, reporter = properties.get("gpu_id"), _LogReporter()
        device = "cpu" if gpu is None else f"cuda:{gpu}"
        atexit.register(self.close)
        _speak_up()
        engine = self._opened.enter_context(
            open_served(Segplug(reporter=reporter), folder, served, device=device)
        )
        # How many come together is whoever registers the model's to say, not the archive's.
        size = int(properties.get("batch_size") or served.batch_size)
        self._service = Service(engine, limits=served.limits, batch_size=size, reporter=reporter)
        _log.info("%s serves %s, up to %d images together", engine.spec.backend, engine.spec.meta.name, size)

    def handle(self, rows: Sequence[Mapping[str, Any]], context: Any) -> list[bytes]:
        """Answer a batch, each request with its own status, type and times; none fails another."""
        if self._service is None:
            raise RuntimeError("the model is not open")
        read = [_read(row, context, index) for index, row in enumerate(rows)]
        answers = iter(self._service.answer([item for item in read if isinstance(item, Request)]))
        found = [item if isinstance(item, Answer) else next(answers) for item in read]
        for index, answer in enumerate(found):
            _respond(context, index, answer)
        return [answer.body for answer in found]

    def close(self) -> None:
        """Close the engine."""
        self._service = None
        self._opened.close()


def _speak_up() -> None:
    """Print what segplug logs: importing mmcv silences the handlers that TorchServe has set up."""
    log = logging.getLogger("segplug")
    if not log.handlers:
        log.addHandler(logging.StreamHandler(sys.stdout))
        log.setLevel(logging.INFO)
        log.propagate = False


def _read(row: Mapping[str, Any], context: Any, index: int) -> Request | Answer:
    try:
        headers = context.get_all_request_header(index)
        if headers.get("describe") == "True":
            return Request(None, output="meta")
        return request_of(row, headers)
    except RefusedRequestError as error:
        return refusal(error.status, error.message)
    except Exception:
        _log.exception("a request cannot be read")
        return refusal(500, "reading the request failed; the server's log says why")


def _respond(context: Any, index: int, answer: Answer) -> None:
    # The standard phrase: TorchServe counts a phrase's characters where it sends bytes, so that one beyond
    # ASCII would garble the whole batch.
    context.set_response_status(answer.status, HTTPStatus(answer.status).phrase, index)
    context.set_response_content_type(index, answer.content_type)
    for name, value in answer.headers.items():
        context.set_response_header(index, name, value)


class _LogReporter(QuietReporter):
    """What the runtime has to say, in the worker's log."""

    def note(self, message: str) -> None:
        _log.info("%s", message)

    def warn(self, message: str) -> None:
        _log.warning("%s", message)
