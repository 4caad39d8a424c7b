"""``convert_weights publish``: a checkpoint without training state, with its hash in its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.artifact import file_sha256
from segplug.checkpoint import PICKLES, SAFETENSORS, read_checkpoint, refuse_nonfinite
from segplug.errors import CheckpointError, UsageError
from segplug.hookspecs import hookimpl
from segplug.options import option
from segplug.providers import WeightConverter
from segplug.requests import ConvertWeightsRequest
from segplug.results import ConversionReport, Table

if TYPE_CHECKING:
    from segplug_analysis.publish.averages import Averages
    from segplug_analysis.publish.contents import Published

__all__ = ["Options", "provider"]

_HASH_DIGITS = 8


@dataclass(frozen=True)
class Options:
    """Options of ``convert_weights publish``."""

    ema: bool = option(
        False,
        help="Publish the weights averaged over training, if the file has them beside the last weights.",
    )
    safetensors: bool = option(False, help="Write a .safetensors file. This format cannot hold code.")
    trust_checkpoint: bool = option(
        False, help="Read a checkpoint that holds more than plain data. It can run code."
    )
    allow_nonfinite: bool = option(
        False, help="Publish weights that are NaN or infinite, too, in place of an error."
    )


class Publish(WeightConverter[Options]):
    """Makes a checkpoint ready to publish: weights on the CPU, without training state.

    The first 8 hex digits of the file's SHA-256 become a part of DST: best.pth is written as
    best-1a2b3c4d.pth. Before that, the file is read back and compared bit for bit.
    """

    hook_version = 2
    example = "work_dir/latest.pth best.pth"
    options = Options
    renames = True

    @hookimpl
    def convert_weights(self, request: ConvertWeightsRequest[Options]) -> ConversionReport:
        """Write the weights of ``request.checkpoint``; see :func:`segplug.hookspecs.convert_weights`."""
        from segplug_analysis.publish.contents import published
        from segplug_analysis.publish.files import same_bits, write

        options = request.options
        wanted = _with_suffix(request.destination, safetensors=options.safetensors)
        with request.reporter.progress("reading the weights", None):
            checkpoint = read_checkpoint(str(request.checkpoint), trust=options.trust_checkpoint)
            content = published(checkpoint, averaged=options.ema, keeps_versions=not options.safetensors)
            if not options.allow_nonfinite:
                refuse_nonfinite(content.state, f"the weights of {request.checkpoint}")
        _report_averages(content.averages, request, published=options.ema)
        written = request.output.with_name(wanted.name)
        with request.reporter.progress("writing", None):
            write(content, written)
        with request.reporter.progress("reading the file back", None):
            same = same_bits(content.state, read_checkpoint(str(written)).state)
        if not same:
            raise CheckpointError(f"the file written from {request.checkpoint} reads back with other weights")
        digest = file_sha256(written)
        final = written.rename(written.with_stem(f"{written.stem}-{digest[:_HASH_DIGITS]}"))
        return _report(content, request.checkpoint, final, digest)


def _report_averages(
    averages: Averages | None, request: ConvertWeightsRequest[Options], *, published: bool
) -> None:
    if averages is None:
        return
    if averages.guessed:
        request.reporter.warn(
            f"it is unknown whether the training of {request.checkpoint} counted epochs or iterations. "
            "Iterations are assumed, as in mmseg's configs: then ema_* are the averages. "
            "With epochs they are not"
        )
    if not published and not averages.swapped:
        request.reporter.note(f"{request.checkpoint} also has averaged weights; --ema publishes them")


def _with_suffix(destination: Path, *, safetensors: bool) -> Path:
    """The destination with the suffix of its format.

    Raises:
        UsageError: it has the suffix of another format.
    """
    wanted = (SAFETENSORS,) if safetensors else PICKLES
    suffix = destination.suffix.lower()
    if suffix in wanted:
        return destination
    if suffix in (SAFETENSORS, *PICKLES):
        hint = "add --safetensors" if suffix == SAFETENSORS else f"name it {destination.stem}{SAFETENSORS}"
        raise UsageError(f"{destination} has the suffix of another format", hint=hint)
    return destination.with_name(destination.name + wanted[0])


def _report(content: Published, checkpoint: Path, written: Path, digest: str) -> ConversionReport:
    size_before, size = checkpoint.stat().st_size, written.stat().st_size
    summary = {
        "tensors": len(content.state),
        "weights": content.weights,
        "bytes_before": size_before,
        "bytes": size,
        "sha256": digest,
    }
    removed = [{"what": item.what, "why": item.why, "bytes": item.bytes} for item in content.removed]
    data: dict[str, Any] = {**summary, "removed": removed, "kept": list(content.kept)}
    rows = tuple((item.what, item.why, item.bytes / 1e6) for item in content.removed)
    removed_table = (Table("removed", ("entry", "reason", "MB of tensors"), rows),) if rows else ()
    columns = ("tensors", "weights", "MB before", "MB", "kept metadata")
    row = (len(content.state), content.weights, size_before / 1e6, size / 1e6, ", ".join(content.kept))
    tables = (*removed_table, Table("published", columns, (row,)))
    return ConversionReport(destination=written, data=data, tables=tables)


provider = Publish()
