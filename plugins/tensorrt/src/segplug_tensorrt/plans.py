"""Write plans to disk."""

from __future__ import annotations

from segplug.artifact import sidecar_path
from segplug.files import writing
from segplug.model import ModelMeta
from segplug.requests import BuildEngineRequest

__all__ = ["write_plan"]


def write_plan(request: BuildEngineRequest, plan: bytes, meta: ModelMeta) -> None:
    """Write a plan and its sidecar: both, or neither."""
    sidecar = sidecar_path(request.output)
    # The sidecar gets its name first, so that a plan never exists without its own record.
    with (
        writing(request.output, force=request.force) as temporary,
        writing(sidecar, force=request.force) as temporary_sidecar,
    ):
        temporary.write_bytes(plan)
        temporary_sidecar.write_text(meta.to_json() + "\n", encoding="utf-8")
