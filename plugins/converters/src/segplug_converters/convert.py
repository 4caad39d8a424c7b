"""Apply a plan: turn the tensors of one layout into those of another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING

from segplug.errors import CheckpointError
from segplug_converters.names import group_names
from segplug_converters.plan import Plan, Step
from segplug_converters.rules import Make, Move

if TYPE_CHECKING:
    import torch

__all__ = ["apply_plan"]


def apply_plan(
    plan: Plan, state: MutableMapping[str, torch.Tensor], *, keep_unknown: bool = False
) -> dict[str, torch.Tensor]:
    """The tensors under their new names, in the order of the rules.

    Tensors that are only renamed or reshaped share the memory of ``state``, which may be mapped from a file;
    merged and reordered tensors are new. A tensor is removed from ``state`` after its last use, so that its
    values are not in memory twice.

    Args:
        plan: The plan, complete but for ``unknown``.
        state: The file's tensors, by their full names. The tensors that the plan uses are removed.
        keep_unknown: Keep tensors that no rule knows, under their names without the prefix.

    Raises:
        CheckpointError: a rule cannot take a tensor of this shape or type, or a tensor that no rule knows has
            the name of a tensor that a rule makes.
    """
    result: dict[str, torch.Tensor] = {}
    uses = Counter(name for step in plan.steps if isinstance(step.rule, Move) for name in step.sources)
    for step in plan.steps:
        try:
            made = _apply_step(step, plan, state, result)
        except (ValueError, RuntimeError, IndexError, TypeError) as error:
            raise CheckpointError(_format_failure(step, error)) from error
        result.update(zip(step.targets, made, strict=True))
        for name in step.sources if isinstance(step.rule, Move) else ():
            uses[name] -= 1
            if not uses[name]:
                del state[plan.prefix + name]
    if keep_unknown:
        taken = [name for name in plan.unknown if name in result]
        if taken:
            raise CheckpointError(
                f"tensors that no rule knows cannot be kept: a rule makes tensors of these names, "
                f"{', '.join(taken)}"
            )
        result.update({name: state[plan.prefix + name] for name in plan.unknown})
    return result


def _apply_step(
    step: Step, plan: Plan, state: Mapping[str, torch.Tensor], result: Mapping[str, torch.Tensor]
) -> Sequence[torch.Tensor]:
    if isinstance(step.rule, Make):
        return [step.rule.compute(result[step.sources[0]])]
    operation = step.rule.operation.backward if plan.reverse else step.rule.operation.forward
    assert operation is not None, "a layout with such a rule is one_way"
    return operation([state[plan.prefix + name] for name in step.sources])


def _format_failure(step: Step, error: Exception) -> str:
    sources, targets = (" and ".join(group_names(names)) for names in (step.sources, step.targets))
    return f"{sources} cannot become {targets}: {error}"
