"""``analyze serving``: compare a served model's masks with PyTorch's, and measure its latency."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from segplug.errors import UsageError
from segplug.hookspecs import hookimpl
from segplug.limits import MOST_CLIENTS, MOST_RUNS, MOST_THREADS
from segplug.locations import has_scheme
from segplug.options import option
from segplug.providers import Report
from segplug.regular_files import expanded, why_no_file
from segplug.requests import AnalyzeRequest
from segplug.results import AnalyzeReport
from segplug_analysis.bands import BANDS_HELP, checked_bands
from segplug_analysis.model_options import WeightsOptions

if TYPE_CHECKING:
    from segplug.model import ModelMeta, SegmentationModel
    from segplug.session import Session
    from segplug_analysis.serving.mask_checks import MaskChecks
    from segplug_analysis.serving.masks import Masks
    from segplug_analysis.serving.pictures import Picture

__all__ = ["Options", "provider"]


@dataclass(frozen=True)
class Options(WeightsOptions):
    """Options of ``analyze serving``."""

    url: str | None = option(
        None,
        help="The server's address, http://HOST:PORT, with --model-name; or the model's URL for predictions.",
        metavar="URL",
    )
    model_name: str | None = option(None, help="The model's name on the server.", metavar="NAME")
    image: tuple[Path, ...] = option((), help="Images to send. The files are sent unchanged.", metavar="FILE")
    config: str | None = option(
        None, help="Config of the model, to compare with PyTorch. Default: no comparison.", metavar="FILE"
    )
    checkpoint: str | None = option(None, help="Weights of the model of --config.", metavar="FILE")
    precision: Literal["fp32", "fp16", "bf16", "int8"] = option(
        "fp32",
        help="Precision of the served model: it decides how close its masks must be to PyTorch's in fp32.",
    )
    device: str = option("cpu", help="Device of PyTorch: cpu, cuda, cuda:1, ...")
    threads: int | None = option(
        None,
        help="Threads of PyTorch; use the server's number. Default: PyTorch's own.",
        minimum=1,
        maximum=MOST_THREADS,
    )
    token: str | None = option(None, help="Bearer token to send.")
    timeout: float = option(60.0, help="Seconds to wait for an answer.", minimum=0.1, metavar="SECONDS")
    concurrency: tuple[int, ...] = option(
        (1, 2, 4),
        help="Numbers of clients that send at the same time; one level for each number.",
        minimum=1,
        maximum=MOST_CLIENTS,
        metavar="N",
    )
    requests: int = option(
        50, help="Timed requests of each level, all its clients together.", minimum=1, maximum=MOST_RUNS
    )
    warmup: int = option(
        3, help="Untimed requests of each client at the start of a level.", minimum=0, maximum=MOST_RUNS
    )
    pictures: int = option(3, help="Paint this many of the images that differ most.", minimum=0, maximum=100)
    bands: tuple[int, ...] = option((), help=BANDS_HELP, minimum=1, metavar="N")


class ServingReport(Report[Options]):
    """Compares a served model's masks with PyTorch's, and measures the server under load.

    Masks are compared pixel by pixel. Image files are sent unchanged. Every reply is checked: its mask must
    be equal to the first mask of the image. Without --config and --checkpoint the server is only measured.
    The report fails if masks differ by more than rounding explains, or if requests are not answered with a
    mask.
    """

    hook_version = 2
    example = "--url http://127.0.0.1:8080 --model-name street --image photo.jpg"
    options = Options
    needs_subjects = False

    @hookimpl
    def analyze(self, request: AnalyzeRequest[Options]) -> AnalyzeReport:
        """Send, compare and measure; see :func:`segplug.hookspecs.analyze`."""
        from segplug.serving.client import predictions_url
        from segplug_analysis.machine import this_machine
        from segplug_analysis.recorder import record_warnings
        from segplug_analysis.serving.load import Plan, measure
        from segplug_analysis.serving.masks import Masks
        from segplug_analysis.serving.measurements import Measurements
        from segplug_analysis.serving.pictures import first_masks, read_pictures
        from segplug_analysis.serving.report import make_report

        options = request.options
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
        machine = this_machine()
        session, warnings = record_warnings(request.session)
        with plan.client() as client:
            meta = client.meta()
            bands = checked_bands(options.bands, meta)
            pictures = read_pictures(options.image, meta)
            model = _model(session, meta, options)
            masks = Masks(first_masks(client, pictures))
        levels = measure(plan, pictures, masks, session.reporter)
        return make_report(
            Measurements(
                plan=plan,
                meta=meta,
                model=None if model is None else model.meta,
                pictures=pictures,
                levels=levels,
                checks=_check_masks(session, model, pictures, masks, options),
                machine=machine,
                threads=options.threads,
                device=options.device,
                painted=options.pictures,
                bands=bands,
                warnings=tuple(warnings),
            )
        )


def _check(request: AnalyzeRequest[Options], options: Options) -> None:
    if request.subjects:
        raise UsageError(
            f"analyze serving takes no SUBJECT, and {request.subjects[0]} is one",
            hint="name images with --image and the model with --config and --checkpoint",
        )
    if not options.url:
        raise UsageError("no server is named", hint="--url http://127.0.0.1:8080 --model-name NAME")
    if not options.image:
        raise UsageError("no image is named", hint="--image FILE ...")
    if (options.config is None) != (options.checkpoint is None):
        raise UsageError(
            "the comparison with PyTorch needs both the config and its weights",
            hint="--config FILE --checkpoint FILE",
        )
    for image in options.image:
        if reason := why_no_file(expanded(image), "image file"):
            raise UsageError(reason)
    for file in (options.config, options.checkpoint):
        if file is None or has_scheme(file):
            continue
        if reason := why_no_file(expanded(file)):
            raise UsageError(reason)
    if not options.concurrency:
        raise UsageError("name at least one level of --concurrency")
    if options.requests < max(options.concurrency):
        raise UsageError(
            f"{max(options.concurrency)} clients cannot share {options.requests} requests",
            hint="raise --requests, or lower --concurrency",
        )


def _model(session: Session, served: ModelMeta, options: Options) -> SegmentationModel | None:
    """Load the model that PyTorch runs, and warn if it cannot be the served one."""
    if options.config is None:
        return None
    model = session.load_model(
        options.config,
        checkpoint=options.checkpoint,
        device=options.device,
        trust_checkpoint=options.trust_checkpoint,
        allow_nonfinite=options.allow_nonfinite,
        **options.loading(session),
    )
    own = model.meta
    if own.num_classes != served.num_classes:
        session.reporter.warn(
            f"the server's model has {served.num_classes} classes, and {options.config} has {own.num_classes}"
        )
    elif own.classes and served.classes and own.classes != served.classes:
        session.reporter.warn(f"the server's model has other classes than {options.config}")
    weights = {meta.provenance.checkpoint_sha256 for meta in (own, served)} - {None}
    if len(weights) > 1:
        session.reporter.warn(f"the server's model was made from other weights than {options.checkpoint}")
    return model


def _check_masks(
    session: Session,
    model: SegmentationModel | None,
    pictures: tuple[Picture, ...],
    masks: Masks,
    options: Options,
) -> MaskChecks:
    from segplug.engine import REFERENCE_BACKEND
    from segplug_analysis.serving.mask_checks import check_masks
    from segplug_analysis.serving.reference import Reference

    if model is None:
        return check_masks(pictures, masks, None)
    with session.open(
        model, backend=REFERENCE_BACKEND, device=options.device, threads=options.threads
    ) as engine:
        return check_masks(pictures, masks, Reference(engine, options.precision, session.reporter))


provider = ServingReport()
