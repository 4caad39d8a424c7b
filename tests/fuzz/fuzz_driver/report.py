"""Run many cases, and count what they did."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_driver.cases import MOST_CHANGES, Case, make_case
from fuzz_driver.checks import faults_of
from fuzz_driver.commands import Command, all_commands
from fuzz_driver.running import Forks, Outcome, Session, open_session

__all__ = ["Report", "run_cases"]


Result = tuple[Case, Outcome, list[str]]
"""A case, what it did, and what is wrong with that."""


@dataclass
class Report:
    """What the cases of a run did."""

    seed: int
    cases: list[Result] = field(default_factory=list)

    @property
    def failed(self) -> list[Result]:
        return [item for item in self.cases if item[2]]

    @property
    def parsed(self) -> int:
        """Cases whose command line was right, so that the command itself ran."""
        return sum("parsed" in outcome.marks for _, outcome, _ in self.cases)

    @property
    def reached(self) -> int:
        """Cases in which a hook of a plugin was called."""
        return sum(len(outcome.marks) > 1 for _, outcome, _ in self.cases)

    def kinds(self) -> dict[str, Counter[str]]:
        """For each command, how many cases were valid, damaged or changed."""
        found: dict[str, Counter[str]] = {}
        for case, _, _ in self.cases:
            found.setdefault(case.command.name, Counter())[case.kind] += 1
        return found

    def text(self) -> str:
        """The numbers, as lines."""
        lines = [
            f"seed {self.seed}: {len(self.cases)} cases, {self.parsed} past option parsing, "
            f"{self.reached} reached a plugin; {len(self.failed)} are wrong"
        ]
        codes = Counter(outcome.code for _, outcome, _ in self.cases)
        lines.append("exit codes: " + ", ".join(f"{code}: {count}" for code, count in sorted(codes.items())))
        for name, kinds in self.kinds().items():
            lines.append(f"  {name}: " + ", ".join(f"{kind} {count}" for kind, count in kinds.items()))
        if self.cases:
            slowest = max(self.cases, key=lambda item: item[1].seconds)
            largest = max(self.cases, key=lambda item: item[1].peak)
            lines.append(f"slowest: {slowest[1].seconds:.1f} s, case {slowest[0].number}")
            lines.append(f"most memory: {largest[1].peak / (1 << 20):.0f} MiB, case {largest[0].number}")
        return "\n".join(lines)


def run_cases(
    folder: Path,
    seed: int,
    numbers: Iterable[int],
    *,
    only: str = "",
    plain: Callable[[int], bool] = lambda number: False,
    most_seconds: float = math.inf,
    processes: int = 1,
    every: bool = False,
    say: Callable[[str], None],
) -> Report:
    """Run cases and describe each that is wrong.

    Args:
        folder: For all files of the run.
        seed: With a number it makes a case.
        numbers: Of the cases.
        only: Run commands alone whose names contain this.
        plain: Whether a case gets a new interpreter.
        most_seconds: Begin no case after this time.
        processes: How many run at the same time.
        every: Describe the cases that are right, too.
        say: Gets the description of a case.
    """
    commands = all_commands()
    report = Report(seed)
    began = time.monotonic()

    with open_session(folder, processes) as (session, idle):

        def run(number: int) -> None:
            case = make_case(commands, seed, number)
            if only not in case.command.name or time.monotonic() - began > most_seconds:
                return
            forks = idle.get()
            try:
                outcome, faults = _run(session, forks, case, plain=plain(number))
                if faults:
                    case, outcome, faults = _smallest(session, forks, commands, (case, outcome, faults))
                    say(described(case, outcome, faults))
                elif every:
                    say(described(case, outcome, ()))
                report.cases.append((case, outcome, faults))
            finally:
                idle.put(forks)

        with ThreadPoolExecutor(processes) as pool:
            list(pool.map(run, numbers))
    return report


def _run(session: Session, forks: Forks, case: Case, *, plain: bool = False) -> tuple[Outcome, list[str]]:
    outcome = session.run(forks, case, plain=plain)
    faults = faults_of(case, outcome)
    if outcome.code == 0 and (why := session.opens(forks, outcome)):
        faults.append(f"what it wrote cannot be opened: {why}")
    return outcome, faults


def _smallest(session: Session, forks: Forks, commands: tuple[Command, ...], wrong: Result) -> Result:
    """The same case without the changes that it is wrong without."""
    case, outcome, faults = wrong
    without: set[int] = set()
    for place in range(MOST_CHANGES):
        fewer = make_case(commands, case.seed, case.number, {*without, place})
        if len(fewer.changes) < len(case.changes):
            again, found = _run(session, forks, fewer)
            if found:
                without.add(place)
                case, outcome, faults = fewer, again, found
    return case, outcome, faults


def described(case: Case, outcome: Outcome, faults: Sequence[str]) -> str:
    """A wrong case for people: what was wrong, the command, what it said, and how to repeat it."""
    said = outcome.stderr.decode(errors="replace").strip().split("\n")
    return "\n".join(
        [
            f"case {case.number} ({case.command.name}; {', '.join(case.changes) or case.kind}):",
            *(f"  {fault}" for fault in faults[:6]),
            f"  {outcome.command_line[:1000]}",
            f"  exit code {outcome.code}, {outcome.seconds:.1f} s, {outcome.peak >> 20} MiB; "
            + "; ".join(outcome.marks),
            *(f"  | {ascii(line)[1:-1][:300]}" for line in said[-4:]),
            f"  repeat: PYTHONPATH=tests/fuzz python -m fuzz_driver --seed {case.seed} --case {case.number}",
        ]
    )
