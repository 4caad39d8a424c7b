"""``segplug run build_engine <target> ARTIFACT|CONFIG``: build, verify, show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segplug.api import Segplug
from segplug.artifact import ensure_free
from segplug.cli.export import artifact_data, load_model
from segplug.cli.output import Output
from segplug.cli.parameters import GreedyOption, model_options, precision_option
from segplug.cli.verification import print_verification, thresholds_of, tolerance_option
from segplug.errors import UsageError
from segplug.model import SegmentationModel
from segplug.registry import Provider
from segplug.requests import Artifact, Precision
from segplug.routes import require_device, runner_of_maker, runner_of_source

if TYPE_CHECKING:
    from segplug.runtime.paint import Palette
    from segplug.runtime.window import Window

__all__ = ["parameters", "run"]

_FROM_DATASET = 128
"""Images of a data set that are used, evenly spread; of --input-img all are."""


def parameters(provider: Provider) -> list[click.Parameter]:
    """The arguments and flags of every engine builder."""
    from_model = provider.takes == "model"
    return [
        click.Argument(["subject"], metavar="CONFIG" if from_model else "ARTIFACT"),
        *(model_options() if from_model else []),
        click.Option(
            ["--output", "--trt-file", "output"],
            type=click.Path(path_type=Path),
            required=True,
            help="The file to write.",
        ),
        GreedyOption(
            ["--input-img"],
            metavar="IMAGE",
            help="Real images: --verify compares on them, --show shows them, int8 is calibrated on them.",
        ),
        click.Option(
            ["--dataset"],
            metavar="CONFIG|FOLDER|NAME",
            help="Take the images from there where --input-img gives none, and the colours of --show. A data "
            "set's name in the framework (CityscapesDataset) gives colours only.",
        ),
        click.Option(
            ["--verify"],
            is_flag=True,
            help="Run the engine here, compare with what it was built from; exit 1 if it does not hold.",
        ),
        tolerance_option(),
        click.Option(
            ["--show"], is_flag=True, help="Show in a window what both sides make of each image, painted."
        ),
        precision_option(),
        click.Option(["--fp16"], is_flag=True, help="The old spelling of --precision fp16."),
        click.Option(["--device"], help="Where the engine will run. Default: the target's own."),
        click.Option(["--force"], is_flag=True, help="Replace the output if it is there."),
    ]


def run(
    session: Segplug,
    provider: Provider,
    output: Output,
    values: Mapping[str, Any],
    own: Mapping[str, Any],
) -> int:
    """Build, verify and show if asked, and say what was written."""
    values = {**values, "precision": _precision(values)}
    ensure_free(values["output"], force=values["force"])
    window = _window(session, provider, values)
    images, colours = _images(session, values)
    subject: Any = values["subject"]
    if provider.takes == "model":
        subject = load_model(session, subject, values)
    artifact = session.build_engine(
        provider.entry.qualified,
        subject,
        output=values["output"],
        precision=values["precision"],
        device=values["device"],
        force=values["force"],
        images=images,
        verify=values["verify"],
        thresholds=thresholds_of(values),
        **own,
    )
    verification = artifact.meta.verification
    output.say(f"wrote {artifact.path} ({artifact.size / 1e6:.1f} MB)")
    if verification is not None:
        print_verification(output, verification)
    if window is not None:
        _show(session, provider, window, artifact, subject, images, colours, values["device"])
    output.document({"artifact": artifact_data(artifact), "verification": verification})
    return 0 if verification is None or verification["passed"] else 1


def _precision(values: Mapping[str, Any]) -> Precision:
    precision: Precision = values["precision"]
    if values["fp16"] and precision not in ("fp32", "fp16"):
        raise UsageError(f"--fp16 and --precision {precision} exclude each other")
    return "fp16" if values["fp16"] else precision


def _window(session: Segplug, provider: Provider, values: Mapping[str, Any]) -> Window | None:
    """Found out before the build: a window, and a device that can fill it."""
    if not values["show"]:
        return None
    from segplug.runtime.window import Window

    require_device(session.registry, runner_of_maker(provider), values["device"])
    return Window(instead="use segplug run infer with --show-dir to write painted images")


def _images(session: Segplug, values: Mapping[str, Any]) -> tuple[list[Path], Palette]:
    """The images to work on, and colours for them: none of a kind where nothing says what."""
    images = [Path(image) for image in values["input_img"]]
    location = values["dataset"]
    if location is None:
        return images, ()
    if not (Path(location).exists() or session.registry.is_source("load_dataset", location)):
        return images, session.dataset_palette(location)
    dataset = session.load_dataset(location)
    if not images:
        image_path = getattr(dataset, "image_path", None)
        if image_path is None:
            raise UsageError(f"the images of {location} are no files", hint="name some with --input-img")
        count = len(dataset)
        images = [image_path(place * count // _FROM_DATASET) for place in range(_FROM_DATASET)]
        images = list(dict.fromkeys(images))
    return images, dataset.info.palette


def _show(
    session: Segplug,
    provider: Provider,
    window: Window,
    artifact: Artifact,
    subject: Any,
    images: Sequence[Path],
    colours: Palette,
    device: str | None,
) -> None:
    from segplug.parity import both_engines, verification_images
    from segplug.runtime.side_by_side import show_side_by_side

    source = None
    if not isinstance(subject, SegmentationModel):
        subject = Path(subject)
        source = runner_of_source(session.registry, provider, subject)
    runner = runner_of_maker(provider)
    with both_engines(session, subject, artifact, source, runner, device=device) as engines:
        meta = artifact.meta
        shown = verification_images(images, meta, meta.input_size)
        show_side_by_side(window, engines, ((name, image) for name, image, _ in shown), colours)
