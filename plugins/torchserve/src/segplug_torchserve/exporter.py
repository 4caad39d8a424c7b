"""``export torchserve``: packs a config with its weights, or an artifact, as an archive for TorchServe."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.errors import UsageError
from segplug.files import ensure_free, refuse_input, scratch_folder
from segplug.hookspecs import hookimpl
from segplug.limits import MOST_THREADS
from segplug.options import option
from segplug.providers import Packer
from segplug.regular_files import read_regular_text
from segplug.requests import PackRequest
from segplug.results import Artifact

if TYPE_CHECKING:
    from segplug.description import FileDescription
    from segplug.model import ModelMeta
    from segplug.serving.served_model import ServedModel

__all__ = ["Options", "provider"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_CONFIG_FILE = "model-config.yaml"
_MOST_CONFIG = 1 << 20
"""Bytes of a model configuration."""


@dataclass(frozen=True)
class Options:
    """Options of ``export torchserve``."""

    model_name: str | None = option(
        None,
        help="The name of the archive, and of the model in URLs. Default: the checkpoint's or artifact's, "
        "or that of a model's folder.",
    )
    model_version: str = option("1.0", help="The model's version, which TorchServe shows.")
    backend: str | None = option(
        None, help="The infer target that runs an artifact on the server. Default: the format's own."
    )
    backend_options: Mapping[str, Any] | None = option(None, help="Options of the backend.")
    threads: int | None = option(
        None,
        help="Threads of the engine in each worker. Default: the library's own.",
        minimum=1,
        maximum=MOST_THREADS,
    )
    batch_size: int | None = option(
        None, help="The largest number of requests in one batch. Default: 1.", minimum=1, maximum=1024
    )
    max_batch_delay: int | None = option(
        None, help="Milliseconds that an incomplete batch waits for more requests. Default: 100.", minimum=0
    )
    workers: int | None = option(
        None, help="Processes that run the model. Default: 1.", minimum=1, maximum=MOST_THREADS
    )
    response_timeout: int | None = option(
        None, help="Seconds after which TorchServe gives up on a request. Default: 120.", minimum=1
    )
    config_file: Path | None = option(
        None,
        help="A model configuration of TorchServe (YAML), packed unchanged: batch, delay, workers, timeout.",
    )
    max_bytes: int | None = option(None, help="Largest encoded image, in bytes. Default: 32 MiB.", minimum=1)
    max_pixels: int | None = option(None, help="Largest image, in pixels. Default: 33554432.", minimum=1)
    max_edge: int | None = option(
        None, help="Largest height or width of an image, in pixels. Default: 16384.", minimum=1
    )
    max_decoded: int | None = option(
        None,
        help="Largest decoded image, in bytes: pixels x channels x bytes of a value. Default: 256 MiB.",
        minimum=1,
    )
    unknown_below: float | None = option(
        None,
        help="Labels of a lower probability become unknown (255), unless a request says otherwise.",
        minimum=0,
        maximum=1,
    )


class TorchServePacker(Packer[Options]):
    """Packs a config with its weights, or an artifact, as a .mar archive for TorchServe.

    It packs every artifact that an installed backend opens. The archive contains the model's files and a
    handler. On the server segplug preprocesses, slides and makes labels, as it does everywhere else.
    """

    hook_version = 2
    options = Options
    takes = "either"
    suffix = ".mar"

    @hookimpl
    def export(self, request: PackRequest[Options]) -> Artifact:
        """Pack the request's model or artifact into ``request.output``; see :mod:`segplug.hookspecs`."""
        name = _model_name(request)
        destination = request.destination / f"{name}.mar"
        refuse_input(destination, [request.artifact, request.options.config_file])
        ensure_free(destination, force=request.force)
        config = _model_config(request.options)
        with (
            scratch_folder() as made,
            request.reporter.progress("packing", None),
        ):
            return _pack(request, made, name, config)

    def read_meta(self, path: Path) -> ModelMeta | None:
        """Read the metadata in an archive."""
        from segplug_torchserve.archive import read_meta

        return read_meta(path)

    def describe(self, path: Path) -> FileDescription:
        """Read an archive's manifest and the names of its files."""
        from segplug_torchserve.archive import describe

        return describe(path)


def _pack(request: PackRequest[Options], folder: Path, name: str, config: str) -> Artifact:
    from segplug_torchserve.archive import HANDLER, META_FILE, write_archive
    from segplug_torchserve.requirements import server_requirements
    from segplug_torchserve.staging import REQUIREMENTS_FILE, check_staged, stage

    served = stage(request, _served_model(request.options), request.options.backend, folder)
    meta = check_staged(request, served, folder)
    needed = server_requirements(request.session, served, meta, folder)
    contents = {
        REQUIREMENTS_FILE: "\n".join(needed) + "\n",
        META_FILE: meta.public().to_json() + "\n",
        _CONFIG_FILE: config,
    }
    for file, text in contents.items():
        (folder / file).write_text(text, encoding="utf-8")
    shutil.copyfile(Path(__file__).with_name("mar_handler.py"), folder / HANDLER)
    archive = request.output / f"{name}.mar"
    write_archive(folder, archive, name=name, version=request.options.model_version, config_file=_CONFIG_FILE)
    request.reporter.note(f"install where TorchServe runs: segplug-torchserve[server] {' '.join(needed)}")
    return request.made(archive, meta)


def _model_name(request: PackRequest[Options]) -> str:
    name = request.options.model_name
    if name is None:
        arguments = None if request.model is None else request.model.load_arguments
        given = request.artifact or (arguments and arguments.checkpoint)
        name = Path(given).stem if given else request.model.meta.name if request.model else "model"
    for flag, word in (("--model-name", name), ("--model-version", request.options.model_version)):
        if not _NAME.fullmatch(word):
            raise UsageError(
                f"'{word}' is not a {flag[2:].replace('-', ' ')} that TorchServe accepts",
                hint=f"{flag}: letters, digits, '.', '_' and '-'; the first a letter or a digit",
            )
    return name


def _model_config(options: Options) -> str:
    """The model configuration for TorchServe as YAML."""
    given_by_field = {
        "batchSize": options.batch_size,
        "maxBatchDelay": options.max_batch_delay,
        "minWorkers": options.workers,
        "maxWorkers": options.workers,
        "responseTimeout": options.response_timeout,
    }
    chosen = {key: value for key, value in given_by_field.items() if value is not None}
    if options.config_file is None:
        defaults = {
            "batchSize": 1,
            "maxBatchDelay": 100,
            "minWorkers": 1,
            "maxWorkers": 1,
            "responseTimeout": 120,
        }
        return "".join(f"{key}: {value}\n" for key, value in {**defaults, **chosen}.items())
    if chosen:
        raise UsageError(
            "--config-file replaces --batch-size, --max-batch-delay, --workers and --response-timeout",
            hint="give the file or these options, not both",
        )
    return _read_config_file(options.config_file)


def _read_config_file(path: Path) -> str:
    """The user's model configuration, checked: TorchServe would ignore a file that it cannot read."""
    import yaml

    try:
        text = read_regular_text(path, most_bytes=_MOST_CONFIG)
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # an impossible date; nested too deeply
        raise UsageError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(
            f"{path} is not a model configuration of TorchServe",
            hint="it must be a YAML mapping, for example: batchSize: 8",
        )
    return text


def _served_model(options: Options) -> ServedModel:
    from segplug.serving.requests import Limits
    from segplug.serving.served_model import ServedModel

    given = {
        "bytes": options.max_bytes,
        "pixels": options.max_pixels,
        "edge": options.max_edge,
        "decoded": options.max_decoded,
    }
    return ServedModel(
        backend="",
        backend_options=dict(options.backend_options or {}),
        threads=options.threads,
        batch_size=options.batch_size or 1,
        limits=replace(Limits(), **{key: value for key, value in given.items() if value is not None}),
        unknown_below=options.unknown_below,
    )


provider = TorchServePacker()
