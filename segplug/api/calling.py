"""Call hooks: the context of a call, and the session that belongs to it."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict

from segplug.calls import Call
from segplug.installed import Entry, Provider
from segplug.progress import QuietReporter, Reporter
from segplug.registry.hooks import WITH_CALL
from segplug.registry.registry import Registry

if TYPE_CHECKING:
    from typing_extensions import Self

    from segplug.session import Session

__all__ = ["CallContext", "Caller"]


class CallContext(TypedDict):
    """The fields that every request has but its options."""

    call: Call
    reporter: Reporter
    session: Session


class Caller:
    """The part of :class:`segplug.Segplug` that calls hooks."""

    def __init__(
        self,
        *,
        reporter: Reporter | None = None,
        without_addons: Collection[str] = (),
        addon_options: Mapping[str, Mapping[str, Any]] | None = None,
        parent: str | None = None,
    ) -> None:
        self.registry = Registry(without_addons, addon_options)
        self.reporter: Reporter = reporter or QuietReporter()
        self._parent = parent
        self._verifies = False

    def with_reporter(self, reporter: Reporter) -> Self:
        """The same application, with the same plugins loaded, reporting to ``reporter``."""
        reporting = copy.copy(self)
        reporting.reporter = reporter
        return reporting

    def _for_verification(self) -> Self:
        """The same application; what is called through it is part of a verification."""
        verifying = copy.copy(self)
        verifying._verifies = True
        return verifying

    def _context(self, entry: Entry) -> CallContext:
        """The context of a new call: calls that are made through its session have it as parent."""
        call = Call(
            hook=entry.hook,
            target=entry.target,
            distribution=entry.distribution,
            version=entry.version,
            parent=self._parent,
            verification=self._verifies,
        )
        session = copy.copy(self)
        session._parent = call.id
        return {"call": call, "reporter": self.reporter, "session": session}  # type: ignore[typeddict-item]

    def _call_hook(self, provider: Provider, request: Any) -> Any:
        """Call the provider's hook; its result gets the call that made it, where it has a place for it."""
        return self.registry.call(provider, request, _stamped)


def _stamped(request: Any, result: Any) -> Any:
    return replace(result, call=request.call) if isinstance(result, WITH_CALL) else result
