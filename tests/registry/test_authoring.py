"""``segplug plugins manifest``: the manifests of a distribution, written from its classes and checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segplug import Segplug
from segplug.errors import PluginError
from segplug.registry import discovery
from segplug.registry.registry import Registry
from tests.registry.support import (
    COUNT,
    COUNT_GROUPS,
    IMPORTS,
    POLICY,
    POLICY_GROUPS,
    TOY_GROUPS,
    TOYS,
    edit_manifest,
    write_manifest,
)

COMMAND = """
import click

@click.command()
def greet():
    '''Greets somebody, at some length.'''

@click.group()
def tools():
    '''Some tools.'''
"""


def written(path: Path) -> dict[tuple[str, str], dict]:
    document = json.loads(path.read_text())
    assert document["manifest"] == 1
    return {(item.pop("hook"), item.pop("target")): item for item in document["providers"]}


def test_a_single_module_has_its_manifest_beside_it(install_packages, done, refused) -> None:
    folder = install_packages("acme", COUNT_GROUPS, {"acme.py": COUNT})
    path = folder / "acme.segplug.json"
    refused(1, "run", "analyze", "count", "a")
    assert done("plugins", "manifest", "acme") == f"wrote {path}\n"
    assert json.loads(path.read_text())["distribution"] == "acme"
    assert "count" in done("run", "analyze", "count", "a")


def test_a_package_has_its_manifest_inside(install_packages, done) -> None:
    groups = {"segplug.analyze": {"count": "acme.reports.count:provider"}}
    files = {"acme/__init__.py": "", "acme/reports/count.py": COUNT}
    folder = install_packages("acme", groups, files)
    assert done("plugins", "manifest", "acme") == f"wrote {folder / 'acme' / 'segplug.json'}\n"
    assert "count" in done("run", "analyze", "count", "a")


def test_distributions_that_share_a_namespace_have_a_manifest_each(install_packages, done, listed) -> None:
    rules = {"shared/rules/__init__.py": "1 / 0", "shared/rules/policy.py": POLICY}
    folder = install_packages(
        "shared-count",
        {"segplug.analyze": {"count": "shared.count:provider"}},
        {"shared/count/__init__.py": COUNT},
    )
    other = install_packages(
        "shared-rules", {"segplug.addon": {"policy": "shared.rules.policy:provider"}}, rules
    )
    single = install_packages(
        "shared-single",
        {"segplug.analyze": {"single": "shared.single:provider"}},
        {"shared/single.py": COUNT},
    )
    (other / "shared/rules/__init__.py").write_text("")

    assert done("plugins", "manifest", "shared-count", "shared-rules", "shared-single").splitlines() == [
        f"wrote {folder / 'shared/count/segplug.json'}",
        f"wrote {other / 'shared/rules/segplug.json'}",
        f"wrote {single / 'shared/shared.single.segplug.json'}",
    ]
    assert [listed(target)["distribution"] for target in ("count", "policy", "single")] == [
        "shared-count",
        "shared-rules",
        "shared-single",
    ]
    assert "count, seen by policy" in done("run", "analyze", "count", "a")
    assert "count, seen by policy" in done("run", "analyze", "single", "a")


def test_a_namespace_is_not_imported_to_find_a_manifest(install_packages, done, listed, tmp_path) -> None:
    groups = {"segplug.analyze": {"count": "shared.deep.reports.count:provider"}}
    files = {"shared/deep/reports/__init__.py": "", "shared/deep/reports/count.py": COUNT}
    folder = install_packages("acme", groups, files)
    done("plugins", "manifest", "acme")
    for name in files:
        (folder / name).write_text("raise SystemExit('imported')")
    discovery.forget()
    assert listed("count")["status"] == "available"
    done("plugins", "list")


def test_a_distribution_of_several_packages_has_several_manifests(install_packages, done) -> None:
    groups = {
        "segplug.analyze": {"count": "acme:provider"},
        "segplug.addon": {"policy": "acme_rules:provider"},
    }
    folder = install_packages("acme", groups, {"acme.py": COUNT, "acme_rules/__init__.py": POLICY})
    done("plugins", "manifest", "acme")
    assert list(written(folder / "acme.segplug.json")) == [("analyze", "count")]
    assert list(written(folder / "acme_rules/segplug.json")) == [("addon", "policy")]
    assert "seen by policy" in done("run", "analyze", "count", "a")


def test_the_manifest_of_another_distribution_is_never_replaced(install_packages, done, refused) -> None:
    one = {"segplug.analyze": {"count": "acme:provider"}}
    two = {"segplug.analyze": {"other": "acme:provider"}}
    folder = install_packages("acme-one", one, {"acme/__init__.py": COUNT})
    install_packages("acme-two", two, {})
    done("plugins", "manifest", "acme-one")
    before = (folder / "acme/segplug.json").read_bytes()
    line = refused(1, "plugins", "manifest", "acme-two")
    assert line.startswith(f"{folder / 'acme/segplug.json'} is the manifest of acme-one")
    assert (folder / "acme/segplug.json").read_bytes() == before


def test_a_target_that_another_distributions_manifest_does_not_name_is_its_own_distributions(
    install_packages, done, listed
) -> None:
    install_packages("acme-one", {"segplug.analyze": {"count": "acme:provider"}}, {"acme/__init__.py": COUNT})
    install_packages("acme-two", {"segplug.analyze": {"other": "acme:provider"}}, {})
    done("plugins", "manifest", "acme-one")
    assert (listed("other")["status"], listed("other")["distribution"]) == ("broken", "acme-two")
    assert listed("count")["status"] == "available"


def test_a_renamed_distribution_takes_its_manifest_along(install_packages, done) -> None:
    folder = install_packages("acme", COUNT_GROUPS, {"acme.py": COUNT})
    path = folder / "acme.segplug.json"
    write_manifest(path, "acme-before")
    done("plugins", "manifest", "acme")
    assert json.loads(path.read_text())["distribution"] == "acme"


def test_a_check_writes_nothing_and_exits_with_1_until_it_fits(install_packages, done, capsys) -> None:
    from segplug.cli.root import run_command_line

    folder = install_packages("acme", COUNT_GROUPS, {"acme.py": COUNT})
    path = folder / "acme.segplug.json"

    def misfit() -> str:
        before = path.read_bytes() if path.exists() else None
        capsys.readouterr()
        assert run_command_line(["plugins", "manifest", "--check", "acme"]) == 1
        assert (path.read_bytes() if path.exists() else None) == before
        return capsys.readouterr().out

    line = f"{path} does not fit the classes of acme: segplug plugins manifest acme\n"
    assert misfit() == line  # it is missing
    done("plugins", "manifest", "acme")
    assert done("plugins", "manifest", "--check", "acme") == "the manifests fit\n"
    edit_manifest(path, about="Something else.")
    assert misfit() == line
    path.write_text("damaged")
    discovery.forget()
    assert misfit() == line


def test_a_manifest_that_fits_is_not_touched(install_packages, done) -> None:
    folder = install_packages("acme", COUNT_GROUPS, {"acme.py": COUNT})
    done("plugins", "manifest", "acme")
    before = (folder / "acme.segplug.json").stat()
    done("plugins", "manifest", "acme")
    after = (folder / "acme.segplug.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_every_kind_says_its_own_facts(install_packages, done) -> None:
    groups = {**TOY_GROUPS, "segplug.command": {"greet": "tool:greet", "tools": "tool:tools"}}
    folder = install_packages("toys", groups, {"toys.py": TOYS, "tool.py": COMMAND})
    done("plugins", "manifest", "toys")
    facts = written(folder / "toys.segplug.json")
    assert facts["export", "toy"] == {
        "kind": "Exporter",
        "versions": {"export": 2},
        "about": "Saves toy models.",
        "takes": "model",
        "suffix": ".toy",
        "verify_with": "toy",
        "precisions": ["fp32"],
    }
    assert facts["export", "toy-box"] == {
        "kind": "Packer",
        "versions": {"export": 2},
        "about": "Packs toy files and models.",
        "takes": "either",
    }
    assert facts["build_engine", "fast-toy"] == {
        "kind": "EngineBuilder",
        "versions": {"build_engine": 2},
        "about": "Compiles toy files.",
        "takes": "artifact",
        "reads": ["toy"],
        "suffix": ".fast-toy",
        "verify_with": "fast-toy",
        "precisions": ["fp32"],
    }
    assert facts["infer", "toy-server"] == {
        "kind": "Backend",
        "versions": {"infer": 2},
        "about": "Reaches toy servers.",
        "takes": "url",
        "default_device": "cpu",
    }
    assert facts["load_model", "toys"]["kind"] == "ModelSource"
    assert written(folder / "tool.segplug.json")["command", "greet"] == {
        "kind": "Command",
        "versions": {},
        "about": "Greets somebody, at some length.",
    }


def test_a_plain_object_has_the_facts_of_its_base_class(install_packages, done) -> None:
    source = (
        IMPORTS
        + """
class Plain:
    hook_version = 2
    about = "Opens anything, and says so in “words”."

    @hookimpl
    def infer(self, request): ...

provider = Plain()
"""
    )
    folder = install_packages("acme", {"segplug.infer": {"npu": "acme:provider"}}, {"acme.py": source})
    done("plugins", "manifest", "acme")
    assert written(folder / "acme.segplug.json")["infer", "npu"] == {
        "kind": "Backend",
        "versions": {"infer": 2},
        "about": "Opens anything, and says so in “words”.",
        "takes": "artifact",
        "reads": ["npu"],
        "default_device": "cpu",
    }
    assert Segplug().targets("infer")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("1 / 0", "ZeroDivisionError"),
        (COUNT.replace("hook_version = 2", ""), "it does not say its hook_version"),
        (
            COUNT.replace("    hook_version", "    about = 1\n    hook_version"),
            "its 'about' must be text, not 1",
        ),
        (COUNT.replace("hook_version = 2", "api_version = 1"), "written for segplug 0.1"),
    ],
)
@pytest.mark.parametrize("flags", [(), ("--check",)])
def test_nothing_is_written_for_a_broken_class(install_packages, refused, source, reason, flags) -> None:
    folder = install_packages("acme", COUNT_GROUPS, {"acme.py": source})
    line = refused(1, "plugins", "manifest", *flags, "acme")
    assert line.startswith("analyze count (acme 1.0) ")
    assert reason in line
    assert not list(folder.glob("*.json"))


def test_the_check_of_a_command_compares_its_manifest_too(install_packages, done) -> None:
    folder = install_packages("acme", {"segplug.command": {"greet": "tool:greet"}}, {"tool.py": COMMAND})
    done("plugins", "manifest", "acme")
    (entry,) = [entry for entry in discovery.command_entries() if entry.target == "greet"]
    assert Registry().check(entry).help == "Greets somebody, at some length."
    edit_manifest(folder / "tool.segplug.json", about="Greets nobody.")
    (entry,) = [entry for entry in discovery.command_entries() if entry.target == "greet"]
    with pytest.raises(PluginError, match="does not fit its command: 'about' is 'Greets nobody"):
        Registry().check(entry)


def test_a_command_that_is_none_is_named(install_packages, refused) -> None:
    install_packages("acme", {"segplug.command": {"greet": "acme:provider"}}, {"acme.py": COUNT})
    assert refused(1, "plugins", "manifest", "acme") == "command greet (acme 1.0) is no click command"


def test_a_distribution_is_installed_and_has_plugins(install_packages, refused) -> None:
    assert refused(2, "plugins", "manifest", "no-such") == "the distribution no-such is not installed"
    install_packages("plain", {"console_scripts": {"plain": "plain:main"}}, {"plain.py": ""})
    assert refused(2, "plugins", "manifest", "plain") == "plain has no entry point of segplug's"


def test_the_name_of_a_distribution_may_be_spelt_in_any_way(install_packages, done) -> None:
    folder = install_packages("acme_tools", COUNT_GROUPS, {"acme.py": COUNT})
    done("plugins", "manifest", "Acme-Tools")
    assert json.loads((folder / "acme.segplug.json").read_text())["distribution"] == "acme_tools"
    done("plugins", "manifest", "--check", "acme.tools")


def test_an_add_on_says_its_place_and_its_files(install_packages, done) -> None:
    source = POLICY.replace(
        "    hook_versions",
        "    mandatory = True\n    order = -5\n    sidecars = ('.release.json',)\n    hook_versions",
    )
    folder = install_packages("rules", POLICY_GROUPS, {"rules.py": source})
    done("plugins", "manifest", "rules")
    assert written(folder / "rules.segplug.json")["addon", "policy"] == {
        "kind": "AddOn",
        "versions": {"analyze": 2},
        "about": "Refuses secret files.",
        "mandatory": True,
        "order": -5,
        "sidecars": [".release.json"],
    }
