"""The files that a report's options name: staged, and placed when nobody has refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segplug.errors import UsageError
from segplug.files import refuse_input
from segplug.options import OptionSpec
from segplug.results import AnalyzeReport
from segplug.staging import Stage, stage_file

__all__ = ["StagedOutputs", "staged_outputs"]


@dataclass(frozen=True)
class StagedOutputs:
    """Options whose output files lie in stages."""

    options: Any
    """The options with the staged paths in place of the given ones."""
    _stages: tuple[Stage, ...]

    def named(self, report: AnalyzeReport) -> AnalyzeReport:
        """The report with the files' final paths in its texts and data, where it names staged ones."""
        if not self._stages:
            return report
        places = {str(stage.output): str(stage.destination) for stage in self._stages}
        return dataclasses.replace(
            report,
            title=_named(report.title, places),
            text=_named(report.text, places),
            data=_named(report.data, places),
            notes=_named(report.notes, places),
            failures=_named(report.failures, places),
        )

    def commit(self) -> None:
        """Place the files that were written; raises as :meth:`segplug.staging.Stage.commit` does."""
        for stage in self._stages:
            if stage.names():
                stage.commit()


def _named(value: Any, places: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for staged, final in places.items():
            value = value.replace(staged, final)
        return value
    if isinstance(value, Mapping):
        return {key: _named(item, places) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_named(item, places) for item in value)
    return value


@contextmanager
def staged_outputs(
    options: Any, specs: Sequence[OptionSpec], *, inputs: Sequence[str], force: bool
) -> Iterator[StagedOutputs]:
    """Stage the files that options declared with ``output=True`` name.

    Args:
        options: An instance of the provider's options.
        specs: Its declared options.
        inputs: The files that the report reads: none of them is written over.
        force: Replace files that are there.

    Raises:
        UsageError: a file exists and ``force`` is not set, is an input, or is named twice.
    """
    named = {spec.name: getattr(options, spec.name) for spec in specs if spec.output}
    given: dict[str, Path] = {name: path for name, path in named.items() if path is not None}
    if len(set(given.values())) < len(given):
        raise UsageError("an output file is named twice", hint="give each output a name of its own")
    with ExitStack() as stack:
        stages = {}
        for name, path in given.items():
            refuse_input(path, inputs)
            stages[name] = stack.enter_context(stage_file(path, force=force))
        staged = {name: stage.output for name, stage in stages.items()}
        yield StagedOutputs(dataclasses.replace(options, **staged), tuple(stages.values()))
