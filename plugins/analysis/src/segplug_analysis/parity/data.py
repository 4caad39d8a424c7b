"""A parity report as JSON types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segplug_analysis.parity.form import Form
from segplug_analysis.parity.job import Job
from segplug_analysis.parity.numbers import METRICS, RunNumbers, points_of
from segplug_analysis.parity.outcomes import Outcome, Reference
from segplug_analysis.parity.plan import Plan

__all__ = ["as_data"]


def as_data(
    job: Job, form: Form, reference: Reference, outcomes: Sequence[Outcome], plan: Plan
) -> Mapping[str, Any]:
    info, provenance = job.dataset.info, job.model.meta.provenance
    return {
        "model": {
            "name": job.model.meta.name,
            "config": provenance.config,
            "checkpoint": provenance.checkpoint,
            "checkpoint_sha256": provenance.checkpoint_sha256,
            "approximations": list(job.model.meta.approximations),
            "views_left_out": len(job.model.meta.default_tta),
        },
        "dataset": {
            "name": info.name,
            "images": len(job.dataset),
            "classes": list(reference.numbers.classes),
            "ignore_index": info.ignore_index,
        },
        "form": {
            "size": None if form.size is None else list(form.size),
            "dynamic": form.size is None,
            "output_kind": form.output_kind,
            "reason": form.reason,
        },
        "device": job.device,
        "threads": job.threads,
        "work_dir": str(job.folder),
        "reference": {
            "device": reference.device,
            "labels": str(reference.labels),
            **_run_data(reference.numbers),
        },
        "runs": [_outcome_data(outcome, reference) for outcome in outcomes],
        "left_out": [{"backend": backend, "reason": reason} for backend, reason in plan.left_out],
    }


def _run_data(run: RunNumbers) -> dict[str, Any]:
    data = run.to_dict()
    del data["classes"]  # the data set has them
    return data


def _outcome_data(outcome: Outcome, reference: Reference) -> dict[str, Any]:
    trial, agreement = outcome.trial, outcome.agreement
    data: dict[str, Any] = {
        "backend": trial.backend,
        "precision": trial.precision,
        "device": trial.device,
        "compared": outcome.error is None,
        "reason": None if outcome.error is None else str(outcome.error),
        "files": [
            {
                "path": str(file.path),
                "format": file.format,
                "precision": file.precision,
                "reused": file.reused,
                "seconds_to_make": file.seconds,
                "bytes": file.bytes,
            }
            for file in outcome.files
        ],
    }
    if outcome.numbers is None or agreement is None:
        return data
    return {
        **data,
        **_run_data(outcome.numbers),
        "difference_points": {
            metric: points_of(outcome.numbers, reference.numbers, metric) for metric in METRICS
        },
        "agreement": {
            "share": agreement.share,
            "pixels": agreement.pixels,
            "pixels_differing": agreement.differing,
            "scored_share": agreement.scored_share,
            "scored_pixels": agreement.scored_pixels,
            "scored_pixels_differing": agreement.scored_differing,
            "images_differing": agreement.images_differing,
        },
        "worst": [
            {
                "image": picture.image.name,
                "pixels": picture.image.pixels,
                "pixels_differing": picture.image.differing,
                "picture": str(picture.path),
            }
            for picture in outcome.pictures
        ],
    }
