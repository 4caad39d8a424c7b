"""The handler in a TorchServe worker: takes the rows of a batch and answers each of them."""

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
from segplug.regular_files import read_regular_text
from segplug.serving.answers import Answer, refusal
from segplug.serving.logs import log_handler
from segplug.serving.requests import RefusedRequestError, Request
from segplug.serving.served_model import SERVED_FILE, ServedModel, open_served_model, serving_warnings
from segplug.serving.service import Service
from segplug_torchserve.rows import read_row

__all__ = ["Handler"]

_log = logging.getLogger("segplug.torchserve")


class Handler:
    """Runs the model in a worker. TorchServe calls :meth:`initialize` once, :meth:`handle` for each batch."""

    def __init__(self) -> None:
        self._service: Service | None = None
        self._opened = ExitStack()

    def initialize(self, context: Any) -> None:
        """Open the model that ``segplug-served.json`` in the archive describes.

        Args:
            context: TorchServe's context. It has the folder of the unpacked archive, the number of the GPU if
                there is one, and the largest batch.
        """
        properties = context.system_properties
        folder = Path(properties["model_dir"])
        served = ServedModel.from_json(read_regular_text(folder / SERVED_FILE))
        gpu, reporter = properties.get("gpu_id"), _LogReporter()
        device = None if gpu is None else f"cuda:{gpu}"  # None: the backend's own
        atexit.register(self.close)
        _print_log()
        engine = self._opened.enter_context(
            open_served_model(Segplug(reporter=reporter), folder, served, device=device)
        )
        # The batch size is set when the model is registered. It may differ from the archive's.
        size = int(properties.get("batch_size") or served.batch_size)
        self._service = Service(
            engine,
            limits=served.limits,
            batch_size=size,
            unknown_below=served.unknown_below,
            reporter=reporter,
        )
        for note in serving_warnings(engine.spec):
            _log.warning("%s", note)
        _log.info(
            "%s serves %s in batches of up to %d images", engine.spec.backend, engine.spec.meta.name, size
        )

    def handle(self, rows: Sequence[Mapping[str, Any]], context: Any) -> list[bytes]:
        """Answer a batch. Each request has its own status, type and times; a failure affects no other."""
        if self._service is None:
            raise RuntimeError("initialize was not called")
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


def _print_log() -> None:
    """Print segplug's log to stdout: importing mmcv silences the log handlers of TorchServe."""
    log = logging.getLogger("segplug")
    if not log.handlers:
        log.addHandler(log_handler(sys.stdout))
        log.setLevel(logging.INFO)
        log.propagate = False


def _read(row: Mapping[str, Any], context: Any, index: int) -> Request | Answer:
    try:
        headers = context.get_all_request_header(index)
        if headers.get("describe") == "True":
            return Request(None, output="meta")
        return read_row(row, headers)
    except RefusedRequestError as error:
        return refusal(error.status, error.message)
    except Exception:
        _log.exception("a request cannot be read")
        return refusal(500, "reading a request failed; the server's log has the reason")


def _respond(context: Any, index: int, answer: Answer) -> None:
    # The standard reason phrase, which is ASCII: TorchServe sends bytes but counts characters, so that any
    # other character in the phrase would corrupt the whole batch.
    context.set_response_status(answer.status, HTTPStatus(answer.status).phrase, index)
    context.set_response_content_type(index, answer.content_type)
    for name, value in answer.headers.items():
        context.set_response_header(index, name, value)


class _LogReporter(QuietReporter):
    """Writes the runtime's notes and warnings to the worker's log."""

    def note(self, message: str) -> None:
        _log.info("%s", message)

    def warn(self, message: str) -> None:
        _log.warning("%s", message)
