"""``export torchserve``: a config and its weights, or any artifact, as an archive for TorchServe."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.artifact import describe
from segplug.errors import UsageError
from segplug.files import ensure_free, refuse_input
from segplug.hookspecs import hookimpl
from segplug.options import option
from segplug.requests import ExportRequest
from segplug.results import Artifact

if TYPE_CHECKING:
    from segplug.serving.served import Served

__all__ = ["Options", "provider"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_CONFIG_FILE = "model-config.yaml"


@dataclass(frozen=True)
class Options:
    """Options of ``export torchserve``."""

    model_name: str | None = option(
        None, help="Of the archive, and in the server's addresses. Default: the checkpoint's or artifact's."
    )
    model_version: str = option("1.0", help="The model's version, as TorchServe shows it.")
    backend: str | None = option(
        None, help="The infer target that opens an artifact on the server. Default: its format's own."
    )
    backend_options: Mapping[str, Any] | None = option(None, help="Options of the backend.")
    threads: int | None = option(None, help="Threads of one engine run; default: the library's.", minimum=1)
    batch_size: int | None = option(
        None, help="Requests that a worker is given together; default: 1.", minimum=1, maximum=1024
    )
    max_batch_delay: int | None = option(
        None, help="Milliseconds to wait for more requests; default: 100.", minimum=0
    )
    workers: int | None = option(None, help="Processes that run the model; default: 1.", minimum=1)
    response_timeout: int | None = option(
        None, help="Seconds after which TorchServe gives a request up; default: 120.", minimum=1
    )
    config_file: Path | None = option(
        None, help="TorchServe's own model configuration (YAML), as it is: batch, delay, workers, timeout."
    )
    max_bytes: int | None = option(None, help="Largest encoded image; default: 32 MiB.", minimum=1)
    max_pixels: int | None = option(None, help="Largest image in pixels; default: 2^25.", minimum=1)
    max_edge: int | None = option(None, help="Largest height or width; default: 16384.", minimum=1)


class TorchServeExporter:
    """Packs a config with its checkpoint, or any artifact that an installed backend opens, as a .mar.

    The archive holds the model's files and what opens them. On the server, segplug does the work: the same
    preprocessing, sliding and labels as everywhere.
    """

    api_version = 1
    options = Options
    takes = "either"
    suffix = ".mar"

    @hookimpl
    def export(self, request: ExportRequest) -> Artifact:
        """Pack ``request``'s subject into the folder ``request.output``; see :mod:`segplug.hookspecs`."""
        options: Options = request.options or Options()
        name = _model_name(request, options)
        target = request.output / f"{name}.mar"
        refuse_input(target, [request.artifact, options.config_file])
        ensure_free(target, force=request.force)
        config = _model_config(options)
        with (
            tempfile.TemporaryDirectory(prefix="segplug-") as made,
            request.reporter.progress("packing", None),
        ):
            return _packed(request, options, Path(made), target, name, config)


def _packed(
    request: ExportRequest, options: Options, folder: Path, target: Path, name: str, config: str
) -> Artifact:
    from segplug_torchserve.archive import HANDLER, write_archive
    from segplug_torchserve.requirements import requirements_of
    from segplug_torchserve.staging import REQUIREMENTS_FILE, stage, try_out

    served = stage(request, _settings(options), options.backend, folder)
    meta = try_out(request, served, folder)
    needed = requirements_of(request.session, served, meta)
    (folder / REQUIREMENTS_FILE).write_text("\n".join(needed) + "\n", encoding="utf-8")
    (folder / _CONFIG_FILE).write_text(config, encoding="utf-8")
    shutil.copyfile(Path(__file__).with_name("mar_handler.py"), folder / HANDLER)
    write_archive(
        folder,
        target,
        name=name,
        version=options.model_version,
        config_file=_CONFIG_FILE,
        force=request.force,
    )
    request.reporter.note(f"where TorchServe runs: segplug-torchserve[server] {' '.join(needed)}")
    return describe(target, format="torchserve", meta=meta)


def _model_name(request: ExportRequest, options: Options) -> str:
    name = options.model_name
    if name is None:
        arguments = None if request.model is None else request.model.load_arguments
        given = request.artifact or (arguments and arguments.checkpoint)
        name = Path(given).stem if given else "model"
    for what, word in (("--model-name", name), ("--model-version", options.model_version)):
        if not _NAME.fullmatch(word):
            raise UsageError(
                f"TorchServe takes no {what[2:].replace('-', ' ')} '{word}'",
                hint=f"{what}: letters, digits, and . _ - after the first",
            )
    return name


def _model_config(options: Options) -> str:
    """TorchServe's model configuration as YAML."""
    given = {
        "batchSize": options.batch_size,
        "maxBatchDelay": options.max_batch_delay,
        "minWorkers": options.workers,
        "maxWorkers": options.workers,
        "responseTimeout": options.response_timeout,
    }
    chosen = {key: value for key, value in given.items() if value is not None}
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
            "--config-file says what --batch-size, --max-batch-delay, --workers and --response-timeout say",
            hint="give one or the other",
        )
    return _own_config(options.config_file)


def _own_config(path: Path) -> str:
    """The user's own model configuration, as it is: TorchServe would pass over one that it cannot read."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is no YAML: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(
            f"{path} is no model configuration of TorchServe",
            hint="YAML of names and values, as batchSize: 8",
        )
    return text


def _settings(options: Options) -> Served:
    from segplug.serving.served import Served

    from segplug.serving.requests import Limits

    given = {"bytes": options.max_bytes, "pixels": options.max_pixels, "edge": options.max_edge}
    return Served(
        backend="",
        backend_options=dict(options.backend_options or {}),
        threads=options.threads,
        batch_size=options.batch_size or 1,
        limits=replace(Limits(), **{key: value for key, value in given.items() if value is not None}),
    )


provider = TorchServeExporter()
