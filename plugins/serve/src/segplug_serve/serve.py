"""``segplug serve`` behind its command line: opens the model, builds the server, runs it."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from segplug.api import Segplug
from segplug.cli.model import MODEL_FLAGS, load_model
from segplug.cli.output import Output
from segplug.cli.parameters import key_values
from segplug.engine import REFERENCE_BACKEND, Engine
from segplug.errors import UsageError
from segplug.palette import named_palette
from segplug.registry.formats import require_device
from segplug.registry.hub import how_to_download
from segplug.regular_files import read_regular_text
from segplug.runtime.libraries import pillow
from segplug.runtime.postprocess import require_scores
from segplug.serving.logs import log_handler
from segplug.serving.requests import Limits
from segplug.serving.served_model import choose_backend, serving_warnings
from segplug.serving.service import Service
from segplug_serve.app import Server, ServerSettings
from segplug_serve.batcher import Batcher
from segplug_serve.lifecycle import Workers, address_of, bind, ended, run
from segplug_serve.memory import Pool
from segplug_serve.metrics import Metrics
from segplug_serve.openapi import openapi_document
from segplug_serve.page import Page
from segplug_serve.readers import BYTES_OF_ANSWER, Readers
from segplug_serve.samples import MOST_SAMPLES, find_samples

__all__ = ["serve"]

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LONGEST_TOKEN = 1 << 16
"""Bytes of a file of a token, of which a header can hold a part only."""

_log = logging.getLogger("segplug.serve")


def serve(session: Segplug, values: Mapping[str, Any]) -> int:
    """Open the model, serve it, and close it; returns the exit code.

    Args:
        session: The session of the command's call.
        values: The command's parameters by name.
    """
    handler = log_handler(sys.stderr, "%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # As in `segplug infer`: OpenMP threads that wait actively would slow the decoding of images down.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    output = Output(as_json=values["json"])
    _check_name(values["name"])
    token = _read_token(values["token_file"])
    if token is None and values["host"] not in _LOOPBACK:
        session.reporter.warn(
            "everybody who reaches this address can use the server: restrict it with --token-file"
        )
    if values["no_page"] and values["samples"] is not None:
        raise UsageError("--samples are offered on the page, which --no-page leaves out")
    pillow()  # it writes the masks; the first request need not wait for its import
    with bind(values["host"], values["port"]) as sock, _open_engine(session, values) as engine:
        server, workers, name = _build_server(session, engine, values, token)
        address = address_of(sock)

        def ready() -> None:
            url = f"{address}/predictions/{name}"
            page = None if values["no_page"] else f"{address}/"
            output.say(f"serving {name} on {engine.spec.backend} at {address}; stop with Ctrl-C")
            if page:
                output.say(f"  open {page} in a browser to drop a photo on the page, or send one:")
            header = ' -H "Authorization: Bearer TOKEN"' if token else ""
            output.say(f"  curl{header} --data-binary @photo.jpg {url} -o mask.png")
            backend = engine.spec.backend
            output.document({"address": address, "url": url, "page": page, "model": name, "backend": backend})

        if not run(server.app(), workers, sock, timeout=values["timeout"], ready=ready):
            _log.error("the model is still running: the process ends without closing it")
            os._exit(1)
    ended()
    output.say("stopped")
    return 0


def _build_server(
    session: Segplug, engine: Engine, values: Mapping[str, Any], token: str | None
) -> tuple[Server, Workers, str]:
    name = _model_name(values["name"], engine)
    limits = Limits(values["max_bytes"], values["max_pixels"], values["max_edge"], values["max_decoded"])
    if values["unknown_below"] is not None:
        require_scores(engine.spec, "--unknown-below")
    palette = values["palette"]
    service = Service(
        engine,
        limits=limits,
        batch_size=values["batch_size"],
        unknown_below=values["unknown_below"],
        palette=None if palette is None else named_palette(palette, engine.spec.meta.num_classes),
        reporter=session.reporter,
    )
    for note in serving_warnings(engine.spec):
        session.reporter.warn(note)
    size = service.batch_size
    if size < values["batch_size"]:
        session.reporter.warn(
            f"--batch-size {values['batch_size']}: this model takes batches of at most {size}"
        )
    metrics = Metrics(name, engine.spec.backend)
    batcher = Batcher(service.segment, size=size, delay=values["max_delay"] / 1000, metrics=metrics)
    # One batch runs while the next image is decoded.
    images = Pool((size + 1) * (limits.decoded + BYTES_OF_ANSWER * limits.pixels))
    readers = Readers(
        values["readers"],
        timeout=values["timeout"],
        limits=limits,
        meta=service.meta,
        images=images,
        metrics=metrics,
    )
    settings = ServerSettings(name, limits, values["queue"], values["timeout"], token)
    page = None if values["no_page"] else _page(session, service, settings, values["samples"])
    server = Server(service, readers, batcher, images=images, settings=settings, metrics=metrics, page=page)
    return server, Workers(readers, batcher), name


def _page(session: Segplug, service: Service, settings: ServerSettings, folder: str | None) -> Page:
    samples, left_out = find_samples(service.meta, settings.limits, folder)
    if left_out:
        session.reporter.warn(
            f"--samples {folder}: the page offers the first {MOST_SAMPLES} images; {left_out} more are left "
            f"out"
        )
    document = openapi_document(
        settings.name,
        limits=settings.limits,
        timeout=settings.timeout,
        max_requests=settings.max_requests,
        token=settings.token is not None,
    )
    return Page(samples, document)


@contextmanager
def _open_engine(session: Segplug, values: Mapping[str, Any]) -> Iterator[Engine]:
    path, backend = values["subject"], values["backend"]
    options: dict[str, Any] = dict(key_values(values["backend_options"], flag="--backend-options"))
    subject: Any
    if session.reads_model(path):
        backend = session.registry.provider("infer", backend or REFERENCE_BACKEND)
        backend.make_options(options)
        require_device(backend, values["device"])  # before the model is loaded, which takes a while
        subject = load_model(session, path, values)
    else:
        subject = Path(path)
        if not subject.exists():
            raise UsageError(f"there is no file {subject}", hint=how_to_download(path))
        if given := [f"--{flag.replace('_', '-')}" for flag in MODEL_FLAGS if values[flag]]:
            raise UsageError(f"{given[0]} is for a config; {subject} is an artifact")
        backend = choose_backend(session, subject, backend)
    with session.open(
        subject,
        backend=backend,
        device=values["device"],
        threads=values["threads"],
        trust_artifact=values["trust_artifact"],
        **options,
    ) as engine:
        yield engine


def _model_name(given: str | None, engine: Engine) -> str:
    if given is not None:
        return given
    return re.sub(r"[^\w.-]+", "_", engine.spec.meta.name, flags=re.ASCII).strip("._") or "model"


def _check_name(given: str | None) -> None:
    if given is not None and not re.fullmatch(r"[\w.-]+", given, re.ASCII):
        raise UsageError(
            f"--name '{given}' is not a valid model name",
            hint="it is a part of URLs: use letters, digits, . _ -",
        )


def _read_token(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        token = read_regular_text(path, most_bytes=_LONGEST_TOKEN).strip()
    except OSError as error:
        raise UsageError(f"--token-file {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--token-file {path} cannot be read: {error}") from error
    if not re.fullmatch(r"[!-~]+", token):
        raise UsageError(f"--token-file {path} contains no token: one line of ASCII without spaces")
    return token
