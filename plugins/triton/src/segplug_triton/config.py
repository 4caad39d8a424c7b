"""``config.pbtxt``: made with the schema that Triton's own client ships, and so valid by construction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segplug.errors import ArtifactError, UsageError
from segplug.model import META_ENTRY, ModelMeta
from segplug.options import option
from segplug_triton.formats import Kind
from segplug_triton.signature import Packable, Tensor

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

__all__ = ["MOST", "Settings", "as_text", "make", "of_next_version", "read"]

_BATCH = 4
"""The largest batch where none is asked for: Triton's own default for a model that it describes itself."""

MOST = 2**31 - 1
"""The largest number that the schema holds."""

_NOT_SHARED = ("name", "provenance", "versions", "verification", "extra")
"""What of a model's metadata may differ between its versions: nothing that a client computes with."""


@dataclass(frozen=True)
class Settings:
    """Options of ``export triton`` that become settings of the server."""

    max_batch_size: int | None = option(
        None,
        help="Images of the largest batch, where the artifact's batch is free; 0: Triton forms no batches. "
        "Default: 4.",
        minimum=0,
        maximum=MOST,
    )
    preferred_batch_size: tuple[int, ...] | None = option(
        None, help="Batches that Triton sends off as soon as they are complete.", minimum=1, maximum=MOST
    )
    max_queue_delay: int | None = option(
        None,
        help="Microseconds that a request may wait for others to form a batch. Default: none.",
        minimum=0,
        maximum=MOST,
        metavar="MICROSECONDS",
    )
    instances: int | None = option(
        None, help="Instances of the model on each device; default: 1.", minimum=1, maximum=MOST
    )
    device: Literal["auto", "cpu", "gpu"] | None = option(
        None, help="Where instances run; auto: on the GPUs if there are any. Default: auto."
    )


def make(name: str, kind: Kind, packed: Packable, settings: Settings) -> ModelConfig:
    """The whole configuration of a model that has no other version.

    Raises:
        UsageError: a setting does not fit the artifact.
    """
    from tritonclient.grpc import model_config_pb2 as schema

    batch = _max_batch_size(packed, settings)
    config = schema.ModelConfig(
        name=name,
        platform=kind.platform,
        backend=kind.backend,
        default_model_filename=kind.filename,
        max_batch_size=batch,
        instance_group=[_instances(packed, settings)],
    )
    for tensors, field in ((packed.inputs, config.input), (packed.outputs, config.output)):
        for tensor in tensors:
            field.add(name=tensor.name, data_type=tensor.type, dims=_dims(tensor, batch))
    if batch > 1:
        config.dynamic_batching.SetInParent()
        config.dynamic_batching.preferred_batch_size.extend(sorted(set(settings.preferred_batch_size or ())))
        config.dynamic_batching.max_queue_delay_microseconds = settings.max_queue_delay or 0
    if packed.meta is not None:
        config.parameters[META_ENTRY].string_value = packed.meta.public().to_json()
    return config


def _dims(tensor: Tensor, batch: int) -> tuple[int, ...]:
    """Triton puts the batch in front of the dimensions by itself, where it forms batches."""
    return tensor.shape[1:] if batch else tensor.shape


def _max_batch_size(packed: Packable, settings: Settings) -> int:
    asked = settings.max_batch_size
    if not packed.batch_is_free:
        if asked:
            raise UsageError(
                f"--max-batch-size {asked}: the artifact's batch is not free",
                hint="export it with a free batch (--dynamic), or leave the option away",
            )
        batch = 0
    elif packed.most is not None and (asked or 0) > packed.most:
        raise UsageError(f"--max-batch-size {asked}: the artifact takes {packed.most} images at most")
    else:
        batch = min(_BATCH, packed.most or _BATCH) if asked is None else asked
    preferred = settings.preferred_batch_size or ()
    if batch < 2 and (preferred or settings.max_queue_delay is not None):
        raise UsageError(
            "there are no batches to form: --preferred-batch-size and --max-queue-delay say nothing"
        )
    if preferred and max(preferred) > batch:
        raise UsageError(f"--preferred-batch-size {max(preferred)} is more than --max-batch-size {batch}")
    return batch


def _instances(packed: Packable, settings: Settings) -> Any:
    from tritonclient.grpc.model_config_pb2 import ModelInstanceGroup

    device, bound = settings.device or "auto", packed.bound_to
    if bound is not None and device not in ("auto", bound):
        raise UsageError(f"--device {device}: this artifact runs on a {bound.upper()} only")
    kind = f"KIND_{(bound or device).upper()}"
    return ModelInstanceGroup(count=settings.instances or 1, kind=kind)


def as_text(config: ModelConfig) -> str:
    """What ``config.pbtxt`` holds."""
    from google.protobuf import text_format

    text: str = text_format.MessageToString(config)
    return text


def read(path: Path) -> ModelConfig:
    """A ``config.pbtxt``, segplug's own or one that was edited.

    Raises:
        ArtifactError: it is none.
    """
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), ModelConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} is no model configuration of Triton: {error}") from error


def of_next_version(
    shared: ModelConfig, kind: Kind, packed: Packable, settings: Settings, *, newest: bool
) -> ModelConfig:
    """The configuration that a model's other versions already have, if the artifact fits it.

    Args:
        shared: What the versions share; it stays as it is, but for the metadata.
        kind: Where the artifact goes.
        packed: The artifact.
        settings: What the user gave; it may not say otherwise.
        newest: Whether the artifact becomes the newest version, whose metadata is the model's.

    Raises:
        UsageError: the artifact or a setting does not fit.
    """
    if shared.max_batch_size and not packed.batch_is_free:
        raise _unfit("the other versions take batches, this artifact does not")
    if settings.max_batch_size is None:
        settings = replace(settings, max_batch_size=shared.max_batch_size)
    own = make(shared.name, kind, packed, settings)
    for field in ("backend", "platform", "default_model_filename"):
        if getattr(shared, field) not in ("", getattr(own, field)):
            raise _unfit(f"{field} is {getattr(shared, field)}, not {getattr(own, field)}")
    _check_devices(shared, packed)
    _check_settings(shared, own, settings)
    for field in ("input", "output"):
        before, now = _words(getattr(shared, field)), _words(getattr(own, field))
        if before != now:
            raise _unfit(f"the {field} is {before}, not {now}")
    if _comparable(shared) != _comparable(own):
        raise _unfit("images are prepared, or answers read, in another way (segplug.meta)")
    result = type(shared)()
    result.CopyFrom(shared)
    if newest and META_ENTRY in own.parameters:
        result.parameters[META_ENTRY].CopyFrom(own.parameters[META_ENTRY])
    return result


def _unfit(why: str) -> UsageError:
    return UsageError(
        f"the artifact is no version of this model: {why}", hint="give it a name of its own: --model-name"
    )


def _check_devices(shared: ModelConfig, packed: Packable) -> None:
    """Refuse an artifact that instance_group, which the versions share, would take where it cannot run."""
    from tritonclient.grpc.model_config_pb2 import ModelInstanceGroup as Group

    if packed.bound_to is None:
        return
    # Auto takes it to a GPU if there is any: what needs one runs then, and without one it runs nowhere.
    fit = {Group.KIND_CPU} if packed.bound_to == "cpu" else {Group.KIND_GPU, Group.KIND_AUTO}
    kinds = {group.kind for group in shared.instance_group} or {Group.KIND_AUTO}
    if not kinds <= fit:
        said = " and ".join(Group.Kind.Name(kind) for kind in sorted(kinds))
        raise _unfit(f"it runs on a {packed.bound_to.upper()} only, and instance_group is {said}")


def _check_settings(shared: ModelConfig, own: ModelConfig, settings: Settings) -> None:
    """Refuse a setting that says otherwise than the file that all versions share."""
    where = {"max_batch_size": "max_batch_size", "instances": "instance_group", "device": "instance_group"}
    for option_field in fields(settings):
        field = where.get(option_field.name, "dynamic_batching")
        given = getattr(settings, option_field.name) is not None
        if given and getattr(shared, field) != getattr(own, field):
            flag = "--" + option_field.name.replace("_", "-")
            raise UsageError(
                f"{flag} differs from config.pbtxt, which all versions share", hint=f"edit {field} there"
            )


def _words(tensors: Iterable[Any]) -> str:
    from tritonclient.grpc.model_config_pb2 import DataType

    return ", ".join(f"{item.name} {DataType.Name(item.data_type)} {list(item.dims)}" for item in tensors)


def _comparable(config: ModelConfig) -> dict[str, Any] | None:
    if META_ENTRY not in config.parameters:
        return None
    meta = ModelMeta.from_json(config.parameters[META_ENTRY].string_value).to_dict()
    return {key: value for key, value in meta.items() if key not in _NOT_SHARED}
