"""``command serve``: Answer HTTP requests with a model's masks, until it is told to stop."""

from __future__ import annotations

from typing import Any

import click

from segplug.cli.model import model_options
from segplug.cli.parameters import GreedyCommand, GreedyOption, common_options

__all__ = ["command"]


def _number(flag: str, default: int, text: str, *, least: int = 1, most: int | None = None) -> click.Option:
    kind = click.IntRange(least, most)
    return click.Option([flag], type=kind, default=default, show_default=True, metavar="N", help=text)


def _parameters() -> list[click.Parameter]:
    return [
        click.Argument(["subject"], metavar="ARTIFACT|CONFIG"),
        *model_options(),
        click.Option(["--name"], metavar="NAME", help="The model's, in addresses. Default: its own."),
        click.Option(["--backend"], metavar="TARGET", help="The infer target. Default: the artifact's own."),
        GreedyOption(
            ["--backend-options"], key_values=True, metavar="KEY=VALUE", help="Options of the backend."
        ),
        click.Option(["--device"], default="cpu", show_default=True, help="cpu, cuda, cuda:1, ..."),
        click.Option(["--threads"], type=click.IntRange(1), metavar="N", help="Threads of one engine run."),
        click.Option(
            ["--host"],
            default="127.0.0.1",
            show_default=True,
            help="The address to listen on; 0.0.0.0 lets other machines in.",
        ),
        _number("--port", 8080, "0: any free one.", least=0, most=65535),
        _number("--batch-size", 1, "Images run together, where they wait and the model takes it."),
        click.Option(
            ["--max-delay"],
            type=click.FloatRange(0, 60_000),
            default=0,
            show_default=True,
            metavar="MS",
            help="Time that a batch that is not full waits for more. 0: it is what waited meanwhile.",
        ),
        _number("--queue", 64, "Requests that are in the server at once; more get a 503."),
        _number("--max-bytes", 32 << 20, "Of an encoded image."),
        _number("--max-pixels", 1 << 25, "Of an image."),
        _number("--max-edge", 16384, "Pixels of an image's height or width."),
        click.Option(
            ["--timeout"],
            type=click.FloatRange(0.1, 3600),
            default=60,
            show_default=True,
            metavar="S",
            help="Seconds that a request may take, from its head to its answer.",
        ),
        click.Option(
            ["--token-file"],
            type=click.Path(),
            metavar="FILE",
            help="Holds a token that clients must send: 'Authorization: Bearer TOKEN'.",
        ),
        *common_options(),
    ]


def _run(**values: Any) -> int:
    from segplug_serve.serve import serve

    return serve(values)


command = GreedyCommand(
    "serve",
    callback=_run,
    params=_parameters(),
    help=(
        "Answer HTTP requests with a model's masks, until SIGTERM or Ctrl-C.\n\n"
        "\b\n"
        "segplug serve model.onnx\n"
        "curl --data-binary @photo.jpg http://127.0.0.1:8080/predictions/NAME -o mask.png"
    ),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
