"""Finding, isolating and choosing providers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from segplug import Segplug
from segplug.errors import PluginError, UsageError
from segplug.registry import discovery
from segplug.registry.registry import Registry
from tests.registry.support import COUNT, COUNT_GROUPS, POLICY, POLICY_GROUPS, TOY_GROUPS, TOYS


def titled(title: str) -> str:
    """The report, with another title."""
    return COUNT.replace('title="count"', f'title="{title}"')


def title(target: str) -> str:
    return Segplug().analyze(target, "a").title


def test_a_provider_is_found_by_name_and_called(install_plugin) -> None:
    install_plugin("acme", COUNT_GROUPS, version="2.3.1", acme=titled("acme"))
    install_plugin("other", {"segplug.analyze": {"zcount": "other:provider"}}, other=titled("other"))

    entry = Registry().entry("analyze", "count")
    assert (entry.distribution, entry.version) == ("acme", "2.3.1")
    assert entry.facts.about == "Counts its subjects."
    # Registered last or first makes no difference: the name decides.
    assert title("count") == "acme"
    assert title("zcount") == "other"
    assert title("acme:count") == "acme"


def test_an_unknown_target_suggests_the_nearest(install_plugin, refused) -> None:
    install_plugin("acme", COUNT_GROUPS, acme=COUNT)
    line = refused(2, "run", "analyze", "cuont", "a")
    assert line.startswith("analyze: no target 'cuont'; did you mean 'count'? (there are: ")
    line = refused(2, "run", "analyze", "amce:count", "a")
    assert line.startswith("analyze: no target 'amce:count'; did you mean 'acme:count'? (there are: ")


def test_a_target_claimed_twice_names_both_and_how_to_choose(install_plugin, refused) -> None:
    install_plugin("acme", COUNT_GROUPS, acme=titled("acme"))
    rival = {"segplug.analyze": {"count": "rival:provider"}}
    install_plugin("rival", rival, rival="raise ImportError('x')")

    line = refused(2, "run", "analyze", "count", "a")
    assert line == "analyze count is claimed by more than one plugin (ask for acme:count or rival:count)"
    assert title("acme:count") == "acme"
    claims = [entry for entry in discovery.entries("analyze") if entry.target == "count"]
    assert [entry.status for entry in claims] == ["duplicate", "duplicate"]
    assert [entry.name for entry in claims] == ["acme:count", "rival:count"]
    assert {entry.reason for entry in claims} == {"claimed by acme:count and rival:count"}


def test_a_broken_claim_of_a_target_stays_broken(install_plugin, refused) -> None:
    install_plugin("acme", COUNT_GROUPS, acme=titled("acme"))
    rival = {"segplug.analyze": {"count": "rival:provider"}}
    install_plugin("rival", rival, rival=COUNT, manifest=False)
    assert "(ask for acme:count or rival:count)" in refused(2, "run", "analyze", "count", "a")
    assert "it has no manifest" in refused(1, "run", "analyze", "rival:count", "a")
    assert title("acme:count") == "acme"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no licence server')", "RuntimeError: no licence server"),
        ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def (", "SyntaxError: "),
        ("", "AttributeError: module 'broken' has no attribute 'provider'"),
        ("provider = object()", "it does not say its hook_version"),
        (COUNT.replace("def analyze", "def analyse"), "abstract method"),
    ],
)
def test_a_plugin_that_does_not_work_is_one_line_and_hurts_no_other(
    install_plugin, refused, source, reason
) -> None:
    install_plugin("broken", {"segplug.analyze": {"bad": "broken:provider"}}, broken=source)
    install_plugin("acme", COUNT_GROUPS, acme=COUNT)
    line = refused(1, "run", "analyze", "bad", "a")
    assert line.startswith("analyze bad (broken 1.0) is broken: ")
    assert reason in line
    assert title("count") == "count"


def test_the_original_exception_is_the_cause(install_plugin) -> None:
    install_plugin("broken", {"segplug.analyze": {"bad": "broken:provider"}}, broken="1 / 0")
    with pytest.raises(PluginError) as caught:
        Registry().provider("analyze", "bad")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    install_plugin("rules", POLICY_GROUPS, rules="1 / 0")
    install_plugin("acme", COUNT_GROUPS, acme=COUNT)
    with pytest.raises(PluginError) as caught:
        title("count")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_an_interrupt_at_an_import_ends_the_work(install_plugin) -> None:
    folder = install_plugin("acme", COUNT_GROUPS, acme=COUNT)
    (folder / "acme.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Registry().provider("analyze", "count")


def test_a_provider_is_loaded_once(install_plugin) -> None:
    install_plugin("acme", COUNT_GROUPS, acme=COUNT)
    registry = Registry()
    assert registry.provider("analyze", "count") is registry.provider("analyze", "acme:count")


def test_a_loaded_provider_or_an_entry_is_taken_as_it_is_but_not_for_another_hook(install_plugin) -> None:
    install_plugin("toys", TOY_GROUPS, toys=TOYS)
    registry = Registry()
    engine = registry.provider("infer", "toy")
    assert registry.resolve("infer", engine) is engine
    assert registry.resolve("infer", engine.entry) is engine
    assert registry.resolve("infer", "toy") is engine
    for target in (engine, engine.entry):
        with pytest.raises(UsageError, match="toy is a target of infer, not of export"):
            registry.resolve("export", target)
    assert registry.resolve("export", "toy").entry.hook == "export"


def test_a_hook_may_be_spelt_with_dashes(install_plugin, done) -> None:
    install_plugin("toys", TOY_GROUPS, toys=TOYS)
    assert "Compiles toy files." in done("run", "build-engine", "toys:fast-toy", "--help")
    assert "Compiles toy files." in done("run", "build_engine", "fast-toy", "--help")


def test_an_object_may_be_a_dataclass(install_plugin) -> None:
    install_plugin("acme", COUNT_GROUPS, acme=COUNT.replace("class Count", "@dataclass\nclass Count"))
    policy = POLICY.replace("class Policy", "@dataclass\nclass Policy").replace(
        'hook_versions = {"analyze": 2}', "hook_versions = MappingProxyType({'analyze': 2})"
    )
    install_plugin("rules", POLICY_GROUPS, rules="from types import MappingProxyType\n" + policy)
    assert title("count") == "count, seen by policy"


def test_what_is_described_says_its_status_and_its_options(install_plugin, done, capsys) -> None:
    from segplug.cli.root import run_command_line

    install_plugin("acme", COUNT_GROUPS, acme=COUNT)
    install_plugin("ill", {"segplug.analyze": {"ill": "ill:provider"}}, ill="1 / 0")
    (described,) = json.loads(done("plugins", "show", "count", "--json"))
    assert (described["status"], described["help"]) == ("available", "Counts its subjects.")
    assert run_command_line(["plugins", "show", "ill", "--json"]) == 1
    (described,) = json.loads(capsys.readouterr().out)
    assert (described["status"], "ZeroDivisionError" in described["reason"]) == ("broken", True)


def test_another_process_sees_the_same(install_plugin, tmp_path: Path) -> None:
    folders = [
        install_plugin("acme", COUNT_GROUPS, acme=COUNT),
        install_plugin("rules", POLICY_GROUPS, rules=POLICY),
    ]

    def run(*arguments: str) -> tuple[int, str, str]:
        path = os.pathsep.join(str(folder) for folder in folders)
        ended = subprocess.run(
            [sys.executable, "-m", "segplug", "run", "analyze", *arguments],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return ended.returncode, ended.stdout, ended.stderr

    assert run("count", "a") == (0, "count, seen by policy\n", "")
    assert run("count", "secret") == (1, "", "error: secret files are not analysed\n")
    code, out, err = run("count", "a", "--no-addon", "polcy")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
