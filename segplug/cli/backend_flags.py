"""The options of a model's backend as flags: ``segplug predict foreign.onnx photo.jpg --mean 0 --std 255``.

The backend is the one that ``--backend`` names, or the one that the model's file says; PyTorch for a file
that a source of models reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from segplug.cli.provider_flags import flags_of, given_flags
from segplug.cli.source_flags import ModelCommand, reader_of_a_path
from segplug.engine import REFERENCE_BACKEND

if TYPE_CHECKING:
    from segplug.installed import Entry, Provider

__all__ = ["BackendCommand", "chosen_backend", "given_backend_options"]

_CHOSEN = "segplug.backend"
_FLAGS = "segplug.backend_flags"
"""Keys in the context of a command."""

_PREFIX = "backend_flag_"


class BackendCommand(ModelCommand):
    """A command of a ``model``, with the flags of the model's backend.

    Its parameters are, among others, ``model``, ``backend`` and ``source``.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        chosen = _choose(self._first_look(args))
        if chosen is not None:
            ctx.meta[_CHOSEN] = chosen
            backend = chosen[0]
            ctx.meta[_FLAGS] = flags_of(backend, self.params, group=backend.entry.target, prefix=_PREFIX)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *ctx.meta.get(_FLAGS, ())]

    def _first_look(self, args: Sequence[str]) -> Mapping[str, Any]:
        """The arguments as they are, of the command's own flags, before the backend's are known."""
        ctx = click.Context(self, ignore_unknown_options=True, allow_extra_args=True)
        try:
            found: Mapping[str, Any] = self.make_parser(ctx).parse_args(list(self.spread(ctx, args)))[0]
        except click.UsageError:  # said when the arguments are parsed in full
            return {}
        return found


def chosen_backend() -> tuple[Provider, tuple[Entry, ...]]:
    """The backend of the present command's model, and the others that open it, too."""
    chosen: tuple[Provider, tuple[Entry, ...]] = click.get_current_context().meta[_CHOSEN]
    return chosen


def given_backend_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """The backend's own options that were given, by name."""
    return given_flags(values, _PREFIX)


def _choose(given: Mapping[str, Any]) -> tuple[Provider, tuple[Entry, ...]] | None:
    from segplug.registry.formats import default_backend
    from segplug.registry.registry import Registry

    # What is not given is a sentinel of click's, in later releases.
    model, backend, source = (
        value if isinstance(value := given.get(name), str) else "" for name in ("model", "backend", "source")
    )
    if backend or source:
        return Registry().provider("infer", backend or REFERENCE_BACKEND), ()
    if not model:
        return None
    if reader_of_a_path([model]) is not None:  # a file that a source reads, though its name is an artifact's
        return Registry().provider("infer", REFERENCE_BACKEND), ()
    return default_backend(Registry(), model)
