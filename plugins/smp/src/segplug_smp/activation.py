"""The activation inside a network's head: it is left out, so that logits come, and says what they mean."""

from __future__ import annotations

from typing import Any, Literal

from segplug.errors import ModelError

__all__ = ["meaning"]

_ONE_CLASS = ("softmax", "softmax2d", "logsoftmax")
"""The label of a pixel is the class with the largest score, before and after."""
_LABELS = ("argmax", "argmax2d")
"""The head gives labels; without it the scores that they come from."""


def meaning(activation: Any, classes: int, file: str) -> Literal["none", "softmax", "sigmoid"]:
    """What an activation says of the logits: nothing, one class at each pixel, or each class alone.

    Args:
        activation: The argument of the network.
        classes: Channels of the scores.
        file: Where it is from, for messages.

    Raises:
        ModelError: labels from the logits would differ from those of the network with its activation.
    """
    if activation in (None, "identity"):
        return "none"
    if activation == "sigmoid":
        return "sigmoid"
    if classes > 1 and activation in (*_ONE_CLASS, *_LABELS, "tanh"):  # none changes which is the largest
        return "softmax"
    if activation in (*_ONE_CLASS, *_LABELS):
        raise ModelError(
            f"{file}: the activation '{activation}' of a network with one class makes all scores equal",
            hint="if the class is where a sigmoid is above 0.5: --cfg-options activation=sigmoid",
        )
    raise ModelError(
        f"{file}: the activation {activation!r} is none whose labels follow from the logits",
        hint="to leave it out: --cfg-options activation=identity (sigmoid: each class is decided alone)",
    )
