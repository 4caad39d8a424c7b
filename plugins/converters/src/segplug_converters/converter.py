"""The provider of every target of this plugin: it converts foreign weights to mmseg's and checks them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.errors import CheckpointError, UsageError
from segplug.hookspecs import hookimpl
from segplug.options import as_keywords, option
from segplug.providers import WeightConverter
from segplug.requests import ConvertWeightsRequest
from segplug.results import BackboneFit, ConversionReport
from segplug_converters.conversion_errors import backbone_mismatch, incomplete_plan
from segplug_converters.layout import Layout
from segplug_converters.matching import best_plan, matching_targets
from segplug_converters.names import group_names
from segplug_converters.plan import Plan, plan_conversion
from segplug_converters.report import as_data, as_tables
from segplug_converters.settings import compare_settings
from segplug_converters.shapes import Shapes, Variant

if TYPE_CHECKING:
    import torch

__all__ = ["Converter", "Options"]


@dataclass(frozen=True)
class Options:
    """Options of every weight converter."""

    check: str | None = option(
        None,
        metavar="CONFIG",
        help="Build CONFIG's model and load the result strictly into its backbone. Position tables of "
        "another size are resized as mmseg resizes them, and DST gets the resized ones.",
    )
    source: str | None = option(
        None,
        metavar="NAME",
        help="With --check: the source that reads CONFIG. Default: the one that knows it.",
    )
    source_options: Mapping[str, Any] | None = option(
        None, help="With --check: options of the source that reads CONFIG."
    )
    dry_run: bool = option(False, help="Do everything but write DST.")
    allow_unknown: bool = option(
        False, help="Keep tensors that no rule knows, under their own names. Without it they are an error."
    )
    reverse: bool = option(
        False, help="Convert in the other direction: SRC has mmseg's names, DST gets those of --layout."
    )
    layout: str | None = option(
        None,
        metavar="NAME",
        help="With --reverse: the layout of DST. Default: the first of the list above that fits.",
    )
    trust_checkpoint: bool = option(
        False, help="Read a checkpoint that holds more than plain data. It can run code."
    )
    allow_nonfinite: bool = option(
        False, help="Convert weights that are NaN or infinite, too, in place of an error."
    )


class Converter(WeightConverter[Options]):
    """A ``convert_weights`` provider made of layouts.

    Args:
        family: The name of the networks, for messages: ``Swin``.
        layouts: The layouts that are read. ``--reverse`` without ``--layout`` takes the first that fits.
        describe: Reads the variant from the names and shapes of the converted weights, without a prefix.
            It raises CheckpointError if they are no whole network of the family.
        about: One line for listings: whose weights are read, and for which network of mmseg's. Default: the
            family.
    """

    hook_version = 2
    example = "downloaded.pth converted.pth --check CONFIG.py"
    options = Options

    def __init__(
        self,
        *,
        family: str,
        layouts: Sequence[Layout],
        describe: Callable[[Shapes], Variant],
        about: str = "",
    ) -> None:
        self.family = family
        self.layouts = tuple(layouts)
        self.describe = describe
        self.about = about
        listed = "\n\n".join(f"{layout.name}: {layout.description}." for layout in self.layouts)
        self.__doc__ = f"Convert {family} backbones to mmseg's names.\n\nReads these layouts:\n\n{listed}"

    def layout_of(self, names: Collection[str]) -> str | None:
        """The description of the layout that has all names of a file; ``None`` if no layout has."""
        try:
            plan = best_plan(self.layouts, names)
        except CheckpointError:
            return None
        return plan.layout.description if plan is not None and plan.complete else None

    def writes(self, options: Options) -> bool:
        """Not in a dry run."""
        return not options.dry_run

    @hookimpl
    def convert_weights(self, request: ConvertWeightsRequest[Options]) -> ConversionReport:
        """Convert, check and write; see :func:`segplug.hookspecs.convert_weights`."""
        from segplug.checkpoint import (
            check_weights_suffix,
            read_checkpoint,
            refuse_nonfinite,
            write_weights,
        )

        options = request.options
        _check_options(options)
        check_weights_suffix(request.destination)
        with request.reporter.progress("reading the weights", None):
            checkpoint = read_checkpoint(str(request.checkpoint), trust=options.trust_checkpoint)
            if not options.allow_nonfinite:
                refuse_nonfinite(checkpoint.state, f"the weights of {request.checkpoint}")
        given, others = dict(checkpoint.state), tuple(checkpoint.rest)
        del checkpoint  # it would keep tensors in memory that apply_plan removes from given
        with request.reporter.progress("converting", None):
            plan = self._plan(request, given, options)
            state, variant, fit = self._converted(request, plan, given, options)
        notes = (*plan.layout.notes, *variant.notes, *_notes(others, variant, fit, options))
        report = ConversionReport(
            destination=None if options.dry_run else request.output,
            data={**as_data(plan, variant, fit), "other_entries": list(others), "notes": list(notes)},
            tables=as_tables(plan, variant, fit),
            notes=notes,
        )
        if not options.dry_run:
            with request.reporter.progress("writing", None):
                write_weights(request.output, state)
        return report

    def _plan(
        self, request: ConvertWeightsRequest[Options], state: Mapping[str, torch.Tensor], options: Options
    ) -> Plan:
        """The plan for the file, complete but for unknown tensors that the user allows.

        Raises:
            CheckpointError: the file is of another family, or something is left over on either side.
        """
        plan = (
            self._reverse_plan(state, options.layout) if options.reverse else best_plan(self.layouts, state)
        )
        if plan is None or not plan.plausible:
            raise self._other_family(request, state, options)
        if plan.complete or (options.allow_unknown and not plan.missing):
            return plan
        if not options.reverse and (self._is_converted(state) or matching_targets(request.session, state)):
            raise self._other_family(request, state, options)
        raise incomplete_plan(plan, str(request.checkpoint), keeps_unknown=options.allow_unknown)

    def _reverse_plan(self, names: Collection[str], chosen: str | None) -> Plan | None:
        """The plan that converts back to the chosen layout, or to the first that fits.

        Raises:
            UsageError: there is no such layout, or it is ``one_way``.
        """
        layouts = [layout for layout in self.layouts if chosen in (None, layout.name)]
        if not layouts:
            known = ", ".join(layout.name for layout in self.layouts)
            raise UsageError(f"there is no layout '{chosen}'", hint=f"one of {known}")
        plans = [
            plan for layout in layouts if (plan := plan_conversion(layout, names, reverse=True)) is not None
        ]
        whole = [plan for plan in plans if plan.complete]
        possible = [plan for plan in whole or plans if not plan.layout.one_way]
        if possible:
            # If none is complete, the plan with the fewest names left over gives the most helpful error.
            return possible[0] if whole else min(possible, key=lambda plan: plan.cost)
        if whole or all(layout.one_way for layout in layouts):
            closed = whole[0].layout if whole else layouts[0]
            raise UsageError(f"cannot convert back to {closed.name}: {closed.one_way}")
        return None

    def _other_family(
        self, request: ConvertWeightsRequest[Options], names: Collection[str], options: Options
    ) -> CheckpointError:
        if options.reverse:
            return CheckpointError(f"{request.checkpoint} holds no {self.family} under mmseg's names")
        others = matching_targets(request.session, names)
        if others:
            hint = "use " + ", or ".join(f"convert_weights {name} ({others[name]})" for name in others)
        elif self._is_converted(names):
            return CheckpointError(f"{request.checkpoint} has mmseg's names already", hint="use it as it is")
        else:
            first = ", ".join(group_names(names)[:3])
            hint = f"no installed target knows its names ({first}, ...)"
        return CheckpointError(f"{request.checkpoint} holds no {self.family} in a known layout", hint=hint)

    def _is_converted(self, names: Collection[str]) -> bool:
        plan = best_plan(self.layouts, names, reverse=True)
        return plan is not None and plan.complete

    def _converted(
        self,
        request: ConvertWeightsRequest[Options],
        plan: Plan,
        given: dict[str, torch.Tensor],
        options: Options,
    ) -> tuple[Mapping[str, torch.Tensor], Variant, BackboneFit | None]:
        """The tensors to write, their variant, and how they fit the config's backbone.

        Tensors are removed from ``given`` after their last use, so that none is in memory twice.
        """
        from segplug_converters.convert import apply_plan

        before = {
            name.removeprefix(plan.prefix): tuple(tensor.shape)
            for name, tensor in given.items()
            if name.startswith(plan.prefix)
        }
        result: Mapping[str, torch.Tensor] = apply_plan(plan, given, keep_unknown=options.allow_unknown)
        after = {name: tuple(tensor.shape) for name, tensor in result.items()}
        shapes = Shapes(before) if plan.reverse else Shapes(after, in_file=before)
        variant = self._variant(shapes, request.checkpoint)
        variant = replace(variant, backbone={**variant.backbone, **plan.layout.backbone})
        if options.check is None:
            return result, variant, None
        fit = request.session.fit_backbone(
            options.check,
            result,
            optional=plan.optional_targets,
            source=options.source,
            **as_keywords(options.source_options, request.session.fit_backbone, flag="--source-options"),
        )
        if not fit.fits:
            raise backbone_mismatch(fit, options.check)
        return fit.state, variant, fit

    def _variant(self, shapes: Shapes, checkpoint: Path) -> Variant:
        try:
            return self.describe(shapes)
        except (ValueError, IndexError, ZeroDivisionError) as error:  # a shape of other dimensions
            raise CheckpointError(
                f"the tensors of {checkpoint} do not have the shapes of a {self.family}"
            ) from error


def _notes(
    others: Collection[str], variant: Variant, fit: BackboneFit | None, options: Options
) -> tuple[str, ...]:
    """Notes on this file and this config, beyond those of the layout and the variant."""
    notes: tuple[str, ...] = ()
    if others:
        notes = (f"the file holds other entries, which are not converted: {', '.join(group_names(others))}",)
    if fit is not None and options.check is not None:
        notes += compare_settings(variant.backbone, fit.settings, options.check)
    return notes


def _check_options(options: Options) -> None:
    if options.layout is not None and not options.reverse:
        raise UsageError("--layout needs --reverse", hint="the layout of SRC is detected")
    if options.check is None and (options.source is not None or options.source_options):
        flag = "--source-options" if options.source is None else "--source"
        raise UsageError(f"{flag} needs --check", hint="it says how CONFIG is read")
    if options.check is not None and options.reverse:
        raise UsageError("--check cannot be used with --reverse: DST does not get mmseg's names")
