"""An organisation's own rule for every export, to any target."""

from __future__ import annotations

import getpass
import json
from collections.abc import Generator
from datetime import datetime, timezone

from segplug import Artifact, hookimpl
from segplug.errors import RefusedError
from segplug.requests import ExportRequest


class ReleaseRules:
    """Refuses to export untrained models, and records each export beside the artifact."""

    api_version = 1
    mandatory = True

    @hookimpl(wrapper=True)
    def export(self, request: ExportRequest) -> Generator[None, Artifact, Artifact]:
        """Check the model before the export, and write the record after it.

        An artifact that is packed for a server (``request.artifact``) was checked when it was exported.
        """
        if request.model is not None and request.model.meta.provenance.checkpoint is None:
            raise RefusedError("release rules: a model without a checkpoint is not exported")
        artifact = yield
        record = {
            "artifact": artifact.path.name,
            "sha256": artifact.sha256,
            "checkpoint_sha256": artifact.meta.provenance.checkpoint_sha256,
            "by": getpass.getuser(),
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        path = artifact.path.with_name(artifact.path.name + ".release.json")
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        return artifact


addon = ReleaseRules()
