"""``convert_weights publish``: a checkpoint without training state, with its hash in its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.artifact import file_sha256
from segplug.checkpoint import PICKLES, SAFETENSORS, read_checkpoint
from segplug.errors import CheckpointError, UsageError
from segplug.files import ensure_free, refuse_input, writing
from segplug.hookspecs import hookimpl
from segplug.options import option
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


class Publish:
    """Make a checkpoint ready to publish: weights on the CPU, without training state.

    The first 8 hex digits of the file's SHA-256 become a part of DST: best.pth is written as
    best-1a2b3c4d.pth. Before that, the file is read back and compared bit for bit.
    """

    api_version = 1
    options = Options

    @hookimpl
    def convert_weights(self, request: ConvertWeightsRequest) -> ConversionReport:
        """Write the weights of ``request.source``; see :func:`segplug.hookspecs.convert_weights`."""
        from segplug_analysis.publish.contents import published
        from segplug_analysis.publish.files import same_bits, write

        options: Options = request.options or Options()
        destination = _with_suffix(request.destination, safetensors=options.safetensors)
        ensure_free(destination, force=True)  # checks the folder; the name is known only at the end
        checkpoint = read_checkpoint(str(request.source), trust=options.trust_checkpoint)
        content = published(checkpoint, averaged=options.ema, keeps_versions=not options.safetensors)
        _report_averages(content.averages, request, published=options.ema)
        final = destination

        def named(written: Path) -> Path:
            nonlocal final
            digest = file_sha256(written)
            final = destination.with_name(f"{destination.stem}-{digest[:_HASH_DIGITS]}{destination.suffix}")
            refuse_input(final, [request.source])
            return final

        with writing(destination, force=request.force, named=named) as temporary:
            write(content, temporary)
            if not same_bits(content.state, read_checkpoint(str(temporary)).state):
                raise CheckpointError(f"the file written from {request.source} reads back with other weights")
        return _report(content, request.source, final)


def _report_averages(averages: Averages | None, request: ConvertWeightsRequest, *, published: bool) -> None:
    if averages is None:
        return
    if averages.guessed:
        request.reporter.warn(
            f"it is unknown whether the training of {request.source} counted epochs or iterations. "
            "Iterations are assumed, as in mmseg's configs: then ema_* are the averages. "
            "With epochs they are not"
        )
    if not published and not averages.swapped:
        request.reporter.note(f"{request.source} also has averaged weights; --ema publishes them")


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


def _report(content: Published, source: Path, destination: Path) -> ConversionReport:
    size_before, size = source.stat().st_size, destination.stat().st_size
    summary = {
        "tensors": len(content.state),
        "weights": content.weights,
        "bytes_before": size_before,
        "bytes": size,
        "sha256": file_sha256(destination),
    }
    removed = [{"what": item.what, "why": item.why, "bytes": item.bytes} for item in content.removed]
    data: dict[str, Any] = {**summary, "removed": removed, "kept": list(content.kept)}
    rows = tuple((item.what, item.why, item.bytes / 1e6) for item in content.removed)
    removed_table = (Table("removed", ("entry", "reason", "MB of tensors"), rows),) if rows else ()
    columns = ("tensors", "weights", "MB before", "MB", "kept metadata")
    row = (len(content.state), content.weights, size_before / 1e6, size / 1e6, ", ".join(content.kept))
    tables = (*removed_table, Table("published", columns, (row,)))
    return ConversionReport(destination=destination, data=data, tables=tables)


provider = Publish()
