"""``segplug infer <target> ARTIFACT|CONFIG``: run, score, paint, write."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segplug.api import Segplug
from segplug.api.early import check_checkpoint, check_run
from segplug.api.subjects import request_field
from segplug.cli.invocation import Invocation
from segplug.cli.model import (
    allow_nonfinite_option,
    cfg_options_option,
    load_model,
    model_options,
    trust_artifact_option,
    tta_option,
)
from segplug.cli.output import Output
from segplug.cli.parameters import (
    FiniteNumber,
    FiniteRange,
    Flag,
    GreedyOption,
    WholeRange,
    force_option,
    key_values,
    on_error_option,
    threads_option,
)
from segplug.cli.pictures import (
    check_masks,
    check_pictures,
    picture_options,
    picture_sinks,
    report_options,
    report_sinks,
)
from segplug.errors import UsageError
from segplug.files import refuse_input
from segplug.groups import EXECUTOR_HOOK
from segplug.installed import Provider
from segplug.limits import MOST_BATCH
from segplug.options import as_keywords
from segplug.registry.formats import makers_of
from segplug.results import Table
from segplug.text import counted

if TYPE_CHECKING:
    from segplug.dataset import Dataset
    from segplug.scores import RunReport, Scores
    from segplug.sink import Sink

__all__ = ["example", "parameters", "run"]

_METRICS = ("mIoU", "mDice", "mFscore")

_WRITTEN = ("format_only", "out", "confidence", "color", "show_dir", "report")
_WORK = ("eval", *_WRITTEN, "show")
"""The flags that ask for something."""
_FOLDERS = ("format_only", "color", "show_dir")
"""The flags that name a folder for pictures, which are called as the images are."""


def parameters(provider: Provider) -> list[click.Parameter]:
    """The arguments and flags of every backend."""
    folder = click.Path(path_type=Path, file_okay=False)
    subject = {"model": "CONFIG", "url": "URL"}.get(provider.takes, "ARTIFACT")
    return [
        click.Argument(["subject"], metavar=subject),
        *(
            model_options(scores=True)
            if provider.takes == "model"
            else [cfg_options_option(), allow_nonfinite_option(scores=True)]
        ),
        *([trust_artifact_option()] if provider.takes == "artifact" else []),
        Flag(
            ["--dataset"],
            group="data",
            metavar="CONFIG|FOLDER",
            help="The data set: the test data of a config, a folder of images (and masks), or what another "
            "installed source reads, such as a Parquet file.",
        ),
        GreedyOption(
            ["--input-img"], group="data", metavar="IMAGE", help="Images to run on, in place of a data set."
        ),
        Flag(
            ["--dataset-source"],
            group="data",
            metavar="NAME",
            help="The source that reads the data set, if several can.",
        ),
        GreedyOption(
            ["--dataset-options"],
            group="data",
            key_values=True,
            metavar="KEY=VALUE",
            help="Options of the source that reads the data set (segplug plugins show NAME, such as folder).",
        ),
        GreedyOption(
            ["--eval"],
            group="output",
            type=click.Choice(_METRICS),
            metavar="METRIC",
            help="Metrics to score: mIoU mDice mFscore.",
        ),
        Flag(
            ["--nan-to-num"],
            group="output",
            type=FiniteNumber(),
            help="Score of a class that does not occur. Default: the data set's own, else left out of means.",
        ),
        Flag(
            ["--beta"],
            group="output",
            type=FiniteRange(0, min_open=True),
            help="Weight of recall in the F-score of mFscore. Default: the data set's own, else 1.",
        ),
        Flag(
            ["--format-only"],
            group="output",
            type=folder,
            help="Write a label map for each image, in the form that the data set's evaluation server takes.",
        ),
        Flag(
            ["--label-suffix"],
            group="output",
            type=click.Choice([".png", ".tif"]),
            default=".png",
            show_default=True,
            help="The format of the label maps; a .tif keeps the georeference of its image.",
        ),
        Flag(
            ["--out"],
            group="output",
            type=click.Path(path_type=Path),
            help="Write all label maps to this .npz file.",
        ),
        Flag(
            ["--confidence"],
            group="output",
            type=folder,
            help="Write the probability of each pixel's label to this folder: .npy, float32, 0 to 1.",
        ),
        Flag(
            ["--unknown-below"],
            group="output",
            type=FiniteRange(0, 1),
            metavar="P",
            help="Turn labels that are less probable than P into the ignored label of the data set.",
        ),
        *picture_options(),
        *report_options(),
        tta_option(),
        Flag(
            ["--device"],
            group="backend",
            default=provider.entry.facts.default_device,
            show_default=True,
            help="cpu, cuda, cuda:1, ...",
        ),
        threads_option(),
        Flag(
            ["--batch-size"],
            group="backend",
            type=WholeRange(1, MOST_BATCH),
            default=1,
            show_default=True,
            help="Images of equal size that are run together.",
        ),
        on_error_option("image or mask"),
        Flag(
            ["--executor"],
            group="run",
            metavar="TARGET",
            default="local",
            show_default=True,
            help="What runs the job: local, in this process, or an installed executor.",
        ),
        GreedyOption(
            ["--executor-options"],
            group="run",
            key_values=True,
            metavar="KEY=VALUE",
            help="Options of the executor (segplug plugins show NAME).",
        ),
        Flag(["--resume"], group="run", is_flag=True, help="Continue an interrupted run of the same kind."),
        force_option("Replace the output of --out and --report if it exists."),
    ]


def example(provider: Provider) -> str:
    """Paint a photo."""
    if provider.takes == "model":
        subject = "CONFIG.py --checkpoint WEIGHTS.pth"
    elif provider.takes == "url":
        subject = "http://127.0.0.1:8080"
    else:
        (format, *_) = provider.entry.facts.reads
        (suffix, *_) = [*(maker.facts.suffix for maker in makers_of(format)), f".{format}"]
        subject = f"model{suffix}"
    return f"{subject} --input-img photo.jpg --show-dir painted"


def run(call: Invocation) -> int:
    """Run the engine on the images and do what was asked with the results."""
    output, values = call.output, call.values
    # An OpenMP runtime (PyTorch's, for one) otherwise spins while it waits, on the processors that read
    # and score: measured 1.2 to 2.5 times slower. It reads this once, when its library is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _check(call.provider, values)
    executor = call.session.registry.provider(EXECUTOR_HOOK, values["executor"])
    executor_options = key_values(values["executor_options"], flag="--executor-options")
    what: Any = values["subject"]
    # All that can be wrong is found before the model is loaded, which takes a while.
    call.provider.make_options(dict(call.own))
    executor.make_options(dict(executor_options))
    if call.provider.takes == "model":
        check_checkpoint(values["checkpoint"])
    else:
        request_field(call.provider, what)
    sinks, dataset = _sinks(call.provider, values), _dataset(call.session, values)
    check_masks(values, dataset)
    check_run(call.provider, executor, dataset, metrics=values["eval"], device=values["device"])
    if call.provider.takes == "model":
        what = load_model(call.session, what, values)
    report = call.session.evaluate(
        what,
        backend=call.provider,
        dataset=dataset,
        metrics=values["eval"],
        sinks=sinks,
        device=values["device"],
        threads=values["threads"],
        batch_size=values["batch_size"],
        on_error=values["on_error"],
        resume=values["resume"],
        tta=values["tta"],
        unknown_below=values["unknown_below"],
        allow_nonfinite=values["allow_nonfinite"],
        nan_to_num=values["nan_to_num"],
        beta=values["beta"],
        executor=executor,
        executor_options=executor_options,
        trust_artifact=values.get("trust_artifact", False),
        **call.own,
    )
    if call.choice:
        output.say(call.choice)
    _print(output, values, report)
    output.document(_document(call.provider.entry.target, report))
    return 0


def _check(provider: Provider, values: Mapping[str, Any]) -> None:
    if not any(values[name] for name in _WORK):
        flags = ["--" + name.replace("_", "-") for name in _WORK]
        raise UsageError("nothing to do", hint=f"add {', '.join(flags[:-1])} or {flags[-1]}")
    if values["eval"] and values["format_only"]:
        raise UsageError("--eval and --format-only exclude each other", hint="run once for each")
    if values["label_suffix"] != ".png" and not values["format_only"]:
        raise UsageError("--label-suffix is the format of label maps", hint="add --format-only FOLDER")
    check_pictures(values)
    _check_places(values)
    if values["dataset"] and values["input_img"]:
        raise UsageError("--dataset and --input-img exclude each other")
    if values["eval"] and values["input_img"]:
        raise UsageError("--eval needs masks", hint="give a --dataset in place of --input-img")
    plain = values["input_img"] or (values["dataset"] and Path(values["dataset"]).is_dir())
    if plain and values["cfg_options"] and provider.takes != "model":
        raise UsageError("--cfg-options changes a config, and there is none here")
    if provider.takes != "model" and not (values["dataset"] or values["input_img"]):
        raise UsageError("nothing to run on", hint="add --dataset CONFIG|FOLDER or --input-img IMAGE ...")


def _check_places(values: Mapping[str, Any]) -> None:
    """Refuse outputs that would take the place of another, or of an input."""
    flags: dict[Path, str] = {}
    for name in _FOLDERS:
        if values[name]:
            flag = "--" + name.replace("_", "-")
            other = flags.setdefault(values[name].resolve(), flag)
            if other != flag:
                raise UsageError(
                    f"{other} and {flag} write files of the same names to {values[name]}",
                    hint="give each a folder of its own",
                )
    inputs = [values.get(name) for name in ("subject", "checkpoint", "palette")]
    for name in ("out", "report"):
        if values[name]:
            refuse_input(values[name], [*inputs, *(values["input_img"] or ())])


def _dataset(session: Segplug, values: Mapping[str, Any]) -> Dataset:
    if values["input_img"]:
        from segplug.runtime.folder import ImageList

        return ImageList([Path(image) for image in values["input_img"]])
    options = key_values(values["dataset_options"], flag="--dataset-options")
    return session.load_dataset(
        values["dataset"] or values["subject"],
        source=values["dataset_source"],
        cfg_options=key_values(values["cfg_options"], flag="--cfg-options"),
        **as_keywords(options, session.load_dataset, flag="--dataset-options"),
    )


def _sinks(provider: Provider, values: Mapping[str, Any]) -> list[Sink]:
    from segplug.runtime.confidence import ConfidenceSink
    from segplug.runtime.raw import RawSink
    from segplug.runtime.sinks import LabelMapSink

    chosen: list[Sink] = []
    if values["format_only"]:
        chosen.append(LabelMapSink(values["format_only"], suffix=values["label_suffix"]))
    if values["out"]:
        chosen.append(RawSink(values["out"], force=values["force"]))
    if values["confidence"]:
        chosen.append(ConfidenceSink(values["confidence"]))
    return [*chosen, *picture_sinks(values), *report_sinks(values, provider)]


def _print(output: Output, values: Mapping[str, Any], report: RunReport) -> None:
    if report.scores is not None:
        _print_scores(output, report.scores)
    if report.skipped:
        rows = tuple((item.name, item.reason) for item in report.skipped)
        output.table(Table(f"{len(rows)} skipped", ("image", "why"), rows))
    resumed = f", {report.resumed} of them from the interrupted run" if report.resumed else ""
    output.say(f"{counted(report.images, 'image')}{resumed}, {report.images_per_second:.1f} images/s")
    if report.unknown_share is not None:
        limit = values["unknown_below"]
        output.say(
            f"unknown: {report.unknown_share:.1%} of the pixels have labels less probable than {limit:g}"
        )
    if report.views:
        output.say(
            f"test-time augmentation: the probabilities of {counted(report.views, 'view')} are averaged"
        )
    if report.views_left_out:
        output.say(
            "without the test-time augmentation of the model's pipeline "
            f"({counted(report.views_left_out, 'view')})"
        )
    for line in report.approximations:
        output.say(f"approximate: {line}")
    for name in _WRITTEN:
        if values[name]:
            output.say(f"wrote {values[name]}")


def _print_scores(output: Output, scores: Scores) -> None:
    names = tuple(scores.per_class)
    rows = zip(scores.classes, *scores.per_class.values(), strict=True)
    output.table(Table("per class", ("class", *names), tuple(rows)))
    summary = {name: value for name, value in scores.metrics.items() if "." not in name}
    output.table(Table("in all", tuple(summary), (tuple(summary.values()),)))
    if "aAcc" not in summary:
        output.say("no aAcc: a pixel may have several classes, and each class is scored alone")


def _document(backend: str, report: RunReport) -> dict[str, Any]:
    """The report as JSON types, its scores under their usual names."""
    scores = None if report.scores is None else dict(report.scores.metrics)
    return {"backend": backend, **report.to_dict(), "scores": scores}
