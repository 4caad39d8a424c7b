"""The context of a call: what made it, whether it is part of a verification, and the result that says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from segplug import Segplug
from segplug.dataset import DatasetInfo
from segplug.testing.engines import ArrayDataset
from tests.registry.support import COUNT, COUNT_GROUPS, IMPORTS, POLICY, RULE_GROUPS, TOY_GROUPS, TOYS, seen

RECORD = (
    IMPORTS
    + """
SEEN = []

def wrapper(hook):
    def wrap(self, request):
        assert request.call.hook == hook
        SEEN.append(request.call)
        return (yield)
    return hookimpl(wrapper=True)(wrap)

HOOKS = (
    "export", "build_engine", "infer", "convert_weights", "analyze",
    "load_model", "load_dataset", "run", "command",
)

class Record(AddOn[NoOptions]):
    '''Records every call.'''
    hook_versions = dict.fromkeys(HOOKS, 2)

for hook in HOOKS:
    setattr(Record, hook, wrapper(hook))

provider = Record()
"""
)

SURVEY = (
    IMPORTS
    + """
class Survey(Report[NoOptions]):
    '''Loads, opens, exports, builds and runs.'''
    hook_version = 2

    @hookimpl
    def analyze(self, request):
        config, file = request.subjects
        session = request.session
        model = session.load_model(config)
        with session.open(file, backend="toy"):
            pass
        if config == "toy:deep":
            session.analyze("survey", "toy:net", file)
        return AnalyzeReport(title="survey")

provider = Survey()
"""
)


@pytest.fixture
def toy_file(install_plugin, tmp_path: Path) -> Path:
    """An exported toy model; from then on, every call is recorded."""
    install_plugin("toys", TOY_GROUPS, toys=TOYS)
    session = Segplug()
    made = session.export("toy", session.load_model("toy:net"), output=tmp_path / "net.toy")
    install_plugin("rules", RULE_GROUPS, rules=RECORD)
    return made.path


@pytest.fixture
def survey(install_plugin) -> None:
    install_plugin("acme", {"segplug.analyze": {"survey": "acme:provider"}}, version="3.1", acme=SURVEY)


def tree() -> list[tuple[str, str, str | None]]:
    """Each recorded call with the call that made it: hook, target, and hook and target of the parent."""
    assert len({call.id for call in seen()}) == len(seen())
    names = {None: None, **{call.id: f"{call.hook} {call.target}" for call in seen()}}
    return [(call.hook, call.target, names[call.parent]) for call in seen()]


def test_a_call_says_whose_it_is(toy_file, survey) -> None:
    report = Segplug().analyze("survey", "toy:net", toy_file)
    first = seen()[0]
    assert (first.hook, first.target, first.distribution, first.version) == (
        "analyze",
        "survey",
        "acme",
        "3.1",
    )
    assert first.parent is None
    assert report.call == first
    assert len(first.id) == 16
    int(first.id, 16)


def test_calls_of_a_provider_have_its_call_as_parent(toy_file, survey) -> None:
    session = Segplug()
    session.analyze("survey", "toy:deep", toy_file)
    session.analyze("survey", "toy:net", toy_file)
    inner = [
        ("load_model", "toys", "analyze survey"),
        ("infer", "toy", "analyze survey"),
    ]
    assert tree() == [
        ("analyze", "survey", None),
        *inner,
        ("analyze", "survey", "analyze survey"),
        *inner,
        ("analyze", "survey", None),
        *inner,
    ]
    outer, _, _, nested, loading, _, later, *_ = seen()
    assert nested.parent == outer.id
    assert loading.parent == nested.id
    assert later.parent is None  # the session of the user has made no call
    assert not any(call.verification for call in seen())


def test_calls_of_an_add_on_have_the_call_that_it_wraps_as_parent(toy_file, install_plugin) -> None:
    source = (
        IMPORTS
        + """
class Curious(AddOn[NoOptions]):
    '''Opens what is analysed.'''
    hook_versions = {"analyze": 2}

    @hookimpl(wrapper=True)
    def analyze(self, request):
        with request.session.open(request.subjects[0], backend="toy"):
            pass
        return (yield)

provider = Curious()
"""
    )
    install_plugin("curious", {"segplug.addon": {"curious": "curious:provider"}}, curious=source)
    install_plugin("acme", COUNT_GROUPS, acme=COUNT)
    Segplug().analyze("count", toy_file)
    assert sorted(tree(), key=str) == [("analyze", "count", None), ("infer", "toy", "analyze count")]


def test_a_run_opens_its_engine_within_its_call(toy_file) -> None:
    info = DatasetInfo("one", ("dark", "bright"), fingerprint="one")
    image = np.zeros((8, 8, 3), np.uint8)
    report = Segplug().evaluate(
        toy_file, backend="toy", dataset=ArrayDataset([image], [image[:, :, 0]], info)
    )
    assert tree() == [("run", "local", None), ("infer", "toy", "run local")]
    assert report.call == seen()[0]


@pytest.mark.parametrize("reporter", [False, True])
def test_another_reporter_changes_no_parent(toy_file, install_plugin, reporter) -> None:
    line = "session = request.session"
    assert line in SURVEY
    changed = SURVEY.replace(line, f"{line}.with_reporter(request.reporter)") if reporter else SURVEY
    install_plugin("acme", {"segplug.analyze": {"survey": "acme:provider"}}, acme=changed)
    Segplug().analyze("survey", "toy:net", toy_file)
    assert [parent for _, _, parent in tree()] == [None, "analyze survey", "analyze survey"]


def test_the_calls_of_a_verification_say_so(toy_file) -> None:
    session = Segplug()
    comparison = session.verify(toy_file, toy_file, backend="toy", reference_backend="toy")
    assert comparison.passed
    assert tree() == [("infer", "toy", None), ("infer", "toy", None)]
    assert all(call.verification for call in seen())

    with session.open(toy_file, backend="toy"):
        pass
    assert not seen()[-1].verification


def test_a_build_that_is_verified_opens_both_engines_within_its_call(toy_file) -> None:
    made = Segplug().build_engine(
        "fast-toy", toy_file, output=toy_file.with_name("net.fast-toy"), verify=True
    )
    assert tree() == [
        ("build_engine", "fast-toy", None),
        ("infer", "toy", "build_engine fast-toy"),
        ("infer", "fast-toy", "build_engine fast-toy"),
    ]
    assert [call.verification for call in seen()] == [False, True, True]
    assert made.call == seen()[0]
    assert made.meta.verification is not None
    assert made.meta.verification["passed"]


def test_an_export_that_is_verified_on_the_command_line_opens_both_engines_within_its_call(
    toy_file, done
) -> None:
    pytest.importorskip("segplug_torch")
    out = done(
        "run", "export", "toy", "toy:torch", "--output", toy_file.with_name("new.toy"), "--verify", "--json"
    )
    assert json.loads(out)["verification"]["passed"]
    assert tree() == [
        ("load_model", "toys", None),
        ("export", "toy", None),
        ("infer", "pytorch", "export toy"),
        ("infer", "toy", "export toy"),
    ]
    assert [call.verification for call in seen()] == [False, False, True, True]


def test_what_a_verification_calls_is_part_of_it_however_deep(toy_file, install_plugin) -> None:
    source = TOYS.replace(
        "        return FunctionEngine",
        "        if request.call.target == 'outer-toy':\n"
        "            with request.session.open(request.file, backend='toy'):\n"
        "                pass\n"
        "        return FunctionEngine",
    )
    install_plugin("outer", {"segplug.infer": {"outer-toy": "outer:engine"}}, outer=source)
    Segplug().verify(toy_file, toy_file, backend="outer-toy", reference_backend="toy")
    assert tree() == [
        ("infer", "toy", None),
        ("infer", "outer-toy", None),
        ("infer", "toy", "infer outer-toy"),
    ]
    assert all(call.verification for call in seen())


def test_every_artifact_says_the_call_that_made_it(toy_file, tmp_path: Path) -> None:
    session = Segplug()
    model = session.load_model("toy:net")
    made = [
        session.export("toy", model, output=tmp_path / "again.toy"),
        session.build_engine("fast-toy", toy_file, output=tmp_path / "net.fast-toy"),
        session.pack("toy-box", toy_file, folder=tmp_path / "boxes"),
    ]
    assert [artifact.call for artifact in made] == seen()[1:]
    assert len({call.id for call in seen()}) == 4


@pytest.mark.parametrize("writes", [True, False])
def test_a_conversion_says_the_call_that_made_it(toy_file, install_plugin, writes) -> None:
    source = (
        IMPORTS
        + """
from segplug.providers import WeightConverter
from segplug.results import ConversionReport

class Copy(WeightConverter[NoOptions]):
    '''Copies weights.'''
    hook_version = 2

    @hookimpl
    def convert_weights(self, request):
        if WRITES:
            request.output.write_bytes(request.checkpoint.read_bytes())
        return ConversionReport(destination=request.output if WRITES else None)

provider = Copy()
"""
    )
    groups = {"segplug.convert_weights": {"copy": "acme:provider"}}
    install_plugin("acme", groups, acme=source.replace("WRITES", str(writes)))
    report = Segplug().convert_weights("copy", toy_file, toy_file.with_name("copy.toy"))
    assert [report.call] == seen()
    assert report.destination == (toy_file.with_name("copy.toy") if writes else None)


def test_a_result_that_an_add_on_made_says_the_call_too(toy_file, install_plugin) -> None:
    source = POLICY.replace("return replace(report, title=", "return AnalyzeReport(title=")
    install_plugin("other", {"segplug.addon": {"policy": "other:provider"}}, other=source)
    install_plugin("acme", COUNT_GROUPS, acme=COUNT)
    report = Segplug().analyze("count")
    assert report.title == "count, seen by policy"
    assert report.call == seen()[0]


def test_a_plugins_command_is_a_call_and_its_session_makes_calls_within_it(
    toy_file, install_plugin, done
) -> None:
    source = """
import click

@click.command()
@click.argument("file")
@click.pass_obj
def look(session, file):
    '''Looks into a file.'''
    with session.open(file, backend="toy") as engine:
        click.echo(engine.spec.meta.name)
"""
    install_plugin("acme", {"segplug.command": {"look": "acme:look"}}, acme=source)
    assert done("look", toy_file) == "toy\n"
    assert tree() == [("command", "look", None), ("infer", "toy", "command look")]


def test_a_process_that_a_call_started_has_this_call_as_parent(install_plugin) -> None:
    install_plugin("toys", {"segplug.analyze": {"empty": "toys:provider"}}, toys=EMPTY_REPORT)
    report = Segplug(parent="0123456789abcdef").analyze("empty", "subject")
    assert report.call is not None
    assert report.call.parent == "0123456789abcdef"


EMPTY_REPORT = """
    from segplug import hookimpl
    from segplug.options import NoOptions
    from segplug.providers import Report
    from segplug.results import AnalyzeReport

    class Empty(Report[NoOptions]):
        hook_version = 2

        @hookimpl
        def analyze(self, request):
            return AnalyzeReport(title="empty")

    provider = Empty()
"""
