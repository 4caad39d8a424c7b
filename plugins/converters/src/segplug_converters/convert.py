"""A plan carried out: the tensors of one layout as those of another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING

from segplug.errors import CheckpointError
from segplug_converters.names import grouped
from segplug_converters.plan import Plan, Step
from segplug_converters.rules import Make, Move

if TYPE_CHECKING:
    import torch

__all__ = ["carry_out"]


def carry_out(
    plan: Plan, state: MutableMapping[str, torch.Tensor], *, keep_unknown: bool = False
) -> dict[str, torch.Tensor]:
    """The tensors under their new names, in the order of the rules.

    What is only renamed or seen with other dimensions shares the memory of ``state``, which may lie in a
    file: only merged and reordered tensors are new. For those not to be there twice, a tensor is taken out
    of ``state`` when it has been used for the last time.

    Args:
        plan: What becomes of each; complete but for ``unknown``.
        state: The file's tensors, by their names in full. What the plan uses is gone afterwards.
        keep_unknown: Keep what no rule knows, under its name without the prefix.

    Raises:
        CheckpointError: a tensor has a shape or type that its rule cannot take, or one that no rule knows has
            the name of another that a rule makes.
    """
    result: dict[str, torch.Tensor] = {}
    uses = Counter(name for step in plan.steps if isinstance(step.rule, Move) for name in step.sources)
    for step in plan.steps:
        try:
            made = _made(step, plan, state, result)
        except (ValueError, RuntimeError, IndexError, TypeError) as error:
            raise CheckpointError(_of_another_shape(step, error)) from error
        result.update(zip(step.targets, made, strict=True))
        for name in step.sources if isinstance(step.rule, Move) else ():
            uses[name] -= 1
            if not uses[name]:
                del state[plan.prefix + name]
    if keep_unknown:
        taken = [name for name in plan.unknown if name in result]
        if taken:
            raise CheckpointError(f"what no rule knows cannot keep names that are given: {', '.join(taken)}")
        result.update({name: state[plan.prefix + name] for name in plan.unknown})
    return result


def _made(
    step: Step, plan: Plan, state: Mapping[str, torch.Tensor], result: Mapping[str, torch.Tensor]
) -> Sequence[torch.Tensor]:
    if isinstance(step.rule, Make):
        return [step.rule.compute(result[step.sources[0]])]
    work = step.rule.operation.backward if plan.reverse else step.rule.operation.forward
    assert work is not None, "a layout with such a rule says that it is one_way"
    return work([state[plan.prefix + name] for name in step.sources])


def _of_another_shape(step: Step, error: Exception) -> str:
    sources, targets = (" and ".join(grouped(names)) for names in (step.sources, step.targets))
    return f"{sources} cannot become {targets}: {error}"
