"""``config.pbtxt``, made with the protobuf schema in Triton's own client, so that its syntax is valid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segplug.errors import ArtifactError, UsageError
from segplug.model import META_ENTRY, ModelMeta
from segplug.options import option
from segplug.regular_files import read_regular_text
from segplug_triton.formats import Kind
from segplug_triton.signature import Packable, Tensor

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

__all__ = ["MAX_INT", "Settings", "as_text", "make", "make_for_next_version", "meta_of", "read"]

_DEFAULT_MAX_BATCH = 4
"""The default of the largest batch; Triton uses it, too, when it generates a configuration itself."""

MAX_INT = 2**31 - 1
"""The largest integer in the schema."""

_NOT_SHARED = (
    "name",
    "provenance",
    "versions",
    "verification",
    "extra",
    "tta",
    "tta_by_default",
    "tta_activates",
    "approximations",
)
"""The metadata that may differ between the versions of a model. Clients compute with none of it."""


@dataclass(frozen=True)
class Settings:
    """Options of ``export triton`` that are written to ``config.pbtxt``."""

    max_batch_size: int | None = option(
        None,
        help="The largest batch that Triton forms, if the batch axis is free. 0: no batches. Default: 4.",
        minimum=0,
        maximum=MAX_INT,
    )
    preferred_batch_size: tuple[int, ...] | None = option(
        None,
        help="Batch sizes that Triton runs at once, without waiting for more requests.",
        minimum=1,
        maximum=MAX_INT,
        metavar="N",
    )
    max_queue_delay: int | None = option(
        None,
        help="Microseconds that a request may wait for others to form a batch. Default: 0.",
        minimum=0,
        maximum=MAX_INT,
        metavar="MICROSECONDS",
    )
    instances: int | None = option(
        None, help="Instances of the model on each device. Default: 1.", minimum=1, maximum=MAX_INT
    )
    device: Literal["auto", "cpu", "gpu"] | None = option(
        None, help="Where instances run. auto: on the GPUs if there are any. Default: auto."
    )


def make(name: str, kind: Kind, packed: Packable, settings: Settings) -> ModelConfig:
    """Make the configuration of a model that has no other version.

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
    """The dimensions without the batch if Triton forms batches: it adds the batch itself."""
    return tensor.shape[1:] if batch else tensor.shape


def _max_batch_size(packed: Packable, settings: Settings) -> int:
    asked = settings.max_batch_size
    if not packed.batch_is_free:
        if asked:
            raise UsageError(
                f"--max-batch-size {asked}: the artifact's batch is not free",
                hint="export it with a free batch (--dynamic), or leave the option out",
            )
        batch = 0
    elif packed.max_batch is not None and (asked or 0) > packed.max_batch:
        raise UsageError(f"--max-batch-size {asked}: the artifact takes at most {packed.max_batch} images")
    else:
        batch = min(_DEFAULT_MAX_BATCH, packed.max_batch or _DEFAULT_MAX_BATCH) if asked is None else asked
    preferred = settings.preferred_batch_size or ()
    if batch < 2 and (preferred or settings.max_queue_delay is not None):
        raise UsageError(
            "Triton forms no batches of this artifact: leave out --preferred-batch-size and --max-queue-delay"
        )
    if preferred and max(preferred) > batch:
        raise UsageError(f"--preferred-batch-size {max(preferred)} is larger than --max-batch-size {batch}")
    return batch


def _instances(packed: Packable, settings: Settings) -> Any:
    from tritonclient.grpc.model_config_pb2 import ModelInstanceGroup

    device, bound = settings.device or "auto", packed.bound_to
    if bound is not None and device not in ("auto", bound):
        raise UsageError(f"--device {device}: this artifact only runs on a {bound.upper()}")
    kind = f"KIND_{(bound or device).upper()}"
    return ModelInstanceGroup(count=settings.instances or 1, kind=kind)


def as_text(config: ModelConfig) -> str:
    """The text of ``config.pbtxt``."""
    from google.protobuf import text_format

    text: str = text_format.MessageToString(config)
    return text


def read(path: Path) -> ModelConfig:
    """Read a ``config.pbtxt``, which a user may have edited.

    Raises:
        ArtifactError: the file is not a model configuration.
    """
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    try:
        return text_format.Parse(read_regular_text(path), ModelConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} is not a model configuration of Triton: {error}") from error


def meta_of(config: ModelConfig) -> ModelMeta | None:
    """The metadata of the newest version, if the configuration has any.

    Raises:
        ArtifactError: it is damaged.
    """
    if META_ENTRY not in config.parameters:
        return None
    return ModelMeta.from_json(config.parameters[META_ENTRY].string_value)


def make_for_next_version(
    shared: ModelConfig, kind: Kind, packed: Packable, settings: Settings, *, newest: bool
) -> ModelConfig:
    """Check that an artifact fits the configuration that the other versions of a model share.

    Args:
        shared: The configuration of the other versions.
        kind: Triton's backend for the artifact.
        packed: The artifact.
        settings: The user's settings; they must not differ from ``shared``.
        newest: Whether the artifact becomes the newest version.

    Returns:
        The same configuration; with the artifact's metadata if it becomes the newest version.

    Raises:
        UsageError: the artifact or a setting does not fit.
    """
    if shared.max_batch_size and not packed.batch_is_free:
        raise _mismatch("the other versions take batches, this artifact does not")
    if settings.max_batch_size is None:
        settings = replace(settings, max_batch_size=shared.max_batch_size)
    own = make(shared.name, kind, packed, settings)
    for field in ("backend", "platform", "default_model_filename"):
        if getattr(shared, field) not in ("", getattr(own, field)):
            raise _mismatch(f"{field} is {getattr(shared, field)}, not {getattr(own, field)}")
    _check_devices(shared, packed)
    _check_settings(shared, own, settings)
    for field in ("input", "output"):
        before, now = _describe(getattr(shared, field)), _describe(getattr(own, field))
        if before != now:
            raise _mismatch(f"the {field} is {before}, not {now}")
    if differing := _differing_metadata(shared, own):
        raise _mismatch(f"their metadata differ (segplug.meta): {', '.join(differing)}")
    result = type(shared)()
    result.CopyFrom(shared)
    if newest and META_ENTRY in own.parameters:
        result.parameters[META_ENTRY].CopyFrom(own.parameters[META_ENTRY])
    return result


def _mismatch(why: str) -> UsageError:
    return UsageError(
        f"the artifact cannot be a version of this model: {why}", hint="choose another --model-name"
    )


def _check_devices(shared: ModelConfig, packed: Packable) -> None:
    """Refuse an artifact if the shared instance_group would put it on a device where it cannot run."""
    from tritonclient.grpc.model_config_pb2 import ModelInstanceGroup as Group

    if packed.bound_to is None:
        return
    # KIND_AUTO is a GPU if there is one, so it fits an artifact that needs a GPU.
    fit = {Group.KIND_CPU} if packed.bound_to == "cpu" else {Group.KIND_GPU, Group.KIND_AUTO}
    kinds = {group.kind for group in shared.instance_group} or {Group.KIND_AUTO}
    if not kinds <= fit:
        names = " and ".join(Group.Kind.Name(kind) for kind in sorted(kinds))
        raise _mismatch(f"it only runs on a {packed.bound_to.upper()}, and instance_group is {names}")


def _check_settings(shared: ModelConfig, own: ModelConfig, settings: Settings) -> None:
    """Refuse a setting that differs from the file that all versions share."""
    field_of_option = {
        "max_batch_size": "max_batch_size",
        "instances": "instance_group",
        "device": "instance_group",
    }
    for option_field in fields(settings):
        field = field_of_option.get(option_field.name, "dynamic_batching")
        given = getattr(settings, option_field.name) is not None
        if given and getattr(shared, field) != getattr(own, field):
            flag = "--" + option_field.name.replace("_", "-")
            raise UsageError(
                f"{flag} differs from config.pbtxt, which all versions share", hint=f"edit {field} there"
            )


def _describe(tensors: Iterable[Any]) -> str:
    from tritonclient.grpc.model_config_pb2 import DataType

    return ", ".join(f"{item.name} {DataType.Name(item.data_type)} {list(item.dims)}" for item in tensors)


def _differing_metadata(shared: ModelConfig, own: ModelConfig) -> list[str]:
    """The fields of the metadata, of those that all versions share, that two configurations differ in."""
    one, other = (meta_of(config) for config in (shared, own))
    if one is None or other is None:
        return [] if one is other else ["only one of them has any"]
    before, now = one.to_dict(), other.to_dict()
    return [key for key, value in now.items() if key not in _NOT_SHARED and before[key] != value]
