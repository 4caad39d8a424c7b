"""``segplug info FILE``: what a model file is, and what to type next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from segplug.cli.parameters import GreedyCommand, common_options

if TYPE_CHECKING:
    from segplug.cli.output import Output
    from segplug.info import FileInfo

__all__ = ["info"]


def _run(**values: Any) -> int:
    from segplug.api import Segplug
    from segplug.cli.output import ConsoleReporter, Output
    from segplug.cli.parameters import addon_settings

    output = Output(as_json=values["json"])
    found = Segplug(reporter=ConsoleReporter(), **addon_settings(values)).info(values["file"])
    _print(output, found)
    output.document(found.to_dict())
    return 0


def _print(output: Output, found: FileInfo) -> None:
    output.say(found.title)
    output.facts(found.facts())
    if found.legend:
        output.say("classes:")
        output.colours(found.legend)
    output.notes(found.notes)
    if found.next:
        output.say("what to type next:")
    for line in found.next:
        output.say(f"  {line}")


info = GreedyCommand(
    "info",
    callback=_run,
    params=[click.Argument(["file"], metavar="FILE"), *common_options()],
    example="model.onnx",
    help=(
        "Tell what a model FILE is: inputs, outputs, classes, preprocessing, verification, origin, and the "
        "backends here that open it.\n\n"
        "FILE is an artifact of segplug or of another tool (ONNX, TorchScript, TensorRT, an archive for "
        "TorchServe, the folder of a model for Triton), a checkpoint, or a config. Nothing in it is run."
    ),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
