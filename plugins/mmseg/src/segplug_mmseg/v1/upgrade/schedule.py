"""What updates weights: the optimizer, the learning rate over time, the loops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segplug_mmseg.v1.upgrade.notes import Notes
from segplug_mmseg.v1.upgrade.plain import without

__all__ = ["by_epoch", "length", "optim_wrapper", "param_scheduler", "train_loop"]

_EPOCHS = "EpochBasedRunner"
_WARMUP = ("warmup", "warmup_iters", "warmup_ratio", "warmup_by_epoch")
_LOSS_SCALE = 512.0
"""That of ``Fp16OptimizerHook``."""
_CONSTRUCTORS = {"DefaultOptimizerConstructor": "DefaultOptimWrapperConstructor"}


def by_epoch(settings: Mapping[str, Any]) -> bool:
    """Whether the runner counts epochs."""
    runner = settings.get("runner")
    if isinstance(runner, dict):
        return runner.get("type") == _EPOCHS or "max_epochs" in runner
    return "total_epochs" in settings


def length(settings: Mapping[str, Any]) -> int | None:
    """Iterations or epochs of a training; ``None``: the config does not say it."""
    runner = settings.get("runner") or {}
    keys = ("max_epochs", "total_epochs") if by_epoch(settings) else ("max_iters", "total_iters")
    return next((int(place[key]) for key in keys for place in (runner, settings) if place.get(key)), None)


def train_loop(settings: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any] | None:
    """``train_cfg`` at the top level: how long training takes, and how often it is evaluated."""
    end, epochs = length(settings), by_epoch(settings)
    if end is None:
        return None
    kind, unit = ("EpochBasedTrainLoop", "max_epochs") if epochs else ("IterBasedTrainLoop", "max_iters")
    found = {"type": kind, unit: end}
    if evaluation.get("interval"):
        found["val_interval"] = evaluation["interval"]
    if evaluation.get("start"):
        found["val_begin"] = evaluation["start"]
    return found


def optim_wrapper(settings: Mapping[str, Any], notes: Notes) -> dict[str, Any] | None:
    """``optim_wrapper`` of ``optimizer``, ``optimizer_config`` and ``fp16``; ``None``: no optimizer."""
    optimizer = settings.get("optimizer")
    if not isinstance(optimizer, dict):
        return None
    found: dict[str, Any] = {
        "type": "OptimWrapper",
        "optimizer": without(optimizer, "paramwise_cfg", "constructor"),
    }
    if "paramwise_cfg" in optimizer:
        found["paramwise_cfg"] = optimizer["paramwise_cfg"]
    if "constructor" in optimizer:
        constructor = optimizer["constructor"]
        found["constructor"] = _CONSTRUCTORS.get(constructor, constructor)
    config = dict(settings.get("optimizer_config") or {})
    hook = str(config.pop("type", "OptimizerHook"))
    found["clip_grad"] = config.pop("grad_clip", None)
    steps = config.pop("cumulative_iters", 1)
    if steps != 1:
        found["accumulative_counts"] = steps
    # 0.x has an empty `fp16` beside the hook, which says the scale.
    half = dict(settings.get("fp16") or {}), config
    if settings.get("fp16") is not None or "Fp16" in hook or config.get("use_fp16"):
        scales = [one["loss_scale"] for one in half if "loss_scale" in one]
        found |= {"type": "AmpOptimWrapper", "loss_scale": scales[-1] if scales else _LOSS_SCALE}
    config = without(config, "loss_scale", "use_fp16", "distributed")
    for key in config:
        notes.on_training(f"optimizer_config.{key} has no counterpart in 1.x: it is left out")
    if "Optimizer" not in hook:
        notes.on_training(f"optimizer_config has the type {hook}, which 1.x does not have")
    return found


def param_scheduler(settings: Mapping[str, Any], notes: Notes) -> list[dict[str, Any]]:
    """``param_scheduler`` of ``lr_config``: the same rates, warm-up included."""
    config = dict(settings.get("lr_config") or {})
    if not config:
        return []
    policy, epochs = str(config.pop("policy", "fixed")), bool(config.pop("by_epoch", True))
    warmup = {key: config.pop(key, None) for key in _WARMUP}
    end = length(settings)
    if end is not None and epochs != by_epoch(settings):
        notes.on_training("lr_config counts otherwise than the runner: the end of its policy is left out")
        end = None
    found = _policy(policy.lower(), config, end, notes)
    if found is None:
        notes.on_training(f"the learning rate policy {policy} has no counterpart in 1.x: it is left out")
    found = [] if found is None else [{**one, "by_epoch": epochs} for one in found]
    if warmup["warmup"] and any(one.get("eta_min") or one.get("eta_min_ratio") for one in found):
        notes.on_training("with a warm-up and a least rate, learning rates differ slightly from those of 0.x")
    for key in config:
        notes.on_training(f"lr_config.{key} has no counterpart in 1.x: it is left out")
    return [*_warmup(warmup, notes), *found]


def _warmup(warmup: Mapping[str, Any], notes: Notes) -> list[dict[str, Any]]:
    kind, count = warmup["warmup"], warmup["warmup_iters"]
    if kind is None or not count:
        return []
    ratio = 0.1 if warmup["warmup_ratio"] is None else float(warmup["warmup_ratio"])
    # mmengine's factor is 1 in the last step before its end, that of 0.x in the step after the warm-up.
    common = {"begin": 0, "end": int(count) + 1, "by_epoch": bool(warmup["warmup_by_epoch"])}
    if warmup["warmup_by_epoch"]:
        notes.on_training("warmup_by_epoch: the rate of the warm-up changes once an epoch in 1.x")
    if kind == "linear":
        return [{"type": "LinearLR", "start_factor": ratio, **common}]
    if kind == "constant":
        return [{"type": "ConstantLR", "factor": ratio, **common}]
    notes.on_training(f"the warm-up {kind!r} has no counterpart in 1.x: it is left out")
    return []


def _policy(
    policy: str, config: dict[str, Any], end: int | None, notes: Notes
) -> list[dict[str, Any]] | None:
    """Takes from ``config`` what it uses."""
    if policy == "fixed":
        return []
    if policy == "step":
        step, gamma = config.pop("step"), config.pop("gamma", 0.1)
        if isinstance(step, (list, tuple)):
            return [{"type": "MultiStepLR", "milestones": list(step), "gamma": gamma}]
        return [{"type": "StepLR", "step_size": step, "gamma": gamma}]
    if policy == "exp":
        return [{"type": "ExponentialLR", "gamma": config.pop("gamma")}]
    if end is None:
        return None
    if policy == "poly":
        least, power = config.pop("min_lr", 0.0), config.pop("power", 1.0)
        # mmengine reaches the least rate in the last step before its end, 0.x in the step after training.
        return [{"type": "PolyLR", "eta_min": least, "power": power, "begin": 0, "end": end + 1}]
    if policy == "cosineannealing":
        least = {"eta_min": config.pop("min_lr", None), "eta_min_ratio": config.pop("min_lr_ratio", None)}
        known = {key: value for key, value in least.items() if value is not None}
        return [{"type": "CosineAnnealingLR", "T_max": end, **known, "begin": 0, "end": end}]
    return None
