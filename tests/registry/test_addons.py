"""Add-ons wrap every hook, in their order, and each is blamed for its own faults."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from segplug import Segplug
from segplug.dataset import DatasetInfo
from segplug.errors import PluginError, RefusedError
from segplug.preprocessing import Decoding
from segplug.testing.engines import ArrayDataset
from tests.registry.support import (
    COUNT,
    COUNT_GROUPS,
    IMPORTS,
    POLICY,
    POLICY_GROUPS,
    RULE_GROUPS,
    TOY_GROUPS,
    TOYS,
    seen,
)

NESTED = (
    IMPORTS
    + """
SEEN = []

class Nested(AddOn[NoOptions]):
    '''Says when it is asked.'''
    hook_versions = {"analyze": 2}

    def __init__(self, name, place):
        self.name, self.order = name, place

    @hookimpl(wrapper=True)
    def analyze(self, request):
        SEEN.append(f"{self.name} asked")
        report = yield
        SEEN.append(f"{self.name} answered")
        return replace(report, title=f"{self.name}({report.title})")

first, last, a, b = Nested("first", -1), Nested("last", 9), Nested("a", 0), Nested("b", 0)
"""
)

TIMER = (
    IMPORTS
    + """
import time

SEEN = []

class Timer(AddOn[NoOptions]):
    '''Measures whole runs.'''
    hook_versions = {"run": 2}

    @hookimpl(wrapper=True)
    def run(self, request):
        started = time.perf_counter()
        report = yield
        SEEN.append((request, report, time.perf_counter() - started))
        return report

provider = Timer()
"""
)

RULES = (
    IMPORTS
    + """
SEEN = []

class Rules(AddOn[NoOptions]):
    '''Sees subjects.'''
    hook_versions = {"infer": 2, "build_engine": 2, "export": 2, "run": 2}

    def note(self, request):
        name = None if request.meta is None else request.meta.name
        SEEN.append((request.call.hook, request.call.target, name, request.location, request.subject))

    @hookimpl(wrapper=True)
    def infer(self, request):
        self.note(request)
        return (yield)

    @hookimpl(wrapper=True)
    def build_engine(self, request):
        self.note(request)
        return (yield)

    @hookimpl(wrapper=True)
    def export(self, request):
        self.note(request)
        return (yield)

    @hookimpl(wrapper=True)
    def run(self, request):
        self.note(request)
        return (yield)

provider = Rules()
"""
)


@pytest.fixture
def count(install_plugin) -> None:
    install_plugin("acme", COUNT_GROUPS, acme=COUNT)


@pytest.fixture
def toys(install_plugin) -> None:
    install_plugin("toys", TOY_GROUPS, toys=TOYS)


@pytest.fixture
def toy_file(toys, tmp_path: Path) -> Path:
    session = Segplug()
    return session.export("toy", session.load_model("toy:net"), output=tmp_path / "net.toy").path


@pytest.mark.parametrize("turned", [False, True])
def test_the_lowest_order_is_the_outermost_and_equal_ones_go_by_name(count, install_plugin, turned) -> None:
    names = ["first", "last", "a", "b"]
    targets = {name: f"rules:{name}" for name in (reversed(names) if turned else names)}
    install_plugin("rules", {"segplug.addon": targets}, rules=NESTED)
    assert Segplug().analyze("count").title == "first(a(b(last(count))))"
    expected = [f"{name} asked" for name in ("first", "a", "b", "last")]
    expected += [f"{name} answered" for name in ("last", "b", "a", "first")]
    assert seen() == expected


def test_an_outer_add_on_that_refuses_is_the_only_one_that_was_asked(count, install_plugin) -> None:
    install_plugin("rules", {"segplug.addon": {"b": "rules:b", "last": "rules:last"}}, rules=NESTED)
    policy = POLICY.replace("    hook_versions", "    order = 1\n    hook_versions")
    install_plugin("other", {"segplug.addon": {"policy": "other:provider"}}, other=policy)
    with pytest.raises(RefusedError, match="secret files are not analysed"):
        Segplug().analyze("count", "secret")
    assert seen() == ["b asked"]


def test_an_add_on_need_not_extend_the_base_class(count, install_plugin) -> None:
    install_plugin("rules", POLICY_GROUPS, rules=POLICY.replace("(AddOn[NoOptions])", ""))
    assert Segplug().analyze("count").title == "count, seen by policy"


def test_a_wrapper_of_run_measures_a_whole_evaluation_and_sees_its_scores(toy_file, install_plugin) -> None:
    class Slow(ArrayDataset):
        def read_image(self, index: int, decoding: Decoding) -> np.ndarray:
            time.sleep(0.05)
            return super().read_image(index, decoding)

    install_plugin("rules", RULE_GROUPS, rules=TIMER)
    image = np.zeros((8, 8, 3), np.uint8)
    image[:4] = 255
    mask = (image[:, :, 0] > 0).astype(np.uint8)
    info = DatasetInfo("halves", ("dark", "bright"), fingerprint="halves")
    report = Segplug().evaluate(toy_file, backend="toy", dataset=Slow([image] * 4, [mask] * 4, info))

    ((request, returned, seconds),) = seen()
    assert returned is report
    assert returned.scores.metrics["mIoU"] == 1.0
    assert returned.call == request.call
    assert (request.call.hook, request.call.target, request.call.distribution) == ("run", "local", "segplug")
    assert (request.backend, request.location) == ("toys:toy", str(toy_file))
    assert seconds >= report.seconds >= 0.05


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (
            "yield",
            "add-on policy (rules 1.0) returned NoneType from its wrapper of 'analyze', "
            "which promises AnalyzeReport (a wrapper returns the result of its yield)",
        ),
        (
            "return (yield).title",
            "add-on policy (rules 1.0) returned str from its wrapper of 'analyze', "
            "which promises AnalyzeReport (a wrapper returns the result of its yield)",
        ),
        (
            "return AnalyzeReport(title='made up')\n        yield",
            "add-on policy (rules 1.0) returned from its wrapper of 'analyze' before its yield",
        ),
        (
            "yield\n        return (yield)",
            "add-on policy (rules 1.0) yielded from its wrapper of 'analyze' more than once",
        ),
    ],
)
def test_a_wrapper_that_does_not_give_the_result_is_blamed_itself(
    count, install_plugin, refused, new, reason
) -> None:
    source = POLICY[: POLICY.index("        if")] + f"        {new}\n\nprovider = Policy()\n"
    install_plugin("rules", POLICY_GROUPS, rules=source)
    assert refused(1, "run", "analyze", "count", "a") == reason


def test_a_wrapper_may_clean_up_and_replace_an_error(count, install_plugin) -> None:
    source = POLICY.replace(
        "report = yield",
        "try:\n            report = yield\n        except UsageError as error:\n"
        "            raise RefusedError('replaced') from error",
    )
    install_plugin("rules", POLICY_GROUPS, rules=source)
    install_plugin(
        "ill",
        {"segplug.analyze": {"ill": "ill:provider"}},
        ill=COUNT.replace("return A", "raise UsageError('x'); A"),
    )
    with pytest.raises(RefusedError, match="replaced"):
        Segplug().analyze("ill")
    assert Segplug().analyze("count").title == "count, seen by policy"


def test_an_error_passes_through_a_wrapper_as_it_is(count, install_plugin) -> None:
    install_plugin("rules", POLICY_GROUPS, rules=POLICY)
    text = COUNT.replace("return A", "raise KeyError('a bug'); A")
    install_plugin("ill", {"segplug.analyze": {"ill": "ill:provider"}}, ill=text)
    with pytest.raises(KeyError, match="a bug"):
        Segplug().analyze("ill")


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [("return A", "A", "NoneType"), ("return AnalyzeReport(title", "return dict(title", "dict")],
)
@pytest.mark.parametrize("with_addon", [False, True])
def test_a_provider_that_does_not_give_the_result_is_blamed_itself(
    install_plugin, refused, old, new, kind, with_addon
) -> None:
    install_plugin("acme", COUNT_GROUPS, acme=COUNT.replace(old, new))
    if with_addon:
        install_plugin("rules", POLICY_GROUPS, rules=POLICY)
    line = refused(1, "run", "analyze", "count", "a")
    assert line == f"analyze count (acme 1.0) returned {kind} where the hook 'analyze' promises AnalyzeReport"


@pytest.mark.parametrize("hook", ["infer", "load_dataset", "load_model"])
def test_a_provider_of_another_hook_that_gives_nothing_is_blamed_too(install_plugin, hook) -> None:
    source = TOYS.replace("return FunctionEngine", "FunctionEngine").replace("return Segm", "Segm")
    sets = """
class Sets(DatasetSource[NoOptions]):
    '''Opens nothing.'''
    hook_version = 2

    def accepts(self, location):
        return Confidence.SURE

    @hookimpl
    def load_dataset(self, request): ...

sets = Sets()
"""
    groups = {**TOY_GROUPS, "segplug.load_dataset": {"sets": "toys:sets"}}
    install_plugin("toys", groups, toys=source + sets)
    session = Segplug()
    with pytest.raises(
        PluginError, match=rf"\(toys 1.0\) returned NoneType where the hook '{hook}' promises"
    ):
        if hook == "infer":
            with session.open("http://server", backend="toy-server"):
                pass
        elif hook == "load_model":
            session.load_model("toy:net")
        else:
            session.load_dataset("anywhere", source="sets")


def test_rules_see_models_artifacts_and_servers_alike(toy_file, install_plugin, tmp_path: Path) -> None:
    install_plugin("rules", RULE_GROUPS, rules=RULES)
    session = Segplug()
    model = session.load_model("toy:net")
    session.export("toy", model, output=tmp_path / "again.toy")
    session.pack("toy-box", toy_file, folder=tmp_path / "files")
    session.pack("toy-box", model, folder=tmp_path / "models")
    session.build_engine("fast-toy", toy_file, output=tmp_path / "net.fast-toy")
    for what, backend in ((toy_file, "toy"), ("http://server", "toy-server")):
        with session.open(what, backend=backend):
            pass
    session.evaluate(
        toy_file, backend="toy", dataset=ArrayDataset([np.zeros((8, 8, 3), np.uint8)]), metrics=()
    )

    assert [item[:4] for item in seen()] == [
        ("export", "toy", "toy", "toy:net"),
        ("export", "toy-box", "toy", str(toy_file)),
        ("export", "toy-box", "toy", "toy:net"),
        ("build_engine", "fast-toy", "toy", str(toy_file)),
        ("infer", "toy", "toy", str(toy_file)),
        ("infer", "toy-server", None, "http://server"),
        ("run", "local", "toy", str(toy_file)),
        ("infer", "toy", "toy", str(toy_file)),
    ]
    assert [item[4] for item in seen()] == [
        model, toy_file, model, toy_file, toy_file, "http://server", toy_file, toy_file
    ]  # fmt: skip
    assert (tmp_path / "files/box/what").read_text() == str(toy_file)


def test_an_add_on_that_refuses_at_the_end_leaves_what_was_there(toy_file, install_plugin) -> None:
    source = RULES.replace(
        "        self.note(request)\n        return (yield)",
        "        yield\n        raise RefusedError('not released')",
    )
    install_plugin("rules", RULE_GROUPS, rules=source)
    before = {path.name: path.read_bytes() for path in toy_file.parent.glob("net.*")}
    session = Segplug()
    model = session.load_model("toy:net")
    with pytest.raises(RefusedError, match="not released"):
        session.export("toy", model, output=toy_file, force=True)
    with pytest.raises(RefusedError, match="not released"):
        session.build_engine("fast-toy", toy_file, output=toy_file.with_name("net.fast-toy"))
    with pytest.raises(RefusedError, match="not released"):
        session.pack("toy-box", model, folder=toy_file.parent / "packed")
    assert {path.name: path.read_bytes() for path in toy_file.parent.glob("net.*")} == before
    assert not (toy_file.parent / "packed").exists()


@pytest.mark.parametrize("ending", ["raise RefusedError('not this engine')", "return None"])
def test_an_engine_that_an_add_on_does_not_pass_on_is_closed(install_plugin, ending) -> None:
    keep = """
KEPT = []

class FunctionEngine(FunctionEngine):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        KEPT.append(self)
"""
    install_plugin("toys", TOY_GROUPS, toys=TOYS + keep)
    source = RULES.replace("        return (yield)", f"        yield\n        {ending}")
    install_plugin("rules", RULE_GROUPS, rules=source)
    opening = Segplug().open("http://server", backend="toy-server")
    with pytest.raises((RefusedError, PluginError)), opening:
        pass
    (engine,) = sys.modules["toys"].KEPT
    assert engine.closed
