"""Which add-ons are in use: a rule cannot be left out, and a broken one stops the run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from segplug import Segplug
from segplug.errors import RefusedError
from segplug.registry import discovery
from tests.registry.support import COUNT, COUNT_GROUPS, POLICY, POLICY_GROUPS, edit_manifest

MANDATORY = POLICY.replace("    hook_versions", "    mandatory = True\n    hook_versions")

WAYS_OUT = {
    "nothing": ((), None),
    "--no-addon": (("--no-addon", "policy"), None),
    "no add-ons": ((), ""),
    "both": (("--no-addon", "policy"), "other"),
}


@pytest.fixture
def worked(tmp_path: Path, install_plugin) -> Callable[[], bool]:
    """Installs a report, and says whether it was ever called."""
    mark = tmp_path / "worked"
    source = COUNT.replace("return A", f"open({str(mark)!r}, 'w'); return A")
    install_plugin("acme", COUNT_GROUPS, acme=source)
    other = POLICY.replace("seen by policy", "seen by other")
    install_plugin("other", {"segplug.addon": {"other": "other:provider"}}, other=other)
    return mark.exists


@pytest.fixture(params=list(WAYS_OUT))
def way_out(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A way to leave an add-on out: the flags; the environment is set."""
    flags, only = WAYS_OUT[request.param]
    if only is not None:
        monkeypatch.setenv("SEGPLUG_ADDONS", only)
    return flags


def is_left_out(flags: tuple[str, ...]) -> bool:
    return bool(flags) or "SEGPLUG_ADDONS" in os.environ


def break_import(folder: Path) -> None:
    (folder / "rules.py").write_text("import no_such_library\n" + MANDATORY)


def break_class(folder: Path) -> None:
    (folder / "rules.py").write_text(MANDATORY.replace("wrapper=True", "hookwrapper=True"))


def remove_module(folder: Path) -> None:
    (folder / "rules.py").unlink()


def damage_manifest(folder: Path) -> None:
    (folder / "rules.segplug.json").write_text("{")


def remove_manifest(folder: Path) -> None:
    (folder / "rules.segplug.json").unlink()


def strip_manifest(folder: Path) -> None:
    edit_manifest(folder / "rules.segplug.json", target="another")


def age(folder: Path) -> None:
    edit_manifest(folder / "rules.segplug.json", versions={"analyze": 1})


def misfit(folder: Path) -> None:
    edit_manifest(folder / "rules.segplug.json", order=3)


def misname_hook(folder: Path) -> None:
    edit_manifest(folder / "rules.segplug.json", versions={"analise": 2})


FAULTS = {
    break_import: "No module named 'no_such_library'",
    break_class: "'analyze' must be marked @hookimpl(wrapper=True)",
    remove_module: "there is no module rules",
    damage_manifest: "is damaged",
    remove_manifest: "it has no manifest",
    strip_manifest: "its manifest does not name it",
    age: "written for version 1 of the hook 'analyze'",
    misfit: "its manifest does not fit its class",
    misname_hook: "there is no hook 'analise'",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_broken_mandatory_add_on_always_stops_the_run(
    worked, way_out, install_plugin, refused, fault
) -> None:
    fault(install_plugin("rules", POLICY_GROUPS, rules=MANDATORY))
    discovery.forget()
    line = refused(1, "run", "analyze", "count", "a", *way_out)
    assert "policy" in line
    assert "rules" in line
    assert "--no-addon" not in line  # that is no way out
    known_at_once = fault not in (break_import, break_class, misfit)
    if known_at_once or not is_left_out(way_out):
        assert FAULTS[fault] in line
    assert not worked()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_broken_add_on_stops_the_run_and_can_be_left_out_if_it_is_known_to_be_no_rule(
    worked, way_out, install_plugin, refused, done, fault
) -> None:
    folder = install_plugin("rules", POLICY_GROUPS, rules=POLICY)
    fault(folder)
    if fault in (break_import, break_class):
        text = (folder / "rules.py").read_text()
        (folder / "rules.py").write_text(text.replace("    mandatory = True\n", ""))
    discovery.forget()
    unknown = fault in (remove_module, damage_manifest, remove_manifest, strip_manifest)
    if unknown or not is_left_out(way_out):
        line = refused(1, "run", "analyze", "count", "a", *way_out)
        assert ("--no-addon policy" in line) == (not unknown)
        assert FAULTS[fault] in line
        assert not worked()
    else:
        assert "count" in done("run", "analyze", "count", "a", *way_out)
        assert worked()


def test_a_mandatory_add_on_that_works_is_asked(worked, way_out, install_plugin, refused, done) -> None:
    install_plugin("rules", POLICY_GROUPS, rules=MANDATORY)
    if not is_left_out(way_out):
        assert "seen by policy" in done("run", "analyze", "count", "a")
        return
    line = refused(1, "run", "analyze", "count", "a", *way_out)
    assert line == "the add-on 'policy' (rules) must not be left out"
    assert not worked()


def test_a_mandatory_add_on_stops_every_hook(worked, install_plugin) -> None:
    folder = install_plugin("rules", POLICY_GROUPS, rules=MANDATORY)
    break_import(folder)
    session = Segplug(without_addons=["policy"])
    for call in (
        lambda: session.analyze("count"),
        lambda: session.load_dataset(folder),
        lambda: session.load_dataset(folder, source="folder"),
    ):
        with pytest.raises(RefusedError, match="'policy'"):
            call()


def test_add_ons_of_one_name_are_left_out_together_and_one_rule_among_them_is_enough(
    worked, install_plugin, refused, done
) -> None:
    install_plugin("rules", POLICY_GROUPS, rules=POLICY)
    second = {"segplug.addon": {"policy": "second:provider"}}
    folder = install_plugin("second", second, second=POLICY.replace("seen by policy", "seen by second"))
    out = done("run", "analyze", "count", "a")
    assert "seen by policy" in out
    assert "seen by second" in out
    assert "seen by" not in done(
        "run", "analyze", "count", "a", "--no-addon", "policy", "--no-addon", "other"
    )
    edit_manifest(folder / "second.segplug.json", mandatory=True)
    assert "'policy' (second) must not be left out" in refused(
        1, "run", "analyze", "count", "a", "--no-addon", "policy"
    )


def test_the_environment_names_the_only_add_ons(worked, install_plugin, done, monkeypatch) -> None:
    install_plugin("rules", POLICY_GROUPS, rules=POLICY)
    for only, expected in {
        "policy": "count, seen by policy\n",
        " other , ": "count, seen by other\n",
        "": "count\n",
    }.items():
        monkeypatch.setenv("SEGPLUG_ADDONS", only)
        assert done("run", "analyze", "count", "a") == expected
    monkeypatch.delenv("SEGPLUG_ADDONS")
    assert done("run", "analyze", "count", "a") == "count, seen by policy, seen by other\n"


@pytest.mark.parametrize("where", ["flag", "environment"])
def test_a_slip_in_an_add_ons_name_switches_nothing_off(
    worked, install_plugin, refused, monkeypatch, where
) -> None:
    install_plugin("rules", POLICY_GROUPS, rules=POLICY)
    flags = ("--no-addon", "polcy") if where == "flag" else ()
    if where == "environment":
        monkeypatch.setenv("SEGPLUG_ADDONS", "polcy")
    line = refused(2, "run", "analyze", "count", "a", *flags)
    assert line == "segplug: no add-on 'polcy'; did you mean 'policy'? (there are: other, policy)"
    assert not worked()


def test_a_required_add_on_must_be_installed(worked, refused, done, install_plugin, monkeypatch) -> None:
    monkeypatch.setenv("SEGPLUG_REQUIRED_ADDONS", "other, policy")
    line = refused(1, "run", "analyze", "count", "a")
    assert line == (
        "the add-on 'policy' must be installed (SEGPLUG_REQUIRED_ADDONS names it), and is not "
        "(install its distribution)"
    )
    assert not worked()
    install_plugin("rules", POLICY_GROUPS, rules=POLICY)
    assert done("run", "analyze", "count", "a") == "count, seen by policy, seen by other\n"
    monkeypatch.setenv("SEGPLUG_REQUIRED_ADDONS", "")
    assert done("run", "analyze", "count", "a", "--no-addon", "policy") == "count, seen by other\n"


def test_a_required_add_on_cannot_be_left_out(
    worked, way_out, refused, done, install_plugin, monkeypatch
) -> None:
    install_plugin("rules", POLICY_GROUPS, rules=POLICY)
    monkeypatch.setenv("SEGPLUG_REQUIRED_ADDONS", "policy")
    if not is_left_out(way_out):
        assert "seen by policy" in done("run", "analyze", "count", "a")
        return
    line = refused(1, "run", "analyze", "count", "a", *way_out)
    assert line == "the add-on 'policy' (rules) must not be left out"
    assert not worked()


def test_a_required_add_on_that_is_broken_stops_the_run(
    worked, way_out, refused, install_plugin, monkeypatch
) -> None:
    break_import(install_plugin("rules", POLICY_GROUPS, rules=POLICY))
    monkeypatch.setenv("SEGPLUG_REQUIRED_ADDONS", "policy")
    line = refused(1, "run", "analyze", "count", "a", *way_out)
    assert "policy" in line
    assert "--no-addon" not in line
    assert not worked()
