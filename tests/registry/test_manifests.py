"""What a manifest says is known without an import, and what is wrong with one is said in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segplug import Segplug
from segplug.cli.root import run_command_line
from segplug.registry import discovery
from segplug.registry.registry import Registry
from segplug.versions import CHANGES_PAGE
from tests.registry.support import (
    COUNT,
    COUNT_GROUPS,
    POLICY,
    POLICY_GROUPS,
    TOY_GROUPS,
    TOYS,
    edit_manifest,
    write_manifest,
)

AUTHOR = "its author has to run segplug plugins manifest acme"
COUNT_FACTS = {
    "hook": "analyze",
    "target": "count",
    "kind": "Report",
    "versions": {"analyze": 2},
    "about": "Counts its subjects.",
}


@pytest.fixture
def count(install_plugin) -> Path:
    """The manifest of an installed report."""
    return install_plugin("acme", COUNT_GROUPS, acme=COUNT) / "acme.segplug.json"


def test_a_manifest_holds_the_facts_that_are_not_defaults(count) -> None:
    assert json.loads(count.read_text()) == {
        "manifest": 1,
        "distribution": "acme",
        "providers": [COUNT_FACTS],
    }


def test_without_a_manifest_a_plugin_may_be_one_of_segplug_0_1(install_plugin, listed, refused) -> None:
    install_plugin("acme", COUNT_GROUPS, acme=COUNT, manifest=False)
    old = f"if it was written for segplug 0.1, see {CHANGES_PAGE}"
    reason = f"it has no manifest (acme.segplug.json): {AUTHOR}; {old}"
    assert refused(1, "run", "analyze", "count", "a") == f"analyze count (acme 1.0) is broken: {reason}"
    entry = listed("count")
    assert (entry["status"], entry["reason"]) == ("broken", reason)
    assert (entry["distribution"], entry["version"]) == ("acme", "1.0")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ('{"manifest": 1,', "Expecting property name enclosed in double quotes"),
        ("[" * 100_000, "recursion"),
        ("\udc80", "can't decode byte 0x80"),
        ("[]", "it holds no JSON object"),
        ("{}", "'manifest' is missing"),
        ('{"manifest": "1"}', "'manifest' cannot be '1'"),
        ('{"manifest": true}', "'manifest' cannot be True"),
        ('{"manifest": 0}', "'manifest' cannot be 0"),
        ('{"manifest": 1}', "'providers' is missing"),
        ('{"manifest": 1, "providers": [{}]}', "'hook' is missing"),
        ('{"manifest": 1, "providers": [{"hook": "analyze"}]}', "'target' is missing"),
        ('{"manifest": 1, "providers": [{"hook": "a", "target": "b"}]}', "'kind' is missing"),
        (
            '{"manifest": 1, "providers": [{"hook": "a", "target": "b", "kind": "c"}]}',
            "'versions' is missing",
        ),
        ('{"manifest": 1, "providers": []}', "'distribution' is missing"),
    ],
)
def test_a_damaged_manifest_is_one_line(count, refused, listed, text, fault) -> None:
    count.write_bytes(text.encode("utf-8", "surrogateescape"))
    discovery.forget()
    line = refused(1, "run", "analyze", "count", "a")
    assert line.startswith(f"analyze count (acme 1.0) is broken: its manifest {count} is damaged: ")
    assert fault in line
    assert line.endswith(f": {AUTHOR}")
    assert CHANGES_PAGE not in line  # it has a manifest, and so is no plugin of segplug 0.1
    assert listed("count")["status"] == "broken"


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("colour", "red", "'colour' is no fact"),
        ("about", 1, "'about' cannot be 1"),
        ("versions", [2], "'versions' cannot be [2]"),
        ("versions", {"analyze": "2"}, "the versions are no whole numbers"),
        ("versions", {"analyze": True}, "the versions are no whole numbers"),
        ("reads", "onnx", "'reads' cannot be 'onnx'"),
        ("reads", [1], "'reads' cannot be [1]"),
        ("mandatory", "no", "'mandatory' cannot be 'no'"),
        ("order", 1.5, "'order' cannot be 1.5"),
        ("order", True, "'order' cannot be True"),
    ],
)
def test_an_unknown_fact_or_one_of_a_wrong_type_is_named(count, refused, name, value, fault) -> None:
    edit_manifest(count, **{name: value})
    line = refused(1, "run", "analyze", "count", "a")
    assert f"its manifest {count} is damaged: {fault}: {AUTHOR}" in line


def test_a_manifest_of_a_newer_format_needs_a_newer_segplug(count, refused, listed) -> None:
    write_manifest(count, "acme", {**COUNT_FACTS, "new_fact": 1}, manifest=2)
    reason = "its manifest has format 2, this segplug reads 1: upgrade segplug"
    assert refused(1, "run", "analyze", "count", "a") == f"analyze count (acme 1.0) is broken: {reason}"
    assert listed("count")["reason"] == reason


def test_a_manifest_that_cannot_be_read_says_why(count, refused) -> None:
    count.unlink()
    count.mkdir()
    discovery.forget()
    assert "its manifest cannot be read: it is a folder, not a file" in refused(
        1, "run", "analyze", "count", "a"
    )


def test_a_manifest_that_does_not_name_the_target(count, refused, listed) -> None:
    write_manifest(count, "acme", {**COUNT_FACTS, "target": "cuont"})
    line = refused(1, "run", "analyze", "count", "a")
    assert line == (
        f"analyze count (acme 1.0) is broken: its manifest does not name it (analyze count): {AUTHOR}"
    )
    assert listed("count")["status"] == "broken"


@pytest.mark.parametrize(
    ("name", "value", "said", "found"),
    [
        ("kind", "Backend", "'kind' is 'Backend'", "'Report'"),
        ("versions", {}, "'versions' is {}", "{'analyze': 2}"),
        ("about", "Counts.", "'about' is 'Counts.'", "'Counts its subjects.'"),
        ("about", None, "'about' is ''", "'Counts its subjects.'"),
        ("suffix", ".x", "'suffix' is '.x'", "''"),
        ("precisions", ["fp16"], "'precisions' is ('fp16',)", "()"),
        ("mandatory", True, "'mandatory' is True", "False"),
    ],
)
def test_a_manifest_that_does_not_fit_its_class_is_refused_with_the_command(
    count, refused, done, name, value, said, found
) -> None:
    edit_manifest(count, **{name: value})
    assert refused(1, "run", "analyze", "count", "a") == (
        "analyze count (acme 1.0) is broken: its manifest does not fit its class: "
        f"{said} in the manifest and {found} in the class (segplug plugins manifest acme)"
    )
    done("plugins", "manifest", "acme")
    assert Segplug().analyze("count", "a").title == "count"


def test_the_first_difference_is_named(count, refused) -> None:
    edit_manifest(count, suffix=".x", about="Counts.", order=3)
    line = refused(1, "run", "analyze", "count", "a")
    assert "'about'" in line
    assert "'suffix'" not in line
    assert "'order'" not in line


def test_a_manifest_of_an_add_on_is_compared_too(count, install_plugin, refused) -> None:
    folder = install_plugin("rules", POLICY_GROUPS, rules=POLICY)
    edit_manifest(folder / "rules.segplug.json", order=7)
    line = refused(1, "run", "analyze", "count", "a")
    assert "add-on policy (rules 1.0) is broken: its manifest does not fit its class: 'order' is 7" in line
    assert line.endswith("(segplug plugins manifest rules, or leave it out: --no-addon policy)")


@pytest.mark.parametrize("trap", ["raise", "mark"])
def test_listings_and_help_texts_import_nothing(install_plugin, done, listed, tmp_path: Path, trap) -> None:
    mark = tmp_path / "imported"
    folder = install_plugin("toys", TOY_GROUPS, toys=TOYS)
    rules = install_plugin("rules", POLICY_GROUPS, rules=POLICY)
    line = "raise SystemExit('imported')\n" if trap == "raise" else f"open({str(mark)!r}, 'w')\n"
    (folder / "toys.py").write_text(line + TOYS)
    (rules / "rules.py").write_text(line + POLICY)

    for arguments in (
        ("plugins", "list"),
        ("plugins", "list", "--json"),
        ("--help",),
        ("run", "--help"),
        ("run", "infer", "--help"),
    ):
        done(*arguments)
    assert listed("toy-box")["facts"]["takes"] == "either"
    assert listed("policy")["status"] == "available"
    assert Segplug().targets("infer")
    assert not mark.exists()

    code = run_command_line(["plugins", "list", "--check", "--json"])
    assert mark.exists() == (trap == "mark")  # the check imports
    if trap == "raise":
        assert code == 1


def test_a_check_of_the_listing_says_what_is_broken(install_plugin, capsys) -> None:
    install_plugin("ill", {"segplug.analyze": {"ill": "ill:provider"}}, ill="import no_such_library")
    install_plugin("acme", COUNT_GROUPS, acme=COUNT)
    assert run_command_line(["plugins", "list", "--check", "--json"]) == 1
    found = {entry["target"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert found["ill"]["status"] == "broken"
    assert "No module named 'no_such_library'" in found["ill"]["reason"]
    assert found["count"]["status"] == "available"


def test_a_module_that_is_not_there_is_listed(install_plugin, listed, refused) -> None:
    install_plugin("gone", {"segplug.analyze": {"lost": "gone.deep:provider"}})
    entry = listed("lost")
    assert (entry["status"], entry["reason"]) == ("broken", "there is no module gone")
    assert refused(1, "run", "analyze", "lost", "a").endswith("is broken: there is no module gone")


def test_what_a_manifest_says_is_believed_until_the_plugin_is_loaded(count) -> None:
    edit_manifest(count, about="Something else.")
    entry = Registry().entry("analyze", "count")
    assert entry.facts.about == "Something else."
    assert entry.status == "available"
