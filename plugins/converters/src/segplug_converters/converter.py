"""The provider that every target of this plugin is: foreign weights in, mmseg's out, checked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from segplug.errors import CheckpointError, UsageError
from segplug.hookspecs import hookimpl
from segplug.options import option
from segplug.requests import ConvertWeightsRequest
from segplug.results import BackboneFit, ConversionReport
from segplug_converters.differences import differences
from segplug_converters.layout import Layout, Shapes, Variant
from segplug_converters.names import grouped
from segplug_converters.plan import Plan, lay_out
from segplug_converters.recognise import best_plan, fitting_targets
from segplug_converters.refusals import does_not_fit, left_over
from segplug_converters.report import as_data, as_tables

if TYPE_CHECKING:
    import torch

__all__ = ["Converter", "Options"]


@dataclass(frozen=True)
class Options:
    """Options of every weight converter."""

    check: str | None = option(
        None,
        metavar="CONFIG",
        help="Build CONFIG's model and load the result strictly into its backbone; tables of positions of "
        "another size are resized as mmseg would, in what is written, too.",
    )
    dry_run: bool = option(False, help="Do everything but write DST.")
    allow_unknown: bool = option(
        False, help="Keep tensors that no rule knows, under their own names, where it is an error otherwise."
    )
    reverse: bool = option(False, help="The way back: SRC has mmseg's names, DST gets those of --layout.")
    layout: str | None = option(
        None,
        metavar="NAME",
        help="With --reverse: whose names DST gets. Default: the first listed above that fits.",
    )
    trust_checkpoint: bool = option(
        False, help="Read a checkpoint that holds more than plain data. It can run code."
    )


class Converter:
    """A ``convert_weights`` provider made of layouts.

    Args:
        family: What the networks are called, for messages: ``Swin``.
        layouts: The layouts that are read. ``--reverse`` by itself leads to the first that fits.
        describe: Reads the variant from the names and shapes of the converted weights, without a prefix.
            It raises CheckpointError where they are no whole network of the family.
    """

    api_version = 1
    options = Options

    def __init__(
        self, *, family: str, layouts: Sequence[Layout], describe: Callable[[Shapes], Variant]
    ) -> None:
        self.family = family
        self.layouts = tuple(layouts)
        self.describe = describe
        listed = "\n".join(f"{layout.name}: {layout.what}." for layout in self.layouts)
        self.__doc__ = f"{family} backbones under mmseg's names. Reads the layouts\n\n\b\n{listed}"

    def explains(self, names: Collection[str]) -> str | None:
        """Whose layout explains all names of a file; ``None``: none does."""
        try:
            plan = best_plan(self.layouts, names)
        except CheckpointError:
            return None
        return plan.layout.what if plan is not None and plan.complete else None

    @hookimpl
    def convert_weights(self, request: ConvertWeightsRequest) -> ConversionReport:
        """Convert, check and write; see :func:`segplug.hookspecs.convert_weights`."""
        from segplug.checkpoint import check_weights_suffix, read_checkpoint, write_weights
        from segplug.files import ensure_free, writing

        options: Options = request.options or Options()
        _check_options(options)
        check_weights_suffix(request.destination)
        ensure_free(request.destination, force=request.force or options.dry_run)
        checkpoint = read_checkpoint(str(request.source), trust=options.trust_checkpoint)
        given, beside = dict(checkpoint.state), tuple(checkpoint.rest)
        del checkpoint  # or what is given would stay in memory when it is used up
        plan = self._plan(request, given, options)
        state, variant, fit = self._converted(request, plan, given, options)
        notes = (*plan.layout.notes, *variant.notes, *_notes(beside, variant, fit, options))
        report = ConversionReport(
            destination=None if options.dry_run else request.destination,
            data={**as_data(plan, variant, fit), "beside": list(beside), "notes": list(notes)},
            tables=as_tables(plan, variant, fit),
            notes=notes,
        )
        if not options.dry_run:
            with writing(request.destination, force=request.force) as temporary:
                write_weights(temporary, state)
        return report

    def _plan(
        self, request: ConvertWeightsRequest, state: Mapping[str, torch.Tensor], options: Options
    ) -> Plan:
        """The plan for the file, complete but for what the user allows.

        Raises:
            CheckpointError: the file is of another family, or something is left over on either side.
        """
        plan = self._way_back(state, options.layout) if options.reverse else best_plan(self.layouts, state)
        if plan is None or not plan.plausible:
            raise self._other_family(request, state, options)
        if plan.complete or (options.allow_unknown and not plan.missing):
            return plan
        if not options.reverse and (self._is_converted(state) or fitting_targets(request.session, state)):
            raise self._other_family(request, state, options)
        raise left_over(plan, str(request.source), keeps_unknown=options.allow_unknown)

    def _way_back(self, names: Collection[str], chosen: str | None) -> Plan | None:
        """The plan to the layout that was chosen, or to the first that fits.

        Raises:
            UsageError: there is no such layout, or no way back to it.
        """
        layouts = [layout for layout in self.layouts if chosen in (None, layout.name)]
        if not layouts:
            known = ", ".join(layout.name for layout in self.layouts)
            raise UsageError(f"there is no layout '{chosen}'", hint=f"one of {known}")
        plans = [plan for layout in layouts if (plan := lay_out(layout, names, reverse=True)) is not None]
        whole = [plan for plan in plans if plan.complete]
        there = [plan for plan in whole or plans if not plan.layout.one_way]
        if there:
            # Where nothing fits, the layout that comes nearest says best what is left over.
            return there[0] if whole else min(there, key=lambda plan: plan.merit)
        if whole or all(layout.one_way for layout in layouts):
            closed = whole[0].layout if whole else layouts[0]
            raise UsageError(f"there is no way back to {closed.name}: {closed.one_way}")
        return None

    def _other_family(
        self, request: ConvertWeightsRequest, names: Collection[str], options: Options
    ) -> CheckpointError:
        if options.reverse:
            return CheckpointError(f"{request.source} holds no {self.family} under mmseg's names")
        others = fitting_targets(request.session, names)
        if others:
            hint = "what fits: " + ", or ".join(f"convert_weights {name} ({others[name]})" for name in others)
        elif self._is_converted(names):
            return CheckpointError(f"{request.source} has mmseg's names already", hint="use it as it is")
        else:
            first = ", ".join(grouped(names)[:3])
            hint = f"no installed target knows its names ({first}, ...)"
        return CheckpointError(
            f"{request.source} holds no {self.family} in a layout that is known", hint=hint
        )

    def _is_converted(self, names: Collection[str]) -> bool:
        plan = best_plan(self.layouts, names, reverse=True)
        return plan is not None and plan.complete

    def _converted(
        self,
        request: ConvertWeightsRequest,
        plan: Plan,
        given: dict[str, torch.Tensor],
        options: Options,
    ) -> tuple[Mapping[str, torch.Tensor], Variant, BackboneFit | None]:
        """The tensors to write, which network they are of, and how they fit the config's.

        ``given`` is used up, so that no tensor is in memory twice.
        """
        from segplug_converters.convert import carry_out

        before = {
            name.removeprefix(plan.prefix): tuple(tensor.shape)
            for name, tensor in given.items()
            if name.startswith(plan.prefix)
        }
        result: Mapping[str, torch.Tensor] = carry_out(plan, given, keep_unknown=options.allow_unknown)
        after = {name: tuple(tensor.shape) for name, tensor in result.items()}
        shapes = Shapes(before) if plan.reverse else Shapes(after, in_file=before)
        variant = self._variant(shapes, request.source)
        variant = replace(variant, backbone={**variant.backbone, **plan.layout.backbone})
        if options.check is None:
            return result, variant, None
        fit = request.session.fit_backbone(options.check, result, optional=plan.spare)
        if not fit.fits:
            raise does_not_fit(fit, options.check)
        return fit.state, variant, fit

    def _variant(self, shapes: Shapes, source: Path) -> Variant:
        try:
            return self.describe(shapes)
        except (ValueError, IndexError, ZeroDivisionError) as error:  # a shape that does not come apart
            raise CheckpointError(
                f"the tensors of {source} do not have the shapes of a {self.family}"
            ) from error


def _notes(
    beside: Collection[str], variant: Variant, fit: BackboneFit | None, options: Options
) -> tuple[str, ...]:
    """What is to be said of this file and this config."""
    notes: tuple[str, ...] = ()
    if beside:
        notes = (f"beside the weights, and not converted: {', '.join(grouped(beside))}",)
    if fit is not None and options.check is not None:
        notes += differences(variant.backbone, fit.settings, options.check)
    return notes


def _check_options(options: Options) -> None:
    if options.layout is not None and not options.reverse:
        raise UsageError("--layout goes with --reverse", hint="the layout of SRC is recognised by itself")
    if options.check is not None and options.reverse:
        raise UsageError("--check is of no use with --reverse: DST will not have mmseg's names")
