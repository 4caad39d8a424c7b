"""The class of a model and its config, as objects of transformers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from segplug_torch.errors import one_line

from segplug.errors import MissingDependencyError, ModelError, UsageError
from segplug.options import nearest
from segplug_transformers.architectures import Architecture
from segplug_transformers.folder import Folder, read_processor
from segplug_transformers.offline import offline
from segplug_transformers.overrides import PROCESSOR_PREFIX
from segplug_transformers.processor.keys import SILENT, STEPS
from segplug_transformers.refusals import DECODER, TIMM

__all__ = ["built", "model_class", "model_config", "refuse_unknown_keys", "refuse_unknown_settings"]

_ANSWERS = ("return_dict", "output_hidden_states", "output_attentions")
"""Settings of what a network answers beside its result, which change no number; some fail with them."""
_ATTENTION = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
"""How attention is computed, which may be code on the hub. Without it transformers takes PyTorch's own."""
_OF_A_BACKBONE = ("backbone", "backbone_kwargs", "use_timm_backbone", "use_pretrained_backbone")


def model_class(architecture: Architecture) -> Any:
    """The class of transformers with the architecture's name.

    Raises:
        ModelError: the installed transformers does not have it.
    """
    import transformers

    with offline():
        found = getattr(transformers, architecture.name, None)
    if found is None:
        raise ModelError(
            f"transformers {transformers.__version__} has no {architecture.name}",
            hint="upgrade transformers",
        )
    return found


def model_config(folder: Folder, architecture: Architecture) -> Any:
    """The config of a folder as an object of transformers, with the overrides applied.

    Raises:
        ModelError: transformers refuses it.
    """
    kind = model_class(architecture).config_class
    content = _without(folder.config, frozenset({*_ANSWERS, *_ATTENTION}))
    decoder = content.get(DECODER)
    if isinstance(decoder, Mapping):
        content[DECODER] = {key: value for key, value in decoder.items() if key not in _OF_A_BACKBONE}
    content = _with_backbone_of_timm(content)
    with built(f"the config {folder.config_file}"), offline():
        return kind.from_dict(content)


def _without(config: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    """The config, and those of its parts, without these keys."""
    return {
        key: _without(value, keys) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if key not in keys
    }


def _with_backbone_of_timm(content: dict[str, Any]) -> dict[str, Any]:
    """The config with a backbone of timm written out, for which transformers would first ask the hub."""
    name, arguments = content.get("backbone"), content.get("backbone_kwargs")
    own = content.get("model_type") == "detr" and not arguments  # which transformers writes out itself
    if name is None or content.get("backbone_config") is not None or own:
        return content
    rest = {key: value for key, value in content.items() if key not in _OF_A_BACKBONE}
    return {**rest, "backbone_config": {"model_type": TIMM, "backbone": name, **(arguments or {})}}


def refuse_unknown_keys(config: Any, keys: Mapping[str, Any]) -> None:
    """Refuse overrides of what a config does not have: transformers would keep a misspelt one, unused.

    Args:
        config: A config of transformers, made with the overrides.
        keys: The dotted keys that ``--cfg-options`` gave.

    Raises:
        UsageError: it has no such key.
    """
    for key in keys:
        owner = config
        *parents, last = key.split(".")
        for part in parents:
            owner = getattr(owner, part, None) if not isinstance(owner, Mapping) else owner.get(part)
        if owner is None or isinstance(owner, Mapping):  # such as the names of classes
            continue
        known = [*type(owner)().to_dict(), "num_labels", "id2label", "label2id"]
        if last not in known:
            raise _unknown(key, f"{type(owner).__name__} has no", last, known)


def refuse_unknown_settings(folder: Folder, keys: Iterable[str]) -> None:
    """Refuse overrides of settings that no processor has, and its file does not say either.

    Args:
        folder: With the overrides.
        keys: The dotted keys that ``--cfg-options`` gave.

    Raises:
        UsageError: there is no such setting, so that the override would have no effect.
    """
    stored, _ = read_processor(folder.path)
    known = {*(stored or ()), *STEPS, *SILENT}
    for key in keys:
        setting = key.removeprefix(PROCESSOR_PREFIX).partition(".")[0]
        if key.startswith(PROCESSOR_PREFIX) and setting not in known:
            raise _unknown(key, "no processor has", setting, sorted(known - SILENT))


def _unknown(key: str, whose: str, name: str, known: Sequence[str]) -> UsageError:
    guess = nearest(name, known)
    return UsageError(
        f"--cfg-options {key}: {whose} '{name}'" + (f"; did you mean '{guess}'?" if guess else "")
    )


@contextmanager
def built(what: str) -> Iterator[None]:
    """Turn what transformers raises while it builds something into an error of one line."""
    try:
        yield
    except ImportError as error:
        library = "timm" if "timm" in str(error) else error.name
        if library is None:
            raise MissingDependencyError(f"{what} cannot be built: {_reason(error)}") from error
        raise MissingDependencyError(
            f"{what} needs {library}, which is not installed", hint=f"pip install {library}"
        ) from error
    except Exception as error:
        raise ModelError(f"transformers cannot build {what}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """One line; of an error whose first line only introduces the others, the second, too."""
    if isinstance(error, KeyError):
        return f"it has or knows no {one_line(error)}"
    first = one_line(error)
    if not first.endswith(":"):
        return first
    return " ".join([first, *(line.strip() for line in str(error).split("\n")[1:2])])
