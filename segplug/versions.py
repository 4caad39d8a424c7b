"""The version of every hook, what changed in each version, and which older ones still run. Plain data.

A provider says for which version of its hook it was written (``hook_version``), an add-on for each hook that
it wraps (``hook_versions``). A version grows when a request or a result changes so that a provider can notice
it. Hooks have versions of their own: a change of ``infer`` asks nothing of an exporter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from segplug.version import __version__

__all__ = ["CHANGES_PAGE", "HOOK_VERSIONS", "HookVersions"]

CHANGES_PAGE = "docs/hook-versions.md"
"""The page of segplug's repository that says for authors of plugins what changed, and what to do."""

_TYPED = (
    "Base classes (segplug.providers), a manifest, keyword-only requests with their call; the core stages, "
    "names and hashes what is made. "
)


@dataclass(frozen=True)
class HookVersions:
    """The versions of one hook.

    Attributes:
        current: The version that segplug calls the hook with.
        changes: Version to what changed in it, every version since 2.
        ends: An older version that still runs, to the version of segplug in which that ends: ``{2:
            "0.4"}``. An older version that is not in it is refused.
    """

    current: int
    changes: Mapping[int, str]
    ends: Mapping[int, str]

    def runs(self, version: int) -> bool:
        """Whether a provider of this version runs in this segplug."""
        if version == self.current:
            return True
        return version in self.ends and _numbers(__version__) < _numbers(self.ends[version])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _second(text: str) -> HookVersions:
    return HookVersions(current=2, changes={2: _TYPED + text}, ends={})


HOOK_VERSIONS: Mapping[str, HookVersions] = {
    "export": _second(
        "Tracing gets an ExportRequest, packing a PackRequest; the result is request.made(meta)."
    ),
    "build_engine": _second("The result is request.made(meta); precisions are declared."),
    "infer": _second("The request has a session; file, loaded and address give its subject."),
    "convert_weights": _second("source is checkpoint, output is the staged file, destination the final one."),
    "analyze": _second("Results are keyword-only."),
    "load_model": _second("accepts returns a Confidence and looks into the file."),
    "load_dataset": _second("accepts returns a Confidence and looks into the file."),
    "run": HookVersions(
        current=2, changes={2: "New: an executor runs a job; add-ons see whole runs."}, ends={}
    ),
    "command": HookVersions(current=2, changes={2: "New: add-ons see the commands of plugins."}, ends={}),
}
