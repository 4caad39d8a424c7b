"""Which engines a benchmark compares: every subject with every backend that takes it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.engine import REFERENCE_BACKEND
from segplug.errors import UsageError
from segplug.registry.formats import backends_for

if TYPE_CHECKING:
    from segplug.session import Providers, Session
    from segplug_analysis.benchmark.provider import Options

__all__ = ["Candidate", "choose"]


@dataclass(frozen=True)
class Candidate:
    """One engine to be timed: all that its process needs to open it."""

    name: str
    """Unique among the candidates, for people."""
    subject: str
    is_model: bool
    """Whether ``subject`` is a config, to be loaded, and no artifact."""
    backend: str
    """The ``infer`` target."""
    device: str
    threads: int | None
    checkpoint: str | None = None
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    trust_checkpoint: bool = False
    backend_options: Mapping[str, str] = field(default_factory=dict)
    without_addons: tuple[str, ...] = ()


def choose(subjects: Sequence[str], options: Options, session: Session) -> list[Candidate]:
    """The candidates, in the order of the subjects and of the backends as they were named.

    Raises:
        UsageError: no subject is named or one is not there, no backend takes it, or a backend takes
            none of them.
        PluginError: a backend that was named is broken.
    """
    if not subjects:
        raise UsageError("analyze benchmark takes one or more configs and artifacts, and none is named")
    subjects = [os.path.expanduser(subject) for subject in subjects]
    configs = [subject for subject in subjects if _is_model(session, subject, options.source)]
    slip = "the weights of a config are named with --checkpoint" if configs else None
    own = _backend_options(options.backend_options)
    weights = iter(_weights(configs, options))
    found: list[Candidate] = []
    for subject in subjects:
        is_model = subject in configs
        candidate = Candidate(
            name=subject,
            subject=subject,
            is_model=is_model,
            backend="",
            device=options.device,
            threads=options.threads,
            checkpoint=next(weights) if is_model else None,
            cfg_options=dict(options.cfg_options or {}),
            source=options.source,
            trust_checkpoint=options.trust_checkpoint,
            without_addons=tuple(sorted(session.registry.without_addons)),
        )
        if is_model:
            backends = _backends_of_model(session.registry, subject, options.backend)
        else:
            backends = _backends_of_artifact(session.registry, subject, options.backend, hint=slip)
        found += [replace(candidate, backend=name, backend_options=own.get(name, {})) for name in backends]
    _refuse_idle(options.backend, found, "--backend")
    _refuse_idle(own, found, "--backend-options")
    for candidate in found:
        provider = session.registry.provider("infer", candidate.backend)
        provider.make_options(dict(candidate.backend_options))
    return _named(found)


def _is_model(session: Session, subject: str, source: str | None) -> bool:
    if source is None:
        return session.reads_model(subject)
    accepts = session.registry.provider("load_model", source).method("accepts")
    return accepts is not None and bool(accepts(subject))


def _weights(configs: Sequence[str], options: Options) -> list[str | None]:
    """A checkpoint, or none, for each of the configs."""
    given = [os.path.expanduser(path) for path in options.checkpoint]
    for path in (*configs, *given):
        if not Path(path).is_file():
            raise UsageError(f"there is no file {path}")
    if (given or options.cfg_options) and not configs:
        flag = "--checkpoint" if given else "--cfg-options"
        raise UsageError(f"{flag} belongs to a config, and there is none here")
    if not given:
        return [None] * len(configs)
    if len(given) != len(configs):
        raise UsageError(
            f"--checkpoint names {len(given)} files for {len(configs)} configs",
            hint="name one for each config, in the same order, or none",
        )
    return [*given]


def _backends_of_model(providers: Providers, config: str, wanted: Sequence[str]) -> list[str]:
    """The backends, of those wanted or else PyTorch, that run a config's network itself."""
    chosen = [name for name in wanted if providers.provider("infer", name).takes == "model"]
    if wanted and not chosen:
        raise UsageError(f"none of the backends {', '.join(wanted)} runs the config {config} itself")
    return chosen or [REFERENCE_BACKEND]


def _backends_of_artifact(
    providers: Providers, subject: str, wanted: Sequence[str], hint: str | None
) -> list[str]:
    """The backends, of those wanted or else of all, that open an artifact."""
    if not Path(subject).exists():
        raise UsageError(f"there is no file {subject}")
    fitting = [backend.entry.target for backend in backends_for(providers, Path(subject))]
    if not wanted:
        if not fitting:
            raise UsageError(f"no installed backend opens {subject}, by its name", hint=hint)
        return fitting
    # A name that says nothing is no reason to refuse: the backend itself finds out.
    named = {name: providers.provider("infer", name) for name in wanted}
    chosen = [
        name
        for name, backend in named.items()
        if backend.takes == "artifact" and (not fitting or backend.entry.target in fitting)
    ]
    if not chosen:
        hint = f"it is opened by {', '.join(fitting)}" if fitting else hint
        raise UsageError(f"none of the backends {', '.join(wanted)} opens {subject}", hint=hint)
    return chosen


def _backend_options(given: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """``onnxruntime.output_kind`` to value, as backend to its options."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in (given or {}).items():
        backend, dot, name = key.rpartition(".")
        if not dot or not backend:
            raise UsageError(
                f"--backend-options: '{key}' does not say whose option it is",
                hint="BACKEND.OPTION=VALUE, such as onnxruntime.output_kind=logits",
            )
        found.setdefault(backend, {})[name] = value
    return found


def _refuse_idle(names: Sequence[str] | Mapping[str, Any], found: Sequence[Candidate], flag: str) -> None:
    """A backend that nothing was found for is a slip, not a wish for nothing."""
    used = {candidate.backend for candidate in found}
    for name in names:
        if name not in used:
            raise UsageError(f"{flag} {name}: it takes none of what is to be timed")


def _named(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Short names where they are enough, and no two alike: the same pair twice shows the noise."""
    short = Counter(Path(subject).name for subject in {candidate.subject for candidate in candidates})
    seen: Counter[str] = Counter()
    named = []
    for candidate in candidates:
        file = Path(candidate.subject).name
        name = f"{file if short[file] == 1 else candidate.subject} on {candidate.backend}"
        seen[name] += 1
        named.append(replace(candidate, name=name if seen[name] == 1 else f"{name} ({seen[name]})"))
    return named
