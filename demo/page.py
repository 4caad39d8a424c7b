"""The demo's page: what was done, the scores, the verification, some scenes, and what to try next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image
from scenes import CLASSES, PALETTE

from scripts.breadth.facts import ECOSYSTEMS
from scripts.breadth.picture import describe, draw
from scripts.breadth.table import COLUMNS, measured
from segplug.files import write_text
from segplug.legend import LegendEntry
from segplug.reports.document import Code, Legend, Page, Picture, Pictures, Prose, Section, render
from segplug.results import Figure, Table
from segplug.runtime.drawing import mark_differences
from segplug.runtime.paint import Painter

Image = npt.NDArray[np.uint8]

COLOURS = tuple((red, green, blue) for red, green, blue in PALETTE)
WIDTH = 96
"""Characters of a line of code on the page."""

IGNORED = 255
"""No pixel of the demo's masks has it."""


@dataclass(frozen=True)
class Step:
    """A step of the demo that was done."""

    title: str
    commands: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Backend:
    """What scored the scenes."""

    name: str
    report: Mapping[str, Any]
    """The JSON of ``segplug infer``."""
    file: Path


@dataclass(frozen=True)
class Job:
    """All that the page tells; files are relative to the repository's root."""

    steps: tuple[Step, ...]
    verification: Mapping[str, Any]
    """The verification in the JSON of ``segplug export``."""
    backends: tuple[Backend, ...]
    model: Path
    """The exported file."""
    scenes: Path
    """The folder of the images; the masks are in the one beside it."""
    program: str
    """How ``segplug`` is called."""

    @property
    def next_commands(self) -> tuple[str, ...]:
        """What a user may try with the exported file."""
        scene = self.scenes / "0007.png"
        return (
            f"{self.program} predict {self.model} {scene} --output {self.model.parent}/predictions --force",
            f"{self.program} serve {self.model} --samples {self.scenes}",
            f"{self.program} info {self.model}",
        )


@dataclass(frozen=True)
class Scene:
    """A scene with its label maps, and the share of its pixels that are labelled right."""

    name: str
    image: Image
    truth: Image
    labels: Image
    right: float


def write_page(job: Job, path: Path, *, labels: Path) -> None:
    """Write the page, over an older one.

    Args:
        job: What the page tells.
        path: The file.
        labels: The folder of the label maps that the model gave, named as the scenes.
    """
    page = Page(
        "A segmentation model, exported, verified and scored",
        lead=(
            "The demo of segplug. A small DeepLabV3+ of mmsegmentation, trained on drawn street scenes, "
            "became one ONNX file, which was compared with PyTorch and scored on the same scenes."
        ),
        command="make demo",
        sections=(
            Section("What was done", _steps(job)),
            Section("Scores", _scores(job)),
            Section("Does the file compute what PyTorch computes?", _verification(job.verification)),
            Section("Scenes", _scenes(job, labels)),
            Section("Try this model", _next(job)),
            Section("Your own model", _own(job)),
            Section("What else it takes", _breadth()),
        ),
    )
    write_text(path, render(page), force=True)


def summary(job: Job) -> Table:
    """The scores of all classes, speeds and sizes, side by side."""
    rows = tuple(
        (
            backend.name,
            *(backend.report["scores"][key] for key in ("mIoU", "mAcc", "aAcc")),
            backend.report["images_per_second"],
            backend.file.stat().st_size / 1e6,
        )
        for backend in job.backends
    )
    return Table("All classes", ("backend", "mIoU", "mAcc", "aAcc", "images per second", "MB"), rows)


def _steps(job: Job) -> tuple[Table | Code | Prose, ...]:
    rows = tuple((number, step.title, round(step.seconds)) for number, step in enumerate(job.steps, 1))
    commands = {
        f"{number}. {step.title.partition(':')[0]}": step.commands
        for number, step in enumerate(job.steps, 1)
        if step.commands
    }
    return (
        Table("", ("step", "what", "seconds"), rows),
        Prose("The commands, to be typed in the root of the repository:"),
        _commands(commands),
    )


def _commands(groups: Mapping[str, Sequence[str]]) -> Code:
    """Commands under comments; a long one goes on after a backslash, so that it can be read and pasted."""
    blocks = (
        "\n".join((f"# {comment}", *(_folded(command) for command in commands)))
        for comment, commands in groups.items()
    )
    return Code("\n\n".join(blocks), "bash")


def _folded(command: str) -> str:
    first, *flags = command.split(" --")
    lines = [first]
    for flag in (f"--{flag}" for flag in flags):
        if len(lines[-1]) + 1 + len(flag) > WIDTH:
            lines.append(f"    {flag}")
        else:
            lines[-1] += f" {flag}"
    return " \\\n".join(lines)


def _scores(job: Job) -> tuple[Prose | Table, ...]:
    found = [backend.report["scores"] for backend in job.backends]
    names = tuple(f"IoU, {backend.name}" for backend in job.backends)
    classes = tuple(
        (name, *values, max(values) - min(values))
        for name in CLASSES
        for values in [[scores[f"IoU.{name}"] for scores in found]]
    )
    return (
        Prose(
            f"{job.backends[0].report['images']} scenes, scored as mmsegmentation does it. mIoU is the "
            "mean of the classes' intersection over union, mAcc the mean of their accuracies, and aAcc the "
            "share of all pixels that are labelled right."
        ),
        summary(job),
        Table("Each class", ("class", *names, "difference"), classes),
    )


def _verification(found: Mapping[str, Any]) -> tuple[Prose | Table, ...]:
    row, column = found["worst_pixel"] or ("-", "-")
    limits = found["thresholds"]
    rows = (
        (
            "inputs compared",
            str(len(found["inputs"])),
            "batch x height x width: " + ", ".join(found["inputs"]),
        ),
        ("pixels compared", f"{found['pixels']:,}", "the pixels of all inputs"),
        (
            "labels that agree",
            f"{found['label_agreement']:.4%}",
            f"mIoU between the two: {found['miou']:.6f}; at least {limits['miou']:g} is asked",
        ),
        (
            "the same, away from near-ties",
            f"{found['firm_agreement']:.4%}",
            f"{limits['firm_agreement']:.0%} is asked",
        ),
        (
            "near-ties",
            f"{found['near_ties']:.4%}",
            "pixels with two classes so close that rounding may choose between them",
        ),
        (
            "largest difference of logits",
            f"{found['max_logit_difference']:.2e}",
            f"in {found['worst_input']}, row {row}, column {column}",
        ),
        (
            "as a share of their range",
            f"{found['relative_difference']:.2e}",
            f"at most {limits['logits']:g} is asked",
        ),
    )
    verdict = "Yes, within rounding" if found["passed"] else "NO"
    return (
        Prose(
            f"{verdict}. Both got the same inputs, of several sizes and batches, since the file takes any "
            "size. Logits and labels were compared pixel by pixel. The file keeps this result."
        ),
        Table("", ("what", "value", "meaning"), rows),
    )


def _scenes(job: Job, labels: Path) -> tuple[Prose | Legend | Pictures, ...]:
    scenes = sorted(_read_scenes(job, labels), key=lambda scene: scene.right)
    shown = {"Worst": scenes[0], "Middle": scenes[len(scenes) // 2], "Best": scenes[-1]}
    parts: list[Prose | Legend | Pictures] = [
        Prose(
            "The worst, the middle and the best by the share of pixels that are labelled right. Truth and "
            "prediction are painted over the scene; the difference shows in vermilion what is wrong."
        ),
        Legend(
            tuple(
                LegendEntry(label, name, colour)
                for label, (name, colour) in enumerate(zip(CLASSES, COLOURS, strict=True))
            )
        ),
    ]
    for rank, scene in shown.items():
        parts.append(Prose(f"{rank}: {scene.name}, {scene.right:.1%} of the pixels are right"))
        parts.append(Pictures(_pictures(scene), are_one_row=True))
    return tuple(parts)


def _read_scenes(job: Job, labels: Path) -> list[Scene]:
    masks = job.scenes.parents[1] / "masks" / job.scenes.name
    scenes = []
    for file in sorted(job.scenes.iterdir()):
        image = np.asarray(cv2.imread(str(file)), np.uint8)
        # Pillow gives the values of a PNG with a palette, OpenCV its colours.
        truth, predicted = (np.asarray(PIL.Image.open(folder / file.name)) for folder in (masks, labels))
        scenes.append(Scene(file.name, image, truth, predicted, float((truth == predicted).mean())))
    return scenes


def _pictures(scene: Scene) -> tuple[Picture, ...]:
    paint = Painter(COLOURS, opacity=0.6)
    panels = {
        "image": scene.image,
        "truth": paint(scene.image, scene.truth),
        "prediction": paint(scene.image, scene.labels),
        "difference": mark_differences(scene.image, scene.labels, scene.truth, ignored=IGNORED),
    }
    return tuple(
        Picture(name, _jpeg(panel), "image/jpeg", alt=f"{scene.name}: {name}")
        for name, panel in panels.items()
    )


def _jpeg(picture: Image) -> bytes:
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


def _next(job: Job) -> tuple[Code | Prose, ...]:
    predict, serve, info = job.next_commands
    page = (
        f"{job.program} infer {job.model} --dataset demo/config.py --eval mIoU "
        f"--report {job.model.parent}/report.html --force"
    )
    return (
        _commands(
            {
                "Paint an image, with a legend; a photo and a folder work, too": (predict,),
                "A page to drop a photo on, at http://127.0.0.1:8080": (serve,),
                "What the file says of itself": (info,),
                "One page with the confusion matrix, the worst and the best images": (page,),
            }
        ),
    )


def _own(job: Job) -> tuple[Code | Prose, ...]:
    export = f"{job.program} export onnx"
    normalisation = "--mean 123.675 116.28 103.53 --std 58.395 57.12 57.375"
    module = (
        f"{export} python:nets.unet:build --checkpoint WEIGHTS.pth --output model.onnx --dynamic --verify "
        f"{normalisation} --classes sky road car"
    )
    foreign = f"{job.program} predict FOREIGN.onnx PHOTO.jpg --output-kind logits {normalisation}"
    return (
        Prose("Replace the names in capitals, and what belongs to your network."),
        _commands(
            {
                "A config and a checkpoint of mmsegmentation 0.x": (
                    f"{export} CONFIG.py --checkpoint WEIGHTS.pth --output model.onnx --dynamic --verify",
                    f"{job.program} predict model.onnx PHOTO.jpg",
                ),
                "A plain PyTorch module, which the function build() in nets/unet.py makes": (module,),
                "An ONNX file of another tool: what is in it, and a photo painted with it": (
                    f"{job.program} info FOREIGN.onnx",
                    foreign,
                ),
                "Scores on a folder of your images and masks": (
                    f"{job.program} infer model.onnx --dataset FOLDER --eval mIoU",
                ),
            }
        ),
        Prose(
            "README.md says how to install segplug for what you need; the folder docs has the rest. "
            f"{job.program} --help lists all commands."
        ),
    )


def _breadth() -> tuple[Code | Figure | Prose | Table, ...]:
    rows = tuple((kind.name, kind.given.replace("`", ""), measured(kind)) for kind in ECOSYSTEMS)
    return (
        Prose(
            "Each network that is counted was exported with fixed sizes (static), with free sizes (dynamic) "
            "and for sliding windows, and each file compared with the network in its own framework. "
            "docs/support-matrix.md has all that was measured."
        ),
        Table("", tuple(column for column in COLUMNS if column != "command"), rows),
        _commands({kind.name: (kind.command,) for kind in ECOSYSTEMS}),
        Figure(
            "From models at the top to where they run at the bottom",
            lambda: draw(for_page=True).encode(),
            "image/svg+xml",
            describe(),
        ),
    )
