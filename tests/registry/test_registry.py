"""Finding, isolating, choosing and calling providers."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from segplug import Segplug
from segplug.errors import PluginError, RefusedError, UsageError
from segplug.registry import discovery
from segplug.registry.registry import Registry
from segplug.requests import AnalyzeRequest

GOOD = """
    from segplug import hookimpl
    from segplug.results import AnalyzeReport

    class Count:
        '''Counts its subjects.'''
        api_version = 1

        @hookimpl
        def analyze(self, request):
            return AnalyzeReport(title="{name}", data={{"subjects": len(request.subjects)}})

    provider = Count()
"""

ADDON = """
    from segplug import hookimpl
    from segplug.errors import RefusedError

    class Policy:
        api_version = 1
        mandatory = {mandatory}

        @hookimpl(wrapper=True)
        def analyze(self, request):
            if "secret" in request.subjects:
                raise RefusedError("secret files are not analysed")
            report = yield
            return type(report)(title=report.title + ", seen by policy", data=report.data)

    provider = Policy()
"""


def call(registry: Registry, target: str, *subjects: str) -> str:
    report = registry.call(
        registry.provider("analyze", target), AnalyzeRequest(subjects=subjects, session=Segplug())
    )
    return str(report.title)


@pytest.mark.parametrize(
    ("docstring", "line"),
    [
        ("``analyze count``: how *many* ``subjects`` of :class:`Any`.", "How *many* subjects of Any."),
        ("``analyze other``: nothing of this target.", "acme for tests"),
        ("Some module.", "acme for tests"),
    ],
)
def test_a_listing_says_of_each_target_what_its_module_says_without_running_it(
    install_plugin, docstring, line
) -> None:
    source = f'"""{docstring}\n\nMore.\n"""\nraise SystemExit("run")'
    install_plugin("acme", {"segplug.analyze": {"count": "acme:provider"}}, acme=source)
    assert discovery.about(Registry().entry("analyze", "count")) == line


def test_a_listing_reads_no_damaged_module(install_plugin) -> None:
    install_plugin("acme", {"segplug.analyze": {"count": "acme:provider"}}, acme="def (")
    assert discovery.about(Registry().entry("analyze", "count")) == "acme for tests"


def test_a_provider_in_a_folder_without_init_is_listed_and_called(install_plugin) -> None:
    folder = install_plugin("acme", {"segplug.analyze": {"count": "acme.reports.count:provider"}}, acme="")
    (folder / "acme.py").unlink()
    (folder / "acme" / "reports").mkdir(parents=True)
    (folder / "acme" / "__init__.py").touch()
    (folder / "acme" / "reports" / "count.py").write_text(textwrap.dedent(GOOD.format(name="acme")))
    assert Registry().entry("analyze", "count").status == "available"
    assert call(Registry(), "count", "a") == "acme"


def test_a_provider_is_found_by_name_and_called(install_plugin) -> None:
    install_plugin("acme", {"segplug.analyze": {"count": "acme:provider"}}, acme=GOOD.format(name="acme"))
    install_plugin(
        "other", {"segplug.analyze": {"zcount": "other:provider"}}, other=GOOD.format(name="other")
    )

    entry = Registry().entry("analyze", "count")
    assert (entry.distribution, entry.version, entry.summary) == ("acme", "1.0", "acme for tests")
    # Registered last or first makes no difference: the name decides.
    assert call(Registry(), "count") == "acme"
    assert call(Registry(), "zcount") == "other"


def test_an_unknown_target_suggests_the_nearest(install_plugin) -> None:
    install_plugin("acme", {"segplug.analyze": {"count": "acme:provider"}}, acme=GOOD.format(name="acme"))
    with pytest.raises(UsageError, match="did you mean 'count'"):
        Registry().provider("analyze", "cuont")


def test_a_target_claimed_twice_names_both_and_how_to_choose(install_plugin) -> None:
    install_plugin("acme", {"segplug.analyze": {"count": "acme:provider"}}, acme=GOOD.format(name="acme"))
    install_plugin("rival", {"segplug.analyze": {"count": "rival:provider"}}, rival="raise ImportError('x')")

    with pytest.raises(UsageError, match="acme:count or rival:count"):
        Registry().provider("analyze", "count")
    assert call(Registry(), "acme:count") == "acme"
    claims = [entry.status for entry in discovery.entries("analyze") if entry.target == "count"]
    assert claims == ["duplicate", "duplicate"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no licence server')", "no licence server"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("provider = object()", "no hook API version"),
        (GOOD.replace("api_version = 1", "api_version = 99").format(name="x"), "upgrade segplug"),
        (GOOD.replace("api_version = 1", "api_version = 0").format(name="x"), "upgrade broken"),
        (GOOD.replace("def analyze", "def analyse").format(name="x"), "broken"),
        (GOOD.replace("self, request", "self, request, extra").format(name="x"), "extra"),
        (GOOD.replace("@hookimpl\n", "\n").format(name="x"), "no method 'analyze'"),
        (
            GOOD.replace("api_version = 1", "api_version = 1; options = int").format(name="x"),
            "not a dataclass",
        ),
    ],
)
def test_a_plugin_that_does_not_work_is_a_record_and_never_a_crash(install_plugin, source, reason) -> None:
    install_plugin("broken", {"segplug.analyze": {"bad": "broken:provider"}}, broken=source)
    install_plugin("acme", {"segplug.analyze": {"count": "acme:provider"}}, acme=GOOD.format(name="acme"))
    registry = Registry()

    with pytest.raises(PluginError) as caught:
        registry.provider("analyze", "bad")
    assert reason in str(caught.value)
    assert "broken" in str(caught.value)
    assert call(registry, "count") == "acme"


def test_the_original_exception_is_the_cause(install_plugin) -> None:
    install_plugin("broken", {"segplug.analyze": {"bad": "broken:provider"}}, broken="1 / 0")
    with pytest.raises(PluginError) as caught:
        Registry().provider("analyze", "bad")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_metadata_alone_shows_a_module_that_is_not_there(install_plugin) -> None:
    install_plugin("gone", {"segplug.analyze": {"lost": "gone.deep:provider"}})
    (entry,) = [entry for entry in discovery.entries("analyze") if entry.target == "lost"]
    assert (entry.status, entry.reason) == ("broken", "there is no module gone")


def test_what_a_provider_returns_is_checked(install_plugin) -> None:
    source = GOOD.format(name="x").replace('return AnalyzeReport(title="x"', 'return dict(title="x"')
    install_plugin("acme", {"segplug.analyze": {"count": "acme:provider"}}, acme=source)
    with pytest.raises(PluginError, match="returned dict where the hook 'analyze' promises AnalyzeReport"):
        call(Registry(), "count")


def test_an_add_on_wraps_and_refuses(install_plugin) -> None:
    install_plugin("acme", {"segplug.analyze": {"count": "acme:provider"}}, acme=GOOD.format(name="acme"))
    install_plugin(
        "rules", {"segplug.addon": {"policy": "rules:provider"}}, rules=ADDON.format(mandatory=False)
    )

    assert call(Registry(), "count", "a") == "acme, seen by policy"
    with pytest.raises(RefusedError, match="secret files are not analysed"):
        call(Registry(), "count", "secret")
    assert call(Registry(without_addons=["policy"]), "count", "secret") == "acme"


def test_the_environment_chooses_add_ons(install_plugin, monkeypatch) -> None:
    install_plugin("acme", {"segplug.analyze": {"count": "acme:provider"}}, acme=GOOD.format(name="acme"))
    install_plugin(
        "rules", {"segplug.addon": {"policy": "rules:provider"}}, rules=ADDON.format(mandatory=False)
    )
    monkeypatch.setenv("SEGPLUG_ADDONS", "")
    assert call(Registry(), "count") == "acme"
    monkeypatch.setenv("SEGPLUG_ADDONS", "policy")
    assert call(Registry(), "count") == "acme, seen by policy"


def test_a_mandatory_add_on_cannot_be_left_out(install_plugin, monkeypatch) -> None:
    install_plugin("acme", {"segplug.analyze": {"count": "acme:provider"}}, acme=GOOD.format(name="acme"))
    install_plugin(
        "rules", {"segplug.addon": {"policy": "rules:provider"}}, rules=ADDON.format(mandatory=True)
    )
    with pytest.raises(RefusedError, match="must not be left out"):
        call(Registry(without_addons=["policy"]), "count")
    monkeypatch.setenv("SEGPLUG_ADDONS", "")
    with pytest.raises(RefusedError, match="must not be left out"):
        call(Registry(), "count")


def test_a_broken_add_on_stops_the_run_until_it_is_left_out(install_plugin) -> None:
    install_plugin("acme", {"segplug.analyze": {"count": "acme:provider"}}, acme=GOOD.format(name="acme"))
    install_plugin("rules", {"segplug.addon": {"policy": "rules:provider"}}, rules="import no_such_library")
    with pytest.raises(PluginError, match="--no-addon policy"):
        call(Registry(), "count")
    assert call(Registry(without_addons=["policy"]), "count") == "acme"


SOURCE = """
    from pathlib import Path
    from segplug import hookimpl

    class Source:
        api_version = 1

        def accepts(self, location):
            return location.endswith(".{suffix}")

        @hookimpl
        def load_dataset(self, request):
            return None

    provider = Source()
"""


def test_a_source_is_chosen_by_what_it_accepts(install_plugin) -> None:
    install_plugin("one", {"segplug.load_dataset": {"one": "one:provider"}}, one=SOURCE.format(suffix="abc"))
    install_plugin("two", {"segplug.load_dataset": {"two": "two:provider"}}, two=SOURCE.format(suffix="abc"))
    install_plugin("ill", {"segplug.load_dataset": {"ill": "ill:provider"}}, ill="1 / 0")
    registry = Registry()

    with pytest.raises(UsageError, match=r"one:one, two:two.*--source"):
        registry.source("load_dataset", "x.abc", None)
    assert registry.source("load_dataset", "x.abc", "two").entry.distribution == "two"
    with pytest.raises(UsageError, match=r"no installed source reads .* from x.def.*division by zero"):
        registry.source("load_dataset", "x.def", None)


def test_listing_imports_no_plugin(install_plugin, tmp_path: Path) -> None:
    trap = tmp_path / "imported"
    install_plugin(
        "acme",
        {"segplug.analyze": {"count": "acme:provider"}},
        acme=f"open({str(trap)!r}, 'w')",
    )
    assert "count" in {entry.target for entry in discovery.all_entries()}
    assert not trap.exists()


def test_an_add_on_that_is_no_wrapper_cannot_take_over_a_hook(install_plugin) -> None:
    install_plugin("acme", {"segplug.analyze": {"count": "acme:provider"}}, acme=GOOD.format(name="acme"))
    install_plugin("rogue", {"segplug.addon": {"rogue": "rogue:provider"}}, rogue=GOOD.format(name="rogue"))
    with pytest.raises(PluginError, match=r"@hookimpl\(wrapper=True\)"):
        call(Registry(), "count")
    assert call(Registry(without_addons=["rogue"]), "count") == "acme"


def test_a_slip_in_an_add_ons_name_switches_nothing_off(install_plugin, monkeypatch) -> None:
    install_plugin("acme", {"segplug.analyze": {"count": "acme:provider"}}, acme=GOOD.format(name="acme"))
    install_plugin(
        "rules", {"segplug.addon": {"policy": "rules:provider"}}, rules=ADDON.format(mandatory=False)
    )
    with pytest.raises(UsageError, match="did you mean 'policy'"):
        call(Registry(without_addons=["polcy"]), "count")
    monkeypatch.setenv("SEGPLUG_ADDONS", "polcy")
    with pytest.raises(UsageError, match="did you mean 'policy'"):
        call(Registry(), "count")


def test_a_source_that_cannot_even_say_what_it_reads_is_set_apart(install_plugin) -> None:
    good = SOURCE.format(suffix="abc")
    install_plugin("one", {"segplug.load_dataset": {"one": "one:provider"}}, one=good)
    ill = good.replace('return location.endswith(".abc")', "raise OSError('boom')")
    install_plugin("ill", {"segplug.load_dataset": {"ill": "ill:provider"}}, ill=ill)
    assert Registry().source("load_dataset", "x.abc", None).entry.distribution == "one"
    with pytest.raises(UsageError, match="boom"):
        Registry().source("load_dataset", "x.def", None)


def test_an_option_cannot_take_a_keyword_of_the_python_methods(install_plugin) -> None:
    source = """
    from dataclasses import dataclass
    from segplug import hookimpl, option

    @dataclass(frozen=True)
    class Options:
        metrics: int = option(1, help="Clashes with Segplug.evaluate(metrics=...).")

    class Backend:
        api_version = 1
        options = Options

        @hookimpl
        def infer(self, request): ...

    provider = Backend()
    """
    install_plugin("acme", {"segplug.infer": {"npu": "acme:provider"}}, acme=source)
    with pytest.raises(PluginError, match="options of segplug's own: metrics"):
        Registry().provider("infer", "npu")


def test_what_a_provider_takes_is_a_known_word(install_plugin) -> None:
    source = """
        from segplug import hookimpl

        class Exporter:
            api_version = 1
            takes = "artefact"

            @hookimpl
            def export(self, request): ...

        provider = Exporter()
    """
    install_plugin("acme", {"segplug.export": {"acme": "acme_mod:provider"}}, acme_mod=source)
    with pytest.raises(PluginError, match="its 'takes' is none of model, artifact, either"):
        Registry().provider("export", "acme")


def test_a_loaded_provider_is_taken_as_it_is_but_not_for_another_hook() -> None:
    registry = Registry()
    folder = registry.provider("load_dataset", "folder")
    assert registry.resolve("load_dataset", folder) is folder
    assert registry.resolve("load_dataset", "folder") is folder
    with pytest.raises(UsageError, match="folder is a target of load_dataset, not of infer"):
        registry.resolve("infer", folder)
