"""Checkpoint files: read safely, whatever their form, and written.

What is read, by the file's suffix:

* ``.npz``: numpy's archive, as Google publishes its JAX networks. Plain data; arrays of Python objects,
  which numpy stores as a pickle, are refused.
* ``.safetensors``: plain data by its nature.
* ``.index.json``: the list of the files that a checkpoint is shared out to, as Hugging Face writes it. Its
  files are read as one; one of them alone is refused.
* everything else (``.pth``, ``.pt``, ...): a pickle of PyTorch, which may run code. It is read with
  PyTorch's restricted unpickler and a short list of harmless types that such files hold; everything else
  needs the user's word.

In a pickle the weights are the file itself, a flat mapping of names to tensors or a whole network, or lie
under the key ``state_dict``, ``model`` or ``model_ema``, looked for in that order, so that averaged weights
are taken only where there are no others; or under ``module``, ``state_dict_ema`` or ``teacher`` where no
other entry holds a network. Wrappers may lie in one another: ``{"model": {"state_dict": {...}}}``. The
prefix ``module.``, which parallel training puts before every name, is removed.

Tensors are mapped into memory from the file where its form allows that: reading them costs nothing before
they are used, and they cannot change the file. Read whole are pickles older than PyTorch 1.6, and of
``.npz`` archives what is compressed, small or at odd addresses. Needs PyTorch, which is imported when a
file is read or written.
"""

from segplug.checkpoint.forms import META_KEY, NPZ, PICKLES, SAFETENSORS, first_words
from segplug.checkpoint.reading import Checkpoint, read_checkpoint
from segplug.checkpoint.writing import check_weights_suffix, write_pickle, write_safetensors, write_weights

__all__ = [
    "META_KEY",
    "NPZ",
    "PICKLES",
    "SAFETENSORS",
    "Checkpoint",
    "check_weights_suffix",
    "first_words",
    "read_checkpoint",
    "write_pickle",
    "write_safetensors",
    "write_weights",
]
