"""Choose the engines that a benchmark compares: every subject with every backend that takes it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.engine import REFERENCE_BACKEND
from segplug.errors import UsageError
from segplug.locations import has_scheme
from segplug.providers import Confidence
from segplug.registry.formats import backends_for
from segplug.registry.hub import how_to_download
from segplug.regular_files import why_no_file
from segplug.text import counted
from segplug_analysis.benchmark.options import Options

if TYPE_CHECKING:
    from segplug.installed import Entry
    from segplug.session import Providers, Session

__all__ = ["Candidate", "choose"]


@dataclass(frozen=True)
class Candidate:
    """One engine to be timed: everything that its process needs to open it."""

    name: str
    """A name for people, different for each candidate."""
    subject: str
    is_model: bool
    """Whether ``subject`` is a config, which has to be loaded; else it is an artifact."""
    backend: str
    """The ``infer`` target."""
    device: str
    """Where the backend runs."""
    threads: int | None
    checkpoint: str | None = None
    model_options: Mapping[str, Any] = field(default_factory=dict)
    """The other keywords of ``load_model``."""
    trust_artifact: bool = False
    """Whether an artifact is opened even if it may run code."""
    allow_nonfinite: bool = False
    """Whether weights may be NaN or infinite."""
    backend_options: Mapping[str, str] = field(default_factory=dict)
    without_addons: tuple[str, ...] = ()
    addon_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    parent: str | None = None
    """The id of the report's call: the process works for it."""


def choose(subjects: Sequence[str], options: Options, session: Session) -> list[Candidate]:
    """The candidates, in the order of the subjects and of the backends as they were named.

    Raises:
        UsageError: no subject is named or one does not exist, no backend takes it, or a backend takes
            none of them.
        PluginError: a backend that was named is broken.
    """
    if not subjects:
        raise UsageError("analyze benchmark takes one or more configs and artifacts, and none is named")
    subjects = [os.path.expanduser(subject) for subject in subjects]
    configs = [subject for subject in subjects if _is_model(session, subject, options.source)]
    hint = "the weights of a config are named with --checkpoint" if configs else None
    backend_options = _backend_options(options.backend_options)
    weights = iter(_weights(configs, options))
    named = {name: session.registry.provider("infer", name).entry for name in options.backend}
    candidates: list[Candidate] = []
    for subject in subjects:
        is_model = subject in configs
        candidate = Candidate(
            name=subject,
            subject=subject,
            is_model=is_model,
            backend="",
            device="",
            threads=options.threads,
            checkpoint=next(weights) if is_model else None,
            model_options={"trust_checkpoint": options.trust_checkpoint, **options.loading(session)},
            trust_artifact=options.trust_artifact,
            allow_nonfinite=options.allow_nonfinite,
            without_addons=tuple(sorted(session.registry.without_addons)),
            addon_options=session.registry.given_addon_options,
        )
        if is_model:
            backends = _backends_of_model(session.registry, subject, named)
        else:
            backends = _backends_of_artifact(subject, named, hint=hint)
        for name, backend in backends.items():
            given = backend_options.get(name, {})
            if given:  # a wrong option is an error before any process starts
                session.registry.load(backend).make_options(given)
            device = options.device or backend.facts.default_device
            candidates.append(replace(candidate, backend=name, device=device, backend_options=given))
    _refuse_unused(options.backend, candidates, "--backend")
    _refuse_unused(backend_options, candidates, "--backend-options")
    return _with_names(candidates)


def _is_model(session: Session, subject: str, source: str | None) -> bool:
    if source is None:
        return session.reads_model(subject)
    accepts = session.registry.provider("load_model", source).method("accepts")
    return bool(accepts(subject) > Confidence.NO)


def _weights(configs: Sequence[str], options: Options) -> list[str | None]:
    """A checkpoint, or none, for each of the configs."""
    given = [os.path.expanduser(path) for path in options.checkpoint]
    for path in (*(config for config in configs if not has_scheme(config)), *given):
        if not os.path.isdir(path) and (reason := why_no_file(path)):
            raise UsageError(reason, hint=how_to_download(path))
    flags = {
        "--checkpoint": given,
        "--cfg-options": options.cfg_options,
        "--source-options": options.source_options,
        "--approximate": options.approximate,
    }
    if not configs and any(flags.values()):
        flag = next(flag for flag, value in flags.items() if value)
        raise UsageError(f"{flag} belongs to a config, and there is none here")
    if not given:
        return [None] * len(configs)
    if len(given) != len(configs):
        raise UsageError(
            f"--checkpoint names {counted(len(given), 'file')} for {counted(len(configs), 'config')}",
            hint="name one for each config, in the same order, or none",
        )
    return [*given]


def _backends_of_model(providers: Providers, config: str, named: Mapping[str, Entry]) -> Mapping[str, Entry]:
    """The backends that run a config's network itself: those of the named ones, else PyTorch."""
    if not named:
        return {REFERENCE_BACKEND: providers.provider("infer", REFERENCE_BACKEND).entry}
    chosen = {name: backend for name, backend in named.items() if backend.facts.takes == "model"}
    if not chosen:
        raise UsageError(f"none of the backends {', '.join(named)} runs the config {config} itself")
    return chosen


def _backends_of_artifact(
    subject: str, named: Mapping[str, Entry], *, hint: str | None
) -> Mapping[str, Entry]:
    """The backends that open an artifact: those of the named ones, else all that are installed."""
    if not Path(subject).is_dir() and (reason := why_no_file(subject)):
        raise UsageError(reason, hint=how_to_download(subject))
    fitting = backends_for(Path(subject))
    if not named:
        if not fitting:
            raise UsageError(f"no installed backend opens {subject}, by its name", hint=hint)
        return {backend.name: backend for backend in fitting}
    # Where the file's name fits no backend, the backend itself decides whether it opens the file.
    targets = [backend.target for backend in fitting]
    chosen = {
        name: backend
        for name, backend in named.items()
        if backend.facts.takes == "artifact" and (not fitting or backend.target in targets)
    }
    if not chosen:
        hint = f"it is opened by {', '.join(targets)}" if fitting else hint
        raise UsageError(f"none of the backends {', '.join(named)} opens {subject}", hint=hint)
    return chosen


def _backend_options(given: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Group ``onnxruntime.output_kind`` and the like by backend."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in (given or {}).items():
        backend, dot, name = key.rpartition(".")
        if not dot or not backend:
            raise UsageError(
                f"--backend-options: '{key}' does not name its backend",
                hint="BACKEND.OPTION=VALUE, such as onnxruntime.output_kind=logits",
            )
        found.setdefault(backend, {})[name] = value
    return found


def _refuse_unused(
    names: Sequence[str] | Mapping[str, Any], candidates: Sequence[Candidate], flag: str
) -> None:
    """A backend that takes none of the subjects was named by mistake."""
    used = {candidate.backend for candidate in candidates}
    for name in names:
        if name not in used:
            raise UsageError(f"{flag} {name}: this backend takes none of the configs and artifacts")


def _with_names(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Give each candidate a short name of its own, also where a file is named twice."""
    short = Counter(Path(subject).name for subject in {candidate.subject for candidate in candidates})
    seen: Counter[str] = Counter()
    named = []
    for candidate in candidates:
        file = Path(candidate.subject).name
        name = f"{file if short[file] == 1 else candidate.subject} on {candidate.backend}"
        seen[name] += 1
        named.append(replace(candidate, name=name if seen[name] == 1 else f"{name} ({seen[name]})"))
    return named
