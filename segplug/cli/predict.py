"""``segplug predict MODEL IMAGE...``: paint images and videos, and write their label maps."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import click

from segplug.api import Segplug
from segplug.cli.backend_flags import BackendCommand, chosen_backend, given_backend_options
from segplug.cli.choice import choice_line
from segplug.cli.model import MODEL_FLAGS, load_model, model_options, tta_option
from segplug.cli.output import ConsoleReporter, Output
from segplug.cli.parameters import (
    Flag,
    WholeRange,
    addon_settings,
    bands_option,
    common_options,
    force_option,
    on_error_option,
    threads_option,
)
from segplug.cli.pictures import legend_option, opacity_option, palette_option, picture_settings
from segplug.cli.predict_output import ImageResults, print_results, results_document
from segplug.cli.printing import only_documents
from segplug.errors import UsageError

if TYPE_CHECKING:
    from segplug.api.predict_files import PredictedVideo
    from segplug.api.predict_inputs import Inputs
    from segplug.installed import Provider
    from segplug.runtime.drawing import PictureSettings
    from segplug.runtime.video import Camera, Video
    from segplug.session import Subject

__all__ = ["predict"]

_CONFIG_FLAGS = tuple(flag for flag in MODEL_FLAGS if flag != "allow_nonfinite")
"""The parameters that say how a config is loaded."""
_MOST_STDIN = 1 << 28
"""Bytes of an image on standard input."""


def _parameters() -> list[click.Parameter]:
    return [
        click.Argument(["model"], metavar="MODEL"),
        click.Argument(["image"], metavar="[IMAGE...]", nargs=-1),
        *model_options(scores=True),
        tta_option(),
        Flag(
            ["--camera"],
            group="data",
            type=WholeRange(0, 99),
            metavar="N",
            help="Paint what a camera sees until Ctrl-C, in place of images. 0: the first camera.",
        ),
        Flag(
            ["--output", "predictions"],
            group="output",
            type=click.Path(path_type=Path, file_okay=False),
            default="predictions",
            show_default=True,
            help="The folder for the results; made if it is not there.",
        ),
        legend_option("right"),
        opacity_option(),
        palette_option(),
        bands_option("painted images show"),
        force_option("Replace results of an earlier call."),
        Flag(
            ["--backend"],
            group="backend",
            metavar="TARGET",
            help="The infer target that runs the model. Default: the file says it; pytorch for a config.",
        ),
        Flag(["--device"], group="backend", help="cpu, cuda, cuda:1, ... Default: the backend's own."),
        threads_option(),
        on_error_option("image"),
        Flag(
            ["--resume"],
            group="run",
            is_flag=True,
            help="Continue an interrupted call of the same kind; a video begins again.",
        ),
        *common_options(),
    ]


@dataclass(frozen=True)
class _Work:
    """One call of the command."""

    session: Segplug
    model: Subject
    backend: Provider
    pictures: PictureSettings
    values: Mapping[str, Any]

    @property
    def running(self) -> dict[str, Any]:
        """How the model is opened, as keywords of the API."""
        names = ("device", "threads", "trust_artifact", "allow_nonfinite")
        return {
            "backend": self.backend,
            **{name: self.values[name] for name in names},
            **given_backend_options(self.values),
        }


def _run(**values: Any) -> int:
    # As in `segplug infer`: threads of OpenMP that wait do not spin.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    click.get_current_context().with_resource(only_documents(values["json"]))
    backend, others = chosen_backend()
    _check(backend, values)
    pictures = picture_settings(values)
    backend.make_options(given_backend_options(values))
    inputs = _inputs(values)
    session = Segplug(reporter=ConsoleReporter(), **addon_settings(values))
    output = Output(as_json=values["json"])
    model: Any = load_model(session, values["model"], values) if backend.takes == "model" else values["model"]
    work = _Work(session, model, backend, pictures, values)
    images = _predict_images(work, inputs) if inputs.images else None
    videos = _predict_videos(work, inputs) if inputs.videos or values["camera"] is not None else []
    output.say(choice_line(backend, others))
    print_results(output, values["predictions"], images, videos)
    if output.as_json:
        output.document(results_document(backend, images, videos))
    return 0


def _check(backend: Provider, values: Mapping[str, Any]) -> None:
    for flag in () if backend.takes == "model" else _CONFIG_FLAGS:
        if values[flag]:
            raise UsageError(f"--{flag.replace('_', '-')} is for a config; {values['model']} is none")
    if values["camera"] is not None and values["image"]:
        raise UsageError("--camera and images exclude each other")
    if values["camera"] is None and not values["image"]:
        raise UsageError(
            "nothing to predict", hint="name images, a folder or a video, or - for standard input"
        )


def _inputs(values: Mapping[str, Any]) -> Inputs:
    """What is to be predicted, once it is sure that the results can be written."""
    from segplug.api.predict_files import VIDEO_END, ensure_targets
    from segplug.api.predict_inputs import find_inputs
    from segplug.api.segmentation import LABELS_END, PAINTED_END
    from segplug.runtime.video import Video

    stdin = _standard_input() if "-" in values["image"] else None
    inputs = find_inputs(values["image"], values["predictions"], stdin=stdin)
    folder, force = values["predictions"], values["force"]
    targets = [image.target for image in inputs.images]
    ensure_targets(folder, targets, (PAINTED_END, LABELS_END), force or values["resume"])
    videos = [target for _, target in inputs.videos]
    if values["camera"] is not None:
        videos.append(PurePosixPath(f"camera{values['camera']}"))
    ensure_targets(folder, videos, (VIDEO_END,), force)
    for path, _ in inputs.videos:  # before a model is loaded
        Video(path).close()
    return inputs


def _standard_input() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("- means an image on standard input, and there is none", hint="... < photo.jpg")
    content = sys.stdin.buffer.read(_MOST_STDIN + 1)
    if not content:
        raise UsageError("standard input is empty: an image is expected")
    if len(content) > _MOST_STDIN:
        raise UsageError(f"the image on standard input has more than {_MOST_STDIN >> 20} MiB")
    return content


def _predict_images(work: _Work, inputs: Inputs) -> ImageResults:
    from segplug.api.predict_files import PredictionSink
    from segplug.api.predict_inputs import GivenImages

    sink = PredictionSink(work.values["predictions"], work.pictures, force=work.values["force"])
    report = work.session.evaluate(
        work.model,
        dataset=GivenImages(inputs.images),
        metrics=(),
        sinks=[sink],
        on_error=work.values["on_error"],
        resume=work.values["resume"],
        tta=work.values["tta"],
        **work.running,
    )
    return ImageResults(sink, report)


def _predict_videos(work: _Work, inputs: Inputs) -> list[PredictedVideo]:
    from segplug.api.predict_files import VIDEO_END, predict_video
    from segplug.files import making_folder
    from segplug.runtime.video import Camera, Video

    done = []
    with work.session.open(work.model, **work.running) as engine:
        sources: list[tuple[Any, PurePosixPath]] = list(inputs.videos)
        if work.values["camera"] is not None:
            sources.append((work.values["camera"], PurePosixPath(f"camera{work.values['camera']}")))
        for where, name in sources:
            target = work.values["predictions"] / f"{name}{VIDEO_END}"
            source: Video | Camera = Camera(where) if isinstance(where, int) else Video(where)
            with (
                contextlib.closing(source),
                _until_stopped(source),
                making_folder(target.parent),
            ):
                done.append(
                    predict_video(
                        engine,
                        source,
                        target,
                        work.pictures,
                        reporter=work.session.reporter,
                        force=work.values["force"],
                        tta=work.values["tta"],
                        allow_nonfinite=work.values["allow_nonfinite"],
                    )
                )
    return done


@contextlib.contextmanager
def _until_stopped(source: Video | Camera) -> Iterator[None]:
    """Ctrl-C ends a camera's video, which is then written; a second one interrupts the command."""
    from segplug.runtime.video import Camera

    if not isinstance(source, Camera) or threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.getsignal(signal.SIGINT)

    def stop(*_: object) -> None:
        source.stopped = True
        signal.signal(signal.SIGINT, usual)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


predict = BackendCommand(
    "predict",
    callback=_run,
    params=_parameters(),
    help=(
        "Paint images and videos with a model's labels.\n\n"
        "MODEL is an artifact of any format, a model's folder, or a config with --checkpoint. IMAGE is a "
        "file, a folder, a video, or - for standard input. For each image, NAME_painted.png and "
        "NAME_labels.png are written, for a video NAME_painted.mp4. A file of another tool needs a few "
        "options: segplug predict MODEL --help lists those of its backend."
    ),
    example="model.onnx photo.jpg",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
