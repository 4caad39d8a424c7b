"""An organisation's own rule for every export, to any target."""

from __future__ import annotations

import getpass
import json
from collections.abc import Generator
from datetime import datetime, timezone
from typing import Any, ClassVar

from segplug import AddOn, Artifact, hookimpl
from segplug.errors import RefusedError
from segplug.options import NoOptions
from segplug.requests import ExportRequest, PackRequest


class ReleaseRules(AddOn[NoOptions]):
    """Refuses to export or pack untrained models, and keeps a record beside each artifact."""

    hook_versions: ClassVar = {"export": 2}
    mandatory = True
    sidecars = (".release.json",)

    @hookimpl(wrapper=True)
    def export(self, request: ExportRequest[Any] | PackRequest[Any]) -> Generator[None, Artifact, Artifact]:
        """Check the model before the export or the packing, and write the record after it."""
        if request.meta is None or request.meta.provenance.checkpoint is None:
            raise RefusedError(f"release rules: {request.location} was made without a checkpoint")
        artifact = yield
        record = {
            "artifact": artifact.path.name,
            "packed": isinstance(request, PackRequest),
            "sha256": artifact.sha256,
            "checkpoint_sha256": artifact.meta.provenance.checkpoint_sha256,
            "by": getpass.getuser(),
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        path = artifact.path.with_name(artifact.path.name + ".release.json")
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        return artifact


addon = ReleaseRules()
