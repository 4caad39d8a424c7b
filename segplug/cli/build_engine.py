"""``segplug build_engine <target> ARTIFACT|CONFIG``: build, verify, show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segplug.api import Segplug
from segplug.api.early import check_checkpoint, check_making, least_weights
from segplug.api.making import ensure_output
from segplug.api.subjects import existing
from segplug.cli.artifacts import (
    artifact_options,
    precision_of,
    report_artifact,
    report_verification,
    report_written,
    thresholds_of,
)
from segplug.cli.invocation import Invocation
from segplug.cli.model import load_model, model_options, trust_artifact_option
from segplug.cli.parameters import Flag, bands_option
from segplug.errors import UsageError
from segplug.installed import Provider
from segplug.model import SegmentationModel
from segplug.registry.formats import backend_of_input, require_device, verification_backend
from segplug.results import Artifact

if TYPE_CHECKING:
    from segplug.palette import Palette
    from segplug.runtime.display import DisplayWindow

__all__ = ["example", "parameters", "run"]

_FROM_DATASET = 128
"""How many images of a data set are used, evenly spread. All images of --input-img are used."""


def parameters(provider: Provider) -> list[click.Parameter]:
    """The arguments and flags of every engine builder."""
    from_model = provider.takes == "model"
    return [
        click.Argument(["subject"], metavar="CONFIG" if from_model else "ARTIFACT"),
        *(model_options() if from_model else [trust_artifact_option()]),
        *artifact_options(
            provider,
            images="Real images: --verify compares on them, --show shows them, int8 is calibrated on them.",
            verify="Run the engine here, compare it with ARTIFACT or CONFIG; exit with 1 if that fails.",
        ),
        Flag(
            ["--dataset"],
            group="data",
            metavar="CONFIG|FOLDER|NAME",
            help="A data set: its images are used without --input-img, its colours by --show. The name of a "
            "data set in the framework (CityscapesDataset) gives colours only.",
        ),
        Flag(
            ["--show"],
            group="output",
            is_flag=True,
            help="Show each image in a window, with the labels of ARTIFACT or CONFIG and of the engine.",
        ),
        bands_option("--show shows"),
        Flag(
            ["--device"],
            group="backend",
            help="The device that the engine will run on. Default: the target's own.",
        ),
    ]


def example(provider: Provider) -> str:
    """Build an engine, and verify."""
    facts = provider.entry.facts
    subject = "CONFIG.py --checkpoint WEIGHTS.pth" if provider.takes == "model" else "model.onnx"
    verify = " --verify" if facts.verify_with else ""
    return f"{subject} --output model{facts.suffix}{verify}"


def run(call: Invocation) -> int:
    """Build, verify and show if asked, and report what was written."""
    output, values = call.output, call.values
    precision = precision_of(call.provider, values)
    thresholds = thresholds_of(values, precision)
    subject: Any = values["subject"]
    from_model = call.provider.takes == "model"
    checkpoint = values["checkpoint"] if from_model else None
    if from_model:
        check_checkpoint(checkpoint)
    else:
        existing(Path(subject))
    ensure_output(call.provider, values["output"], force=values["force"])
    window = _window(call.session, call.provider, values)
    images, colours = _images(call.session, values)
    check_making(
        call.session.registry,
        call.provider,
        output=values["output"],
        inputs=[subject, checkpoint],
        precision=precision,
        images=images,
        verify=values["verify"],
        force=values["force"],
        options=call.own,
        device=values["device"],
        weights=least_weights(checkpoint),
    )
    if from_model:
        subject = load_model(call.session, subject, values)
    artifact = call.session.build_engine(
        call.provider,
        subject,
        output=values["output"],
        precision=precision,
        device=values["device"],
        force=values["force"],
        images=images,
        verify=values["verify"],
        thresholds=thresholds,
        trust_artifact=values.get("trust_artifact", False),
        **call.own,
    )
    report_written(output, artifact)
    report_verification(output, artifact)
    if window is not None:
        _show(call, window, artifact, subject, images, colours)
    return report_artifact(output, artifact, verify=values["verify"])


def _window(session: Segplug, provider: Provider, values: Mapping[str, Any]) -> DisplayWindow | None:
    """A window for --show, opened before the build, if the engine can run on this machine."""
    if not values["show"]:
        return None
    from segplug.preprocessing import Decoding
    from segplug.runtime.display import DisplayWindow
    from segplug.runtime.view import Viewer

    Viewer(Decoding(), values["bands"] or None)  # refuses another number of bands before anything is built

    require_device(verification_backend(session.registry, provider.entry), values["device"])
    return DisplayWindow(instead="use segplug infer with --show-dir to write painted images")


def _images(session: Segplug, values: Mapping[str, Any]) -> tuple[list[Path], Palette]:
    """The images to use and the colours of the classes; either may be empty."""
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
    call: Invocation,
    window: DisplayWindow,
    artifact: Artifact,
    subject: Any,
    images: Sequence[Path],
    colours: Palette,
) -> None:
    from segplug.runtime.side_by_side import show_side_by_side
    from segplug.verification.run import both_engines, verification_images

    session, provider, device = call.session, call.provider, call.values["device"]
    reference_backend = None
    if not isinstance(subject, SegmentationModel):
        subject = Path(subject)
        reference_backend = backend_of_input(session.registry, provider.entry, subject)
    backend = verification_backend(session.registry, provider.entry)
    with both_engines(
        session,
        subject,
        artifact,
        reference_backend,
        backend,
        device=device,
        trust_artifact=True,  # this call has made it
        trust_reference=call.values.get("trust_artifact", False),
    ) as engines:
        meta = artifact.meta
        shown = verification_images(images, meta, meta.input_size)
        pictures = ((name, image) for name, image, _ in shown)
        show_side_by_side(window, engines, pictures, colours, call.values["bands"] or None)
