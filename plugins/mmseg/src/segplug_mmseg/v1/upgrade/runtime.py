"""The rest of a config: hooks, logs, the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segplug_mmseg.v1.upgrade.model import renamed_package
from segplug_mmseg.v1.upgrade.notes import Notes
from segplug_mmseg.v1.upgrade.plain import as_list, without

__all__ = ["RUNTIME", "upgrade_runtime"]

RUNTIME = (
    *("checkpoint_config", "log_config", "dist_params", "workflow", "cudnn_benchmark", "resume_from"),
    *("auto_resume", "seed", "deterministic", "gpu_ids", "gpus", "device", "mp_start_method"),
    *("opencv_num_threads", "momentum_config", "load_from", "log_level", "custom_hooks", "custom_imports"),
)
"""Settings of 0.x that :func:`upgrade_runtime` translates."""

_LAUNCHER = ("gpu_ids", "gpus", "device")
_BACKENDS = {"TensorboardLoggerHook": "TensorboardVisBackend", "WandbLoggerHook": "WandbVisBackend"}
_OF_A_BACKEND = {"init_kwargs": "init_kwargs", "log_dir": "save_dir"}
_TEXT_LOGGER = "TextLoggerHook"
_BEST = ("save_best", "rule", "greater_keys", "less_keys")
_EVALUATION = ("interval", "start", "metric", "pre_eval", "by_epoch", "efficient_test", *_BEST)


def upgrade_runtime(
    settings: Mapping[str, Any], evaluation: Mapping[str, Any], notes: Notes, *, by_epoch: bool
) -> dict[str, Any]:
    """Hooks, logs and environment; ``default_scope`` comes first."""
    backends, interval = _logging(settings.get("log_config") or {}, notes)
    found: dict[str, Any] = {
        "default_scope": "mmseg",
        "env_cfg": {
            "cudnn_benchmark": bool(settings.get("cudnn_benchmark", False)),
            "mp_cfg": {
                "mp_start_method": settings.get("mp_start_method", "fork"),
                "opencv_num_threads": settings.get("opencv_num_threads", 0),
            },
            "dist_cfg": {"backend": "nccl", **(settings.get("dist_params") or {})},
        },
        "vis_backends": backends,
        "visualizer": {"type": "SegLocalVisualizer", "vis_backends": backends, "name": "visualizer"},
        "log_processor": {"by_epoch": by_epoch},
        "log_level": settings.get("log_level", "INFO"),
        **_resuming(settings),
        "default_hooks": {
            "timer": {"type": "IterTimerHook"},
            "logger": {"type": "LoggerHook", "interval": interval, "log_metric_by_epoch": by_epoch},
            "param_scheduler": {"type": "ParamSchedulerHook"},
            "checkpoint": _checkpoints(settings.get("checkpoint_config") or {}, evaluation, by_epoch),
            "sampler_seed": {"type": "DistSamplerSeedHook"},
            "visualization": {"type": "SegVisualizationHook"},
        },
    }
    if settings.get("seed") is not None:
        found["randomness"] = {
            "seed": settings["seed"],
            "deterministic": bool(settings.get("deterministic", False)),
        }
    if settings.get("custom_hooks"):
        found["custom_hooks"] = settings["custom_hooks"]
        names = ", ".join(str(hook.get("type")) for hook in as_list(settings["custom_hooks"]))
        notes.on_training(f"custom_hooks are as they were: they must be hooks of 1.x ({names})")
    found |= _imports(settings.get("custom_imports"), notes)
    for key in evaluation:
        if key not in _EVALUATION:
            notes.on_training(f"evaluation.{key} has no counterpart in 1.x: it is left out")
    for key in _LAUNCHER:
        if settings.get(key) is not None:
            notes.on_training(f"{key} is left out: in 1.x the launcher says it")
    if settings.get("momentum_config"):
        notes.on_training("momentum_config has no counterpart here: it is left out")
    if any(one[0] != "train" for one in as_list(settings.get("workflow"))):
        notes.on_training("workflow has more than training: 1.x evaluates by val_cfg")
    return found


def _logging(config: Mapping[str, Any], notes: Notes) -> tuple[list[dict[str, Any]], int]:
    backends: list[dict[str, Any]] = [{"type": "LocalVisBackend"}]
    for hook in as_list(config.get("hooks")):
        kind = hook.get("type")
        if kind in _BACKENDS:
            keywords = {name: hook[key] for key, name in _OF_A_BACKEND.items() if key in hook}
            backends.append({"type": _BACKENDS[kind], **keywords})
        elif kind != _TEXT_LOGGER:
            notes.on_training(f"the logger {kind} has no counterpart in 1.x: it is left out")
    return backends, int(config.get("interval", 50))


def _resuming(settings: Mapping[str, Any]) -> dict[str, Any]:
    if settings.get("resume_from"):
        return {"load_from": settings["resume_from"], "resume": True}
    return {"load_from": settings.get("load_from"), "resume": bool(settings.get("auto_resume", False))}


def _checkpoints(config: Mapping[str, Any], evaluation: Mapping[str, Any], by_epoch: bool) -> dict[str, Any]:
    # Of `meta`, 1.x writes the classes and the palette itself.
    best = {key: evaluation[key] for key in _BEST if evaluation.get(key) is not None}
    return {
        "type": "CheckpointHook",
        **{"by_epoch": by_epoch, **without(config, "meta", "type", "create_symlink", "sync_buffer")},
        **best,
    }


def _imports(custom: Any, notes: Notes) -> dict[str, Any]:
    if not isinstance(custom, dict):
        return {}
    names = [str(name) for name in as_list(custom.get("imports"))]
    renamed = [renamed_package(name) for name in names]
    own = [new for old, new in zip(names, renamed, strict=True) if old == new]
    if own:
        notes.on_prediction(f"custom_imports are as they were: {', '.join(own)} must be written for 1.x")
    return {"custom_imports": {**custom, "imports": renamed}}
