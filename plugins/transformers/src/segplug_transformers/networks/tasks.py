"""OneFormer, which is told in words what to do: here always semantic segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from segplug_torch.errors import one_line
from torch import nn

from segplug.errors import ModelError
from segplug_transformers.folder import tokenizer_files
from segplug_transformers.networks.queries import scores_of_queries
from segplug_transformers.offline import offline

if TYPE_CHECKING:
    from segplug_transformers.folder import Folder

__all__ = ["OneFormerScores", "task_tokens"]

_TASK = "the task is semantic"
"""What transformers' ``OneFormerProcessor`` makes of ``task_inputs=["semantic"]``."""
_LENGTH = 77
"""The default of ``task_seq_len`` in the config."""
_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"))


class OneFormerScores(nn.Module):
    """OneFormer with the tokens of one task: the scores of its queries."""

    task: torch.Tensor

    def __init__(self, model: nn.Module, task: torch.Tensor) -> None:
        """Wrap a network.

        Args:
            model: A network of transformers.
            task: int64 ``(1, length)``: the tokens of the task.
        """
        super().__init__()
        self.model = model
        self.register_buffer("task", task, persistent=False)
        for module in model.modules():  # of a folder that a training has left: no texts, and no dropout
            if getattr(module, "is_training", False):
                setattr(module, "is_training", False)  # noqa: B010  (a module's type has no such attribute)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Run the network.

        Args:
            pixel_values: float32 ``(N, C, H, W)``.

        Returns:
            float32 scores ``(N, classes, h, w)``: not negative, at most the number of queries.
        """
        task = self.task.expand(pixel_values.shape[0], -1)
        found = self.model(pixel_values, task_inputs=task, return_dict=True)
        return scores_of_queries(found.class_queries_logits, found.masks_queries_logits)


def task_tokens(folder: Folder) -> torch.Tensor:
    """The tokens of the semantic task, from the folder's tokenizer: int64 ``(1, task_seq_len)``.

    Padding is 0, as in transformers' ``OneFormerProcessor``.

    Raises:
        ModelError: the folder has no tokenizer, or one that cannot be read.
    """
    held = {file.name for file in tokenizer_files(folder.path)}
    if not any(held.issuperset(names) for names in _FILES):
        raise ModelError(
            f"{folder.path} has no tokenizer, which turns OneFormer's task into numbers: "
            "tokenizer.json, or vocab.json and merges.txt",
            hint="download the whole folder, or save the tokenizer of its OneFormerProcessor into it",
        )
    length = int(folder.config.get("task_seq_len", _LENGTH))
    from transformers import AutoTokenizer

    try:
        with offline():
            tokenizer = AutoTokenizer.from_pretrained(
                folder.path, local_files_only=True, trust_remote_code=False
            )
            found = tokenizer([_TASK], padding="max_length", max_length=length, truncation=True)
            tokens = torch.tensor(found["input_ids"]) * torch.tensor(found["attention_mask"])
    except Exception as error:
        raise ModelError(f"the tokenizer in {folder.path} cannot be read: {one_line(error)}") from error
    return tokens
