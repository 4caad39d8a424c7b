"""Each hook has a version of its own: older ones run until they end, newer and ended ones are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from segplug import Segplug
from segplug.registry.registry import Registry
from segplug.versions import CHANGES_PAGE, HOOK_VERSIONS, HookVersions
from tests.registry.support import COUNT, COUNT_GROUPS, IMPORTS, POLICY, POLICY_GROUPS, TOY_GROUPS, TOYS

ENDS = "written for version 2 of 'infer', which ends in segplug 0.4"

WATCH = (
    IMPORTS
    + """
class Watch(AddOn[NoOptions]):
    '''Watches engines and reports.'''
    hook_versions = {"infer": 2, "analyze": 2}
    mandatory = False

    @hookimpl(wrapper=True)
    def infer(self, request):
        raise RefusedError("watched")
        yield

    @hookimpl(wrapper=True)
    def analyze(self, request):
        return (yield)

provider = Watch()
"""
)


@pytest.fixture
def infer_3(monkeypatch: pytest.MonkeyPatch) -> None:
    """A segplug in which the hook infer has version 3, and version 2 runs until 0.4."""
    versions = HookVersions(current=3, changes={2: "Something.", 3: "More."}, ends={2: "0.4"})
    monkeypatch.setitem(HOOK_VERSIONS, "infer", versions)  # type: ignore[arg-type]


@pytest.fixture
def toys(infer_3, install_plugin) -> Any:
    """Installs the toys with backends that say a version."""

    def install(version: int) -> None:
        source = TOYS.replace(
            "'''Opens toy files.'''\n    hook_version = 2",
            f"'''Opens toy files.'''\n    hook_version = {version}",
        )
        assert version == 2 or source != TOYS
        install_plugin("toys", TOY_GROUPS, toys=source)

    return install


@pytest.fixture
def toy_file(tmp_path: Path) -> Path:
    path = tmp_path / "net.toy"
    path.write_text("toy")
    return path


def test_a_provider_of_an_older_version_runs_and_the_listing_says_until_when(
    toys, toy_file, listed, done
) -> None:
    toys(2)
    with Segplug().open(toy_file, backend="toy") as engine:
        assert engine.spec.meta.name == "toy"
    assert (listed("toy-server")["status"], listed("toy-server")["reason"]) == ("available", ENDS)
    assert ENDS in " ".join(done("plugins", "list").split())
    assert ENDS in " ".join(done("run", "infer", "--help").split())
    assert ENDS in done("plugins", "show", "toys:toy")
    assert '"status": "available"' in done("plugins", "show", "toy-server", "--json")


def test_a_provider_of_the_current_version_runs(toys, toy_file, listed) -> None:
    toys(3)
    with Segplug().open(toy_file, backend="toy") as engine:
        assert engine.spec.meta.name == "toy"
    assert (listed("toy-server")["status"], listed("toy-server")["reason"]) == ("available", "")


def test_a_provider_of_a_newer_version_needs_a_newer_segplug(toys, toy_file, listed, refused) -> None:
    toys(4)
    line = refused(1, "run", "infer", "toy", toy_file)
    assert line == (
        "infer toy (toys 1.0) is outdated: it needs version 4 of the hook 'infer', this segplug has 3: "
        "upgrade segplug"
    )
    assert listed("toy-server")["status"] == "outdated"


def test_a_provider_of_a_version_that_has_ended_is_refused_with_the_page(
    toys, toy_file, listed, refused
) -> None:
    toys(1)
    line = refused(1, "run", "infer", "toy", toy_file)
    assert line == (
        "infer toy (toys 1.0) is outdated: it was written for version 1 of the hook 'infer', this segplug "
        f"has 3: upgrade the plugin; what changed: {CHANGES_PAGE}"
    )
    assert listed("toy-server")["status"] == "outdated"


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_other_hooks_are_not_affected(toys, version, listed, tmp_path: Path) -> None:
    toys(version)
    assert (listed("toy-box")["status"], listed("toy-box")["reason"]) == ("available", "")
    session = Segplug()
    made = session.export("toy", session.load_model("toy:net"), output=tmp_path / "made.toy")
    assert made.path.read_text() == "toy"


def test_the_version_of_an_ended_hook_is_refused_though_another_claims_the_target(
    toys, toy_file, listed, refused, install_plugin
) -> None:
    toys(1)
    rival = TOYS.replace("hook_version = 2", "hook_version = 3")
    install_plugin("rival", {"segplug.infer": {"toy": "rival:engine"}}, rival=rival)
    assert refused(2, "run", "infer", "toy", toy_file).endswith("(ask for rival:toy or toys:toy)")
    assert "upgrade the plugin" in refused(1, "run", "infer", "toys:toy", toy_file)
    with Segplug().open(toy_file, backend="rival:toy") as engine:
        assert engine.spec.meta.name == "toy"


def test_an_add_on_has_a_version_for_each_hook(infer_3, install_plugin, listed, refused) -> None:
    install_plugin("rules", {"segplug.addon": {"watch": "rules:provider"}}, rules=WATCH)
    install_plugin("acme", COUNT_GROUPS, acme=COUNT)
    assert (listed("watch")["status"], listed("watch")["reason"]) == ("available", ENDS)
    assert Segplug().analyze("count").title == "count"


@pytest.mark.parametrize(
    ("version", "reason"), [(4, "upgrade segplug"), (1, f"upgrade the plugin; what changed: {CHANGES_PAGE}")]
)
def test_an_add_on_of_a_version_that_does_not_run_stops_every_run_until_it_is_left_out(
    infer_3, install_plugin, listed, refused, done, version, reason
) -> None:
    source = WATCH.replace('"infer": 2', f'"infer": {version}')
    install_plugin("rules", {"segplug.addon": {"watch": "rules:provider"}}, rules=source)
    install_plugin("acme", COUNT_GROUPS, acme=COUNT)
    assert listed("watch")["status"] == "outdated"
    line = refused(1, "run", "analyze", "count", "a")
    assert line.startswith("add-on watch (rules 1.0) is outdated: it ")
    assert reason in line
    assert "--no-addon watch" in line
    assert "count" in done("run", "analyze", "count", "a", "--no-addon", "watch")


@pytest.mark.parametrize("what", ["provider", "add-on"])
@pytest.mark.parametrize("manifest", [False, True])
def test_version_1_is_refused_with_the_page_that_says_what_changed(
    install_plugin, refused, listed, tmp_path: Path, what, manifest
) -> None:
    trap = tmp_path / "imported"
    old = COUNT.replace("hook_version = 2", "api_version = 1").replace("(Report[NoOptions])", "")
    rule = POLICY.replace('hook_versions = {"analyze": 2}', "api_version = 1").replace(
        "(AddOn[NoOptions])", ""
    )
    mark = f"open({str(trap)!r}, 'w')\n"
    install_plugin("acme", COUNT_GROUPS, acme=mark + old if what == "provider" else COUNT, manifest=manifest)
    if what == "add-on":
        install_plugin("rules", POLICY_GROUPS, rules=mark + rule, manifest=manifest)
    trap.unlink(missing_ok=True)

    entry = listed("count" if what == "provider" else "policy")
    assert not trap.exists()
    line = refused(1, "run", "analyze", "count", "a")
    assert CHANGES_PAGE in line
    assert "segplug 0.1" in line
    if not manifest:
        assert (entry["status"], entry["version"]) == ("broken", "1.0")
        assert CHANGES_PAGE in entry["reason"]
        assert not trap.exists()  # nobody needs to import it to know


def test_the_page_describes_the_hooks_as_they_are() -> None:
    page = (Path(__file__).parents[2] / CHANGES_PAGE).read_text(encoding="utf-8")
    for hook, versions in HOOK_VERSIONS.items():
        older = ", ".join(str(version) for version in versions.ends) or "none"
        assert f"| `{hook}` | {versions.current} | {older} |" in page
        assert set(versions.changes) == set(range(2, versions.current + 1))


def test_an_unknown_hook_in_a_manifest_is_named_without_an_import(install_plugin, listed, refused) -> None:
    folder = install_plugin("rules", POLICY_GROUPS, rules=POLICY)
    manifest = folder / "rules.segplug.json"
    manifest.write_text(manifest.read_text().replace('"analyze": 2', '"analise": 2'))
    (folder / "rules.py").write_text("1 / 0")
    install_plugin("acme", COUNT_GROUPS, acme=COUNT)
    assert listed("policy")["reason"] == "there is no hook 'analise'"
    assert "there is no hook 'analise'" in refused(1, "run", "analyze", "count", "a")
    assert Registry(without_addons=["policy"]).entry("analyze", "count").status == "available"
