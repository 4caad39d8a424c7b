"""``command serve``: the command line of `segplug serve`."""

from __future__ import annotations

from typing import Any

import click

from segplug.cli.model import model_options
from segplug.cli.parameters import FiniteRange, Flag, GreedyOption, WholeRange, common_options, threads_option
from segplug.cli.pictures import palette_option
from segplug.cli.source_flags import ModelCommand
from segplug.limits import MOST_BATCH

__all__ = ["command"]


def _number(
    flag: str, default: int, text: str, *, group: str = "serve", least: int = 1, most: int | None = None
) -> Flag:
    kind = WholeRange(least, most)
    return Flag([flag], group=group, type=kind, default=default, show_default=True, metavar="N", help=text)


def _parameters() -> list[click.Parameter]:
    return [
        click.Argument(["subject"], metavar="ARTIFACT|CONFIG"),
        *model_options(),
        Flag(
            ["--name"],
            group="model",
            metavar="NAME",
            help="The model's name in URLs. Default: the name in its metadata.",
        ),
        Flag(
            ["--backend"],
            group="backend",
            metavar="TARGET",
            help="The infer target that runs the model. Default: the format's own; pytorch for a config.",
        ),
        GreedyOption(
            ["--backend-options"],
            group="backend",
            key_values=True,
            metavar="KEY=VALUE",
            help="Options of the backend.",
        ),
        Flag(["--device"], group="backend", help="cpu, cuda, cuda:1, ... Default: the backend's own."),
        threads_option(),
        palette_option(),
        Flag(
            ["--samples"],
            group="serve",
            type=click.Path(),
            metavar="FOLDER",
            help="Offer the image files of this folder on the page, to everybody who may send images.",
        ),
        Flag(
            ["--no-page"],
            group="serve",
            is_flag=True,
            help="Serve no page for browsers at /, and none about the API at /docs.",
        ),
        Flag(
            ["--host"],
            group="serve",
            default="127.0.0.1",
            show_default=True,
            help="The address to listen on. 0.0.0.0: other machines can connect.",
        ),
        _number("--port", 8080, "The port to listen on. 0: any free port.", least=0, most=65535),
        _number(
            "--batch-size",
            1,
            "The largest number of images in one batch, if the model takes it.",
            group="backend",
            most=MOST_BATCH,
        ),
        Flag(
            ["--max-delay"],
            group="backend",
            type=FiniteRange(0, 60_000),
            default=0,
            show_default=True,
            metavar="MS",
            help="Milliseconds that an incomplete batch waits for more requests. "
            "0: a batch takes the requests that arrived while the model was busy.",
        ),
        _number(
            "--queue",
            64,
            "The largest number of requests in the server; more are refused (503).",
            most=MOST_BATCH,
        ),
        _number("--readers", 2, "Processes that decode images; one that takes too long is ended.", most=64),
        _number("--max-bytes", 32 << 20, "Largest encoded image, in bytes."),
        _number("--max-pixels", 1 << 25, "Largest image, in pixels."),
        _number("--max-edge", 16384, "Largest height or width of an image, in pixels."),
        _number(
            "--max-decoded", 1 << 28, "Largest decoded image, in bytes: pixels x channels x bytes of a value."
        ),
        Flag(
            ["--unknown-below"],
            group="output",
            type=FiniteRange(0, 1),
            metavar="P",
            help="Labels of a lower probability become unknown (255), unless a request says otherwise.",
        ),
        Flag(
            ["--timeout"],
            group="serve",
            type=FiniteRange(0.1, 3600),
            default=60,
            show_default=True,
            metavar="S",
            help="Seconds that a request may take, from its header to its answer.",
        ),
        Flag(
            ["--token-file"],
            group="serve",
            type=click.Path(),
            metavar="FILE",
            help="A file with a token. Clients must send it as 'Authorization: Bearer TOKEN'.",
        ),
        *common_options(),
    ]


def _run(**values: Any) -> int:
    from segplug_serve.serve import serve

    return serve(click.get_current_context().obj, values)


command = ModelCommand(
    "serve",
    callback=_run,
    params=_parameters(),
    example="model.onnx --name street",
    help=(
        "Answer HTTP requests with a model's masks, until SIGTERM or Ctrl-C. The server's address, opened "
        "in a browser, is a page to drop a photo on.\n\n"
        "\b\n"
        "curl --data-binary @photo.jpg http://127.0.0.1:8080/predictions/NAME -o mask.png"
    ),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
