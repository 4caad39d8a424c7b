"""The networks of transformers as segplug takes them: float32 ``(N, C, H, W)`` to scores for each class.

A semantic network gives its logits at its own stride. A network of queries gives a class and a mask for each
query; here they become scores as in transformers' ``post_process_semantic_segmentation``, without its last
resize, which is segplug's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from segplug_transformers.construct import built, model_class, model_config
from segplug_transformers.networks.mask_switches import mask_switches
from segplug_transformers.networks.queries import QUERIES, QueryScores
from segplug_transformers.networks.semantic import SemanticScores
from segplug_transformers.networks.tasks import OneFormerScores, task_tokens
from segplug_transformers.offline import offline

if TYPE_CHECKING:
    from segplug_transformers.architectures import Architecture
    from segplug_transformers.folder import Folder

__all__ = ["build", "output_size", "wrap"]

_MASK2FORMER_SIZE = (384, 384)
"""Its post-processing resizes the masks of every image to this (height, width)."""
_WITH_SWITCHES = ("eomt", "eomt_dinov3")


def build(folder: Folder, architecture: Architecture) -> nn.Module:
    """The class of transformers, built from the folder's config: random float32 weights, in eval mode.

    Args:
        folder: Its config is read.
        architecture: The class.

    Raises:
        ModelError: the installed transformers lacks the class, or refuses the config.
        MissingDependencyError: the config needs a library that is not installed, such as timm.
    """
    config = model_config(folder, architecture)
    with built(f"{architecture.name} from {folder.config_file}"), offline():
        network: nn.Module = model_class(architecture)(config)
    return network.float().eval()


def wrap(network: nn.Module, folder: Folder, architecture: Architecture) -> nn.Module:
    """Make of a network the module that a :class:`segplug.model.SegmentationModel` has.

    Args:
        network: An object of the class of transformers.
        folder: OneFormer's tokens of its task come from the folder's tokenizer.
        architecture: The class.

    Returns:
        A module from float32 ``(N, C, H, W)`` to float32 ``(N, classes, h, w)``, in eval mode. Its parameters
        are the network's, with ``model.`` before their names. Semantic networks give logits; networks of
        queries give sums of probabilities, from 0 to the number of queries.

    Raises:
        ModelError: the folder's tokenizer cannot be read, or each run of the network gives other numbers.
    """
    if architecture.kind == "semantic":
        return SemanticScores(network).eval()
    if architecture.model_type == "oneformer":
        return OneFormerScores(network, task_tokens(folder)).eval()
    if architecture.model_type in _WITH_SWITCHES:
        mask_switches(network)
    return QueryScores(network, QUERIES[architecture.model_type], output_size(architecture)).eval()


def output_size(architecture: Architecture) -> tuple[int, int] | None:
    """The (height, width) of the scores if they have one size for every input, else ``None``."""
    return _MASK2FORMER_SIZE if architecture.model_type == "mask2former" else None
