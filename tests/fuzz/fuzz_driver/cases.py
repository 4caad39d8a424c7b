"""One generated case: a command that works, and up to three changes of its words, files and surroundings.

A case is made from a seed and its number alone. Case ``n`` is of command ``n % commands``: the first round of
all commands is of valid ones, in the second one input is damaged, and all others are changed at random. Every
change has a random sequence of its own, so that a case can be made again without some of its changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import click

from fuzz_driver.commands import Command
from fuzz_driver.damage import DAMAGES
from fuzz_driver.recipes import Input, Output, Word, recipe
from fuzz_driver.values import ANY, REFUSED, TEXTS, is_path, value_of

__all__ = ["MOST_CHANGES", "Case", "make_case"]

MOST_CHANGES = 3

Kind = Literal["valid", "damaged", "changed"]


@dataclass
class Case:
    """A command line, with what must be there before it and what it may end with."""

    seed: int
    number: int
    command: Command
    kind: Kind
    words: list[Word]
    codes: frozenset[int]
    """The exit codes that are right."""
    refused: bool = False
    """Whether the command line itself is wrong: then 2 is the only right code."""
    changes: list[str] = field(default_factory=list)
    """What was changed, in words."""
    surroundings: set[str] = field(default_factory=set)

    def allow(self, codes: frozenset[int]) -> None:
        """Take account of what a change may lead to."""
        if codes == REFUSED:
            self.refused = True
        self.codes = codes if self.codes == frozenset({0}) else self.codes | codes

    @property
    def right_codes(self) -> frozenset[int]:
        return REFUSED if self.refused else self.codes


def make_case(commands: tuple[Command, ...], seed: int, number: int, without: Collection[int] = ()) -> Case:
    """Make case ``number`` of ``seed``, without some of its changes."""
    command = commands[number % len(commands)]
    lap = number // len(commands)
    rng = Random(f"{seed}:{number}")
    base = recipe(command, rng)
    kind: Kind = "valid" if lap == 0 else "damaged" if lap == 1 else "changed"
    case = Case(seed, number, command, kind, list(base.words), base.codes)
    if kind == "damaged":
        _damage(case, rng)
    elif kind == "changed":
        for place in range(rng.randint(0, MOST_CHANGES) if lap > 3 else 1):
            own = Random(f"{seed}:{number}:{place}")
            if place not in without:
                (change,) = own.choices(list(_CHANGES), list(_CHANGES.values()))
                change(case, own)
    return case


_OTHERS = (
    *(
        "tiny.py",
        "tiny.pth",
        "tiny.onnx",
        "foreign.onnx",
        "tiny.pt",
        "tiny.pt2",
        "tiny.engine",
        "results.npz",
    ),
    *("run.log.json", "data", "data/images/0.png", "nets.py", "classes.txt", "weights/vit.pth"),
)
_SURROUNDINGS = {
    "ASCII terminal": frozenset({0}),
    "narrow terminal": frozenset({0}),
    "stdout full": ANY,
    "stderr full": ANY,
    "folder gone": ANY,
    "no TMPDIR": ANY,
    "no HOME": ANY,
}


def _option(case: Case, rng: Random) -> None:
    """An option with a value."""
    options = [item for item in case.command.options if item.name != "debug"]
    option = rng.choice(options)
    flags = [name for name in (*option.opts, *option.secondary_opts) if name.startswith("-")]
    flag = rng.choice(flags)
    case.changes.append(f"option {flag}")
    if option.is_flag:
        case.words.append(flag)
        case.allow(ANY)
    elif is_path(option):
        _path_option(case, option, flag, rng)
    else:
        value = value_of(option, rng)
        case.words += [flag, *value.words]
        case.allow(value.codes)


def _path_option(case: Case, option: click.Option, flag: str, rng: Random) -> None:
    if case.command.writes(option):
        folder = getattr(option.type, "file_okay", True) is False or option.metavar == "FOLDER"
        suffixes = ("",) if folder else ("", ".html", ".npz", ".png", ".json", ".txt", ".py")
        output = Output("out/other" + rng.choice(suffixes), keeps=option.name or "")
        case.words += [flag, _odd_output(case, output, rng) if rng.random() < 0.5 else output]
        case.allow(ANY)
        return
    name = rng.choice(("tiny.py", "tiny.pth", "data", "data/images/0.png", "token.txt", "classes.txt"))
    case.words += [flag, Input(name, rng.choice((*DAMAGES, "")))]
    case.allow(ANY)


def _damage(case: Case, rng: Random) -> None:
    """An input that is damaged, or is none."""
    places = [place for place, word in enumerate(case.words) if isinstance(word, Input) and not word.damage]
    if not places:
        return _arguments(case, rng)
    # The subject comes first, and is what most of the work is done with.
    place = places[0] if rng.random() < 0.5 else rng.choice(places)
    chosen = case.words[place]
    assert isinstance(chosen, Input)
    damage = rng.choice(list(DAMAGES))
    case.words[place] = Input(chosen.name, damage, rng.randrange(1 << 30), chosen.prefix, chosen.suffix)
    case.changes.append(f"{chosen.name}: {damage}")
    # In a folder one file is damaged, which the command may not read; a config that is none is a wrong word.
    case.allow(ANY if chosen.name == "data" or chosen.name.endswith(".py") else DAMAGES[damage].codes)
    return None


def _other_input(case: Case, rng: Random) -> None:
    """An input of another kind in the place of one."""
    places = [place for place, word in enumerate(case.words) if isinstance(word, Input) and not word.damage]
    if not places:
        return _arguments(case, rng)
    name = rng.choice(_OTHERS)
    case.words[rng.choice(places)] = Input(name)
    case.changes.append(f"input {name}")
    case.allow(ANY)
    return None


def _output(case: Case, rng: Random) -> None:
    """An output that is there already, is an input, cannot be written, or has an odd name."""
    places = [place for place, word in enumerate(case.words) if isinstance(word, Output)]
    if not places:
        return _arguments(case, rng)
    place = rng.choice(places)
    chosen = case.words[place]
    assert isinstance(chosen, Output)
    case.words[place] = _odd_output(case, chosen, rng)
    if rng.random() < 0.5:
        forces = [item for item in case.command.options if item.name == "force"]
        case.words += [forces[0].opts[0]] if forces else []
    case.allow(ANY)
    return None


def _odd_output(case: Case, output: Output, rng: Random) -> Word:
    inputs = [word for word in case.words if isinstance(word, Input) and not word.damage]
    if "." not in output.path:  # a folder may take files beside the inputs that it holds
        inputs = [word for word in inputs if "." in word.name]
    suffix = "." + output.path.rpartition(".")[2] if "." in output.path else ""
    kinds = ["a file", "a folder", "a pipe", "a device", "a link to nothing", "a link to an input", ""]
    more = ["an input"] if inputs else []
    odd = rng.choice([*kinds, *more, "in no folder", "under a file", "text", "long"])
    case.changes.append(f"output: {odd}")
    if odd == "an input":
        return rng.choice(inputs)
    if odd in kinds:
        return Output(output.path, output.keeps, there=odd)
    if odd == "in no folder":
        return Output(f"no/such/folder/x{suffix}", output.keeps)
    if odd == "under a file":
        return Output(f"in/classes.txt/x{suffix}", output.keeps)
    if odd == "long":
        return Output(f"out/{'n' * 300}{suffix}", output.keeps)
    return Output(f"out/{rng.choice(TEXTS)}".replace("../", "") + suffix, output.keeps)


def _arguments(case: Case, rng: Random) -> None:
    """A word too many, too few, or one that no option has."""
    how = rng.choice(("unknown option", "extra", "dropped", "odd"))
    case.changes.append(f"words: {how}")
    if how == "unknown option":
        case.words.append(rng.choice(("--no-such-option", "-Q", "--no-such=1", "--\x1b[31m", "--\udcff")))
        case.allow(REFUSED)
    elif how == "dropped" and case.words and not case.refused:  # it may be the word that is refused
        del case.words[rng.randrange(len(case.words))]
        case.allow(ANY)
    elif how == "extra":
        case.words.append(rng.choice(TEXTS))
        case.allow(ANY)
    else:
        case.words.insert(rng.randint(0, len(case.words)), rng.choice(TEXTS))
        case.allow(ANY)


def _surroundings(case: Case, rng: Random) -> None:
    """What the process finds: its streams, folders and environment."""
    what = rng.choice(list(_SURROUNDINGS))
    case.changes.append(what)
    case.surroundings.add(what)
    case.allow(_SURROUNDINGS[what])


_CHANGES: Mapping[Callable[[Case, Random], None], int] = {
    _option: 10,
    _damage: 6,
    _other_input: 2,
    _output: 3,
    _arguments: 1,
    _surroundings: 2,
}
"""What may be changed, and how often in relation to the others."""
