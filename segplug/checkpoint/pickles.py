"""Read pickles of PyTorch. They cannot run code unless the user trusts them."""

from __future__ import annotations

import argparse
import collections
import errno
import pickle
import re
import threading
import warnings
from pathlib import Path
from typing import Any

from segplug.checkpoint.formats import first_sentence
from segplug.errors import CheckpointError, UntrustedCheckpointError
from segplug.regular_files import open_regular
from segplug.text import is_encodable

__all__ = ["load_pickle"]

_TRUST = "if you trust whoever made it, add --trust-checkpoint: it may run code on this machine"
_DICTS = (
    "mmcv.utils.config.ConfigDict",
    "mmengine.config.config.ConfigDict",
    "addict.addict.Dict",
    "yacs.config.CfgNode",
)
_INERT = (
    "mmengine.logging.history_buffer.HistoryBuffer",
    "mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler",
    "builtins.getattr",
)
"""What mmengine's training saves beside the weights: the history of each number that it logs, and one
scheduler, which refer to their own methods. A stand-in that does nothing takes the place of each: no
attribute is looked up."""
_VERSIONS = "_metadata"
"""The attribute by which a state dict holds the versions of its modules' layouts."""
_ZIP_MAGIC = b"PK\x03\x04"
_lock = threading.RLock()
"""The types that PyTorch takes as safe are of the whole process: one thread at a time adds some."""


class _Inert:
    """Takes the place of an object that is not needed, whatever a file says about it."""

    def __init__(self, *_arguments: Any) -> None:
        pass

    def __setstate__(self, _state: Any) -> None:
        pass


def load_pickle(path: Path, location: str, *, trust: bool) -> Any:
    """Read the content of a file; its tensors are mapped from it if its format allows that.

    Args:
        path: The file.
        location: The file as the user gave it, for errors.
        trust: Allow the full unpickler, which reads what the restricted one refuses.

    Raises:
        CheckpointError: it is damaged, another kind of file, or holds a type that is not known as harmless.
    """
    import torch

    is_zip = False
    try:
        with open_regular(path) as file:
            is_zip = file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
        # PyTorch maps files whose names are UTF-8.
        mapped = is_zip and is_encodable(str(path))
        with _lock, torch.serialization.safe_globals(_harmless_types()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                # Only files of the zip format (PyTorch 1.6 and later) can be mapped into memory.
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
                _forget_attributes(content)
                return content
            except Exception:  # of several kinds: it refuses old tar files with a RuntimeError
                if not trust:
                    raise
            return torch.load(path, map_location="cpu", weights_only=False, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise _refusal(location, str(error), is_zip=is_zip) from error
    except OSError as error:
        if error.errno == errno.EINVAL:  # a place in the file that it names does not exist: it was cut
            raise CheckpointError(f"{location} is damaged or no PyTorch checkpoint") from error
        raise CheckpointError(f"cannot read the checkpoint {location}: {error.strerror or error}") from error
    except (ImportError, AttributeError) as error:  # of the full unpickler only
        raise CheckpointError(
            f"the checkpoint {location} needs code that is not installed: {error}"
        ) from error
    except Exception as error:
        if "TorchScript" in str(error):
            raise CheckpointError(
                f"{location} is a TorchScript file, not a checkpoint",
                hint="segplug-torchscript reads such files: pip install segplug-torchscript",
            ) from error
        reason = first_sentence(error) if isinstance(error, RuntimeError) else None
        raise CheckpointError(f"{location} is damaged or no PyTorch checkpoint", hint=reason) from error


def _refusal(location: str, reason: str, *, is_zip: bool) -> CheckpointError:
    """The error for a file that holds an unsafe type, or for one that is no pickle."""
    named = re.search(r"GLOBAL ([A-Za-z_][\w.]*)", reason)
    if named:
        what = f"'{named.group(1)}', which is not known to be harmless"
    elif is_zip:
        what = "something that the restricted unpickler cannot read"
    else:
        return CheckpointError(f"{location} is damaged or no PyTorch checkpoint")
    return UntrustedCheckpointError(f"the checkpoint {location} holds {what}", hint=_TRUST)


def _harmless_types() -> list[Any]:
    """Types without side effects that such files hold: arrays and numbers of NumPy, dicts of configs, the
    parsed arguments of training scripts, the history and the scheduler of mmengine.

    A file names a type by its module when the file was written. The dicts become plain ones, so that no
    framework code runs.
    """
    from segplug.checkpoint.arrays import array_types

    types: list[Any] = [argparse.Namespace]
    types += [(stand_in, name) for name, stand_in in array_types().items()]
    types += [(collections.OrderedDict, name) for name in _DICTS]
    types += [(_Inert, name) for name in _INERT]
    return types


def _forget_attributes(content: Any) -> None:
    """Take all attributes off the tensors and dicts in a pickle but the versions of a dict's layout.

    A pickle may give them attributes with the names of their methods.
    """
    import torch

    waiting, seen = [content], set()
    while waiting:
        part = waiting.pop()
        if isinstance(part, torch.Tensor):
            vars(part).clear()
        if not isinstance(part, (dict, list, tuple)) or id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            if type(part) is collections.OrderedDict:
                versions = vars(part).get(_VERSIONS)
                vars(part).clear()
                if isinstance(versions, dict):
                    vars(part)[_VERSIONS] = versions
                    waiting.append(versions)
            waiting.extend(part.values())
        else:
            waiting.extend(part)
