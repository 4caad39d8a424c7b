"""The options of add-ons: given on the command line or in Python, checked before any work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segplug import Segplug
from segplug.errors import PluginError, UsageError
from tests.registry.support import IMPORTS, POLICY, TOY_GROUPS, TOYS, seen

COUNT = (
    IMPORTS
    + """
from pathlib import Path

class Count(Report[NoOptions]):
    '''Counts its subjects, and those of its parts.'''
    hook_version = 2

    @hookimpl
    def analyze(self, request):
        Path(MARK).write_text("worked")
        if request.subjects == ("nested",):
            return request.session.analyze("count", "a", "b")
        return AnalyzeReport(title="count", data={"subjects": len(request.subjects)})

provider = Count()
"""
)

QUOTA = (
    IMPORTS
    + """
from typing import Literal

SEEN = []

@dataclass(frozen=True)
class Options:
    limit: int = option(3, help="The most subjects.", minimum=1, maximum=9)
    words: tuple[str, ...] = option((), help="Words.")
    mode: Literal["strict", "mild"] = option("strict", help="How strict it is.")
    log_file: str | None = option(None, help="Where it writes.")

class Quota(AddOn[Options]):
    '''Limits the number of subjects.'''
    hook_versions = {"analyze": 2}
    options = Options

    @hookimpl(wrapper=True)
    def analyze(self, request):
        settings = self.settings(request)
        SEEN.append(settings)
        if len(request.subjects) > settings.limit:
            raise RefusedError(f"more than {settings.limit} subjects")
        return (yield)

provider = Quota()
"""
)

GROUPS = {"segplug.addon": {"quota": "rules:provider"}}


@pytest.fixture
def worked(tmp_path: Path, install_plugin) -> Callable[[], bool]:
    """Installs a report and an add-on with options, and says whether the report was ever called."""
    mark = tmp_path / "worked"
    groups = {"segplug.analyze": {"count": "acme:provider"}}
    install_plugin("acme", groups, acme=COUNT.replace("MARK", repr(str(mark))))
    install_plugin("rules", GROUPS, rules=QUOTA)
    return mark.exists


def options() -> dict[str, Any]:
    (settings,) = seen()
    assert type(settings).__name__ == "Options"
    return dict(vars(settings))


DEFAULTS = {"limit": 3, "words": (), "mode": "strict", "log_file": None}


def test_without_options_an_add_on_has_its_defaults(worked, done) -> None:
    done("run", "analyze", "count", "a")
    assert options() == DEFAULTS


def test_the_command_line_gives_options(worked, done) -> None:
    done(
        "run", "analyze", "count", "a",
        "--addon-options", "quota.limit=5", "quota.words=x,y", "--addon-options", "quota.log-file=a=b.c",
    )  # fmt: skip
    assert options() == {**DEFAULTS, "limit": 5, "words": ("x", "y"), "log_file": "a=b.c"}


def test_python_gives_options(worked) -> None:
    session = Segplug(addon_options={"quota": {"limit": 5, "words": ["x", "y"], "log_file": None}})
    assert session.analyze("count", "a").title == "count"
    assert options() == {**DEFAULTS, "limit": 5, "words": ("x", "y")}


def test_options_decide(worked, refused, done) -> None:
    assert refused(1, "run", "analyze", "count", "a", "b", "--addon-options", "quota.limit=1") == (
        "more than 1 subjects"
    )
    assert not worked()
    done("run", "analyze", "count", "a", "b", "--addon-options", "quota.limit=2")


def test_options_hold_for_nested_calls_and_for_this_session_alone(worked) -> None:
    Segplug(addon_options={"quota": {"limit": 2}}).analyze("count", "nested")
    Segplug().analyze("count", "a")
    assert [settings.limit for settings in seen()] == [2, 2, 3]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            "quota.limt=1",
            "add-on quota: no option 'limt'; did you mean 'limit'? (there are: limit, log_file, mode, words)",
        ),
        ("quota.limit=many", "add-on quota: option 'limit' must be a whole number, not 'many'"),
        ("quota.limit=0", "add-on quota: option 'limit' must be within 1..9, not 0"),
        ("quota.mode=soft", "add-on quota: option 'mode' must be one of strict, mild, not 'soft'"),
        ("qouta.limit=1", "segplug: no add-on 'qouta'; did you mean 'quota'? (there are: quota)"),
        ("limit=1", "--addon-options: 'limit=1' is not NAME.KEY=VALUE"),
        (".limit=1", "--addon-options: '.limit=1' is not NAME.KEY=VALUE"),
        ("quota.=1", "--addon-options: 'quota.=1' is not NAME.KEY=VALUE"),
        ("quota.limit", "--addon-options: 'quota.limit' is not KEY=VALUE"),
    ],
)
def test_wrong_options_are_refused_before_any_work(worked, refused, given, line) -> None:
    assert refused(2, "run", "analyze", "count", "a", "--addon-options", given) == line
    assert not worked()


@pytest.mark.parametrize(
    "given",
    [{"quota": {"limt": 1}}, {"quota": {"limit": "many"}}, {"quota": {"limit": None}}, {"qouta": {}}],
)
def test_wrong_options_from_python_are_refused_before_any_work(worked, given) -> None:
    with pytest.raises(UsageError):
        Segplug(addon_options=given).analyze("count", "a")
    assert not worked()


def test_wrong_options_are_refused_where_the_add_on_would_not_be_asked(
    install_plugin, refused, tmp_path: Path
) -> None:
    loaded = tmp_path / "loaded"
    source = TOYS.replace("        net = ", f"        open({str(loaded)!r}, 'w')\n        net = ")
    install_plugin("toys", TOY_GROUPS, toys=source)
    install_plugin("rules", GROUPS, rules=QUOTA)
    output = tmp_path / "net.toy"
    line = refused(
        2, "run", "export", "toy", "toy:net", "--output", output, "--addon-options", "quota.limit=0"
    )
    assert "must be within 1..9" in line
    assert not loaded.exists()
    assert not output.exists()


@pytest.mark.parametrize("way", ["flag", "environment"])
def test_options_of_an_add_on_that_is_left_out_are_refused(worked, refused, monkeypatch, way) -> None:
    flags = ("--no-addon", "quota") if way == "flag" else ()
    if way == "environment":
        monkeypatch.setenv("SEGPLUG_ADDONS", "")
    line = refused(2, "run", "analyze", "count", "a", *flags, "--addon-options", "quota.limit=1")
    assert line == "the add-on 'quota' is left out, and has options (give one or the other)"
    assert not worked()


def test_an_add_on_without_options_takes_none(worked, install_plugin, refused) -> None:
    install_plugin("other", {"segplug.addon": {"policy": "other:provider"}}, other=POLICY)
    line = refused(2, "run", "analyze", "count", "a", "--addon-options", "policy.limit=1")
    assert line == "add-on policy: no option 'limit' (there are: none)"
    assert not worked()


def test_each_add_on_has_its_own_options(worked, install_plugin, done) -> None:
    second = QUOTA.replace("option(3,", "option(4,")
    install_plugin("second", {"segplug.addon": {"second": "second:provider"}}, second=second)
    done("run", "analyze", "count", "a", "--addon-options", "second.mode=mild")
    assert options() == DEFAULTS
    import second as module  # type: ignore[import-not-found]

    assert [(settings.limit, settings.mode) for settings in module.SEEN] == [(4, "mild")]


def test_an_add_on_that_does_not_extend_the_base_class_asks_the_session(worked, install_plugin, done) -> None:
    source = QUOTA.replace("(AddOn[Options])", "").replace(
        "self.settings(request)", "request.session.registry.addon_options(self)"
    )
    install_plugin("plain", {"segplug.addon": {"plain": "plain:provider"}}, plain=source)
    done("run", "analyze", "count", "a", "--addon-options", "plain.limit=7")
    import plain  # type: ignore[import-not-found]

    assert [settings.limit for settings in plain.SEEN] == [7]


def test_only_an_add_on_in_use_has_options(worked) -> None:
    session = Segplug()
    session.analyze("count", "a")
    with pytest.raises(PluginError, match="object is no add-on in use"):
        session.registry.addon_options(object())


def test_options_are_described(worked, done) -> None:
    (described,) = json.loads(done("plugins", "show", "quota", "--json"))
    flags = [item["flag"] for item in described["options"]]
    names = ("limit", "words", "mode", "log_file")
    assert flags == [f"--addon-options quota.{name}=" for name in names]
    assert "The most subjects." in done("plugins", "show", "quota")


def test_a_process_that_works_for_this_one_gets_the_same(worked) -> None:
    given = {"quota": {"limit": 2}}
    session = Segplug(addon_options=given, without_addons=("x",))
    assert session.registry.given_addon_options == given
    assert session.registry.without_addons == frozenset({"x"})
    given["quota"]["limit"] = 9
    assert session.registry.given_addon_options == {"quota": {"limit": 2}}


def test_options_that_are_not_a_dataclass_stop_the_run(worked, install_plugin, refused) -> None:
    source = POLICY.replace("    hook_versions", "    options = dict\n    hook_versions")
    install_plugin("other", {"segplug.addon": {"policy": "other:provider"}}, other=source)
    line = refused(1, "run", "analyze", "count", "a")
    assert line.startswith("add-on policy (other 1.0) is broken: the options ")
