"""``analyze serving``: a served model's masks beside PyTorch's, its latency, and where its time goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segplug.errors import UsageError
from segplug.hookspecs import hookimpl
from segplug.options import option
from segplug.requests import AnalyzeRequest
from segplug.results import AnalyzeReport

if TYPE_CHECKING:
    from segplug.model import ModelMeta, SegmentationModel
    from segplug.session import Session
    from segplug_analysis.serving.judge import Judgement
    from segplug_analysis.serving.masks import Masks
    from segplug_analysis.serving.pictures import Picture

__all__ = ["Options", "provider"]


@dataclass(frozen=True)
class Options:
    """Options of ``analyze serving``."""

    url: str | None = option(
        None,
        help="The server's address, http://HOST:PORT, with --model-name; or that of the model's predictions.",
        metavar="URL",
    )
    model_name: str | None = option(None, help="What the server calls the model.", metavar="NAME")
    image: tuple[Path, ...] = option((), help="Images to send, as they lie on disk.", metavar="FILE")
    config: str | None = option(
        None, help="Config of the model whose masks PyTorch computes; default: no comparison.", metavar="FILE"
    )
    checkpoint: str | None = option(None, help="Its weights.", metavar="FILE")
    cfg_options: Mapping[str, Any] | None = option(None, help="Override settings of the config.")
    source: str | None = option(None, help="The source that reads the config.", metavar="NAME")
    trust_checkpoint: bool = option(
        False, help="Load a checkpoint that holds more than plain data. It can run code."
    )
    precision: Literal["fp32", "fp16", "bf16", "int8"] = option(
        "fp32", help="Of the served model: says how near its masks must be to those of PyTorch in fp32."
    )
    device: str = option("cpu", help="Where PyTorch computes: cpu, cuda, cuda:1, ...")
    threads: int | None = option(
        None, help="Threads of PyTorch, as many as the server's; default: its own.", minimum=1
    )
    token: str | None = option(None, help="Sent as a bearer token.")
    timeout: float = option(60.0, help="Seconds to wait for an answer.", minimum=0.1, metavar="SECONDS")
    concurrency: tuple[int, ...] = option(
        (1, 2, 4), help="Clients that send at the same time, a level each.", minimum=1, metavar="N"
    )
    requests: int = option(50, help="Timed requests of each level, of all its clients together.", minimum=1)
    warmup: int = option(3, help="Untimed requests of each client before a level.", minimum=0)
    pictures: int = option(3, help="Paint this many of the images that differ most.", minimum=0, maximum=100)


class ServingReport:
    """Compares a served model's masks with PyTorch's, pixel by pixel, and measures the server under load.

    Images are sent as they lie on disk. Every reply is checked: one that holds another mask than the first
    for its image is seen. Without --config and --checkpoint only the server is measured. The report fails
    where masks differ by more than rounding explains, or requests are not answered.
    """

    api_version = 1
    options = Options
    needs_subjects = False

    @hookimpl
    def analyze(self, request: AnalyzeRequest) -> AnalyzeReport:
        """Ask, compare and measure; see :func:`segplug.hookspecs.analyze`."""
        from segplug.serving.client import predictions_url
        from segplug_analysis.benchmark.machine import this_machine
        from segplug_analysis.parity.recorder import recorded
        from segplug_analysis.serving.found import Found
        from segplug_analysis.serving.load import Plan, measure
        from segplug_analysis.serving.masks import Masks
        from segplug_analysis.serving.pictures import first_masks, read_pictures
        from segplug_analysis.serving.report import make_report

        options: Options = request.options or Options()
        _check(request, options)
        plan = Plan(
            url=predictions_url(
                str(options.url), options.model_name, token=options.token, timeout=options.timeout
            ),
            token=options.token,
            timeout=options.timeout,
            concurrency=tuple(dict.fromkeys(options.concurrency)),
            requests=options.requests,
            warmup=options.warmup,
        )
        pictures = read_pictures(options.image)
        machine = this_machine()
        session, warnings = recorded(request.session)
        with plan.client() as client:
            meta = client.meta()
            model = _model(session, meta, options)
            masks = Masks(first_masks(client, pictures))
        levels = measure(plan, pictures, masks, session.reporter)
        return make_report(
            Found(
                plan=plan,
                meta=meta,
                model=None if model is None else model.meta,
                pictures=pictures,
                levels=levels,
                judgement=_judge(session, model, pictures, masks, options),
                machine=machine,
                threads=options.threads,
                device=options.device,
                painted=options.pictures,
                warnings=tuple(warnings),
            )
        )


def _check(request: AnalyzeRequest, options: Options) -> None:
    if request.subjects:
        raise UsageError(
            f"analyze serving is about a server, not about {request.subjects[0]}",
            hint="name images with --image and the model with --config and --checkpoint",
        )
    if not options.url:
        raise UsageError("say which server", hint="--url http://127.0.0.1:8080 --model-name NAME")
    if not options.image:
        raise UsageError("there is nothing to send", hint="--image FILE ...")
    if (options.config is None) != (options.checkpoint is None):
        raise UsageError(
            "PyTorch's masks need both the config and its weights", hint="--config FILE --checkpoint FILE"
        )
    for file in (options.config, options.checkpoint):
        if file is not None and not Path(file).expanduser().is_file():
            raise UsageError(f"there is no file {file}")
    if not options.concurrency:
        raise UsageError("name at least one level of --concurrency")
    if options.requests < max(options.concurrency):
        raise UsageError(
            f"{max(options.concurrency)} clients cannot share {options.requests} requests",
            hint="raise --requests, or lower --concurrency",
        )


def _model(session: Session, served: ModelMeta, options: Options) -> SegmentationModel | None:
    """The model that PyTorch runs, with a warning where it cannot be the one that is served."""
    if options.config is None:
        return None
    model = session.load_model(
        options.config,
        checkpoint=options.checkpoint,
        cfg_options=options.cfg_options,
        source=options.source,
        device=options.device,
        trust_checkpoint=options.trust_checkpoint,
    )
    own = model.meta
    if own.num_classes != served.num_classes:
        session.reporter.warn(
            f"the server's model has {served.num_classes} classes, that of {options.config} {own.num_classes}"
        )
    elif own.classes and served.classes and own.classes != served.classes:
        session.reporter.warn(f"the server's model has other classes than that of {options.config}")
    weights = {meta.provenance.checkpoint_sha256 for meta in (own, served)} - {None}
    if len(weights) > 1:
        session.reporter.warn(f"the server's model was made of another file than {options.checkpoint}")
    return model


def _judge(
    session: Session,
    model: SegmentationModel | None,
    pictures: tuple[Picture, ...],
    masks: Masks,
    options: Options,
) -> Judgement:
    from segplug.engine import REFERENCE_BACKEND
    from segplug_analysis.serving.judge import judge
    from segplug_analysis.serving.reference import Reference

    if model is None:
        return judge(pictures, masks, None)
    with session.open(
        model, backend=REFERENCE_BACKEND, device=options.device, threads=options.threads
    ) as engine:
        return judge(pictures, masks, Reference(engine, options.precision, session.reporter))


provider = ServingReport()
