"""Read checkpoint files safely, and write them.

The suffix decides how a file is read:

* ``.npz``: NumPy's archive, as Google publishes its JAX networks. Plain data; arrays of Python objects,
  which NumPy stores as a pickle, are refused.
* ``.safetensors``: plain data.
* ``.index.json``: the index of a checkpoint in several files, as Hugging Face writes it. Its files are read
  as one checkpoint; a single one of them is refused.
* all others (``.pth``, ``.pt``, ...): a pickle of PyTorch, which may run code. It is read with PyTorch's
  restricted unpickler and a short list of harmless types that such files hold; any other type needs the
  user's consent (``trust``).

In a pickle the weights are a flat mapping of names to tensors or a whole network. They are the file itself,
or under the key ``state_dict``, ``model`` or ``model_ema``. The keys are tried in that order, so averaged
weights are used only if there are no others. The keys ``module``, ``state_dict_ema`` and ``teacher`` are used
only if no other entry holds a network. Wrappers may be nested: ``{"model": {"state_dict": {...}}}``. The
prefixes ``module.`` and ``_orig_mod.``, which parallel training and ``torch.compile`` put before every name,
are removed.

Tensors of ``.safetensors`` files and of pickles since PyTorch 1.6 are mapped into memory: reading them costs
nothing before they are used, and changing them does not change the file. Older pickles and ``.npz`` archives
are read into memory. PyTorch is imported when a file is read or written.
"""

from segplug.checkpoint.finite import refuse_nonfinite
from segplug.checkpoint.formats import META_KEY, NPZ, PICKLES, SAFETENSORS, first_sentence
from segplug.checkpoint.reading import Checkpoint, read_checkpoint, require_checkpoint
from segplug.checkpoint.writing import check_weights_suffix, write_pickle, write_safetensors, write_weights

__all__ = [
    "META_KEY",
    "NPZ",
    "PICKLES",
    "SAFETENSORS",
    "Checkpoint",
    "check_weights_suffix",
    "first_sentence",
    "read_checkpoint",
    "refuse_nonfinite",
    "require_checkpoint",
    "write_pickle",
    "write_safetensors",
    "write_weights",
]
