"""What is installed is seen at once, and what a manifest says of rules and owners is not believed blindly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from segplug import Segplug
from segplug.errors import PluginError, RefusedError
from segplug.registry import discovery

BACKEND = """
    from segplug import Backend, hookimpl
    from segplug.options import NoOptions

    class Toy(Backend[NoOptions]):
        hook_version = 2

        @hookimpl
        def infer(self, request):
            raise NotImplementedError

    provider = Toy()
"""

RULE = """
    from segplug import AddOn, hookimpl
    from segplug.options import NoOptions

    class Rule(AddOn[NoOptions]):
        hook_versions = {"infer": 2}
        mandatory = True

        @hookimpl(wrapper=True)
        def infer(self, request):
            return (yield)

    addon = Rule()
"""


def change_manifest(folder: Path, module: str, **changes: object) -> None:
    path = folder / f"{module}.segplug.json"
    document = json.loads(path.read_text())
    document["providers"][0].update(changes)
    document["distribution"] = document["providers"][0].pop("distribution", document["distribution"])
    path.write_text(json.dumps(document))
    discovery.forget()


def test_an_entry_point_that_was_just_added_is_found(install_plugin, tmp_path: Path) -> None:
    """The key of stevedore's cache holds times rounded to 128 seconds."""
    folder = install_plugin("toys", {"segplug.infer": {"one": "toys:provider"}}, toys=BACKEND)
    manifest = folder / "toys.segplug.json"
    document = json.loads(manifest.read_text())
    document["providers"].append({**document["providers"][0], "target": "two"})
    manifest.write_text(json.dumps(document))
    points = folder / "toys-1.0.dist-info" / "entry_points.txt"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), os.getcwd()]),
        "XDG_CACHE_HOME": str(tmp_path / "fresh-cache"),
    }

    def listed() -> set[str]:
        command = [sys.executable, "-m", "segplug", "plugins", "list", "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return {entry["target"] for entry in json.loads(done.stdout) if entry["distribution"] == "toys"}

    # Times in one interval of 128 seconds: stevedore takes them for equal.
    moment = 128 * 14_000_000
    os.utime(points, (moment, moment))
    assert listed() == {"one"}
    points.write_text(points.read_text().replace("one = toys:provider", "two = toys:provider"))
    os.utime(points, (moment + 30, moment + 30))
    os.utime(folder.joinpath("toys-1.0.dist-info"), (moment, moment))
    assert listed() == {"two"}


@pytest.mark.parametrize("without", ["flag", "variable"])
def test_a_rule_holds_although_its_manifest_is_older_than_its_class(
    install_plugin, monkeypatch: pytest.MonkeyPatch, without: str
) -> None:
    folder = install_plugin("rules", {"segplug.addon": {"rule": "rules:addon"}}, rules=RULE)
    install_plugin("toys", {"segplug.infer": {"toy": "toys:provider"}}, toys=BACKEND)
    change_manifest(folder, "rules", mandatory=False)
    if without == "variable":
        monkeypatch.setenv("SEGPLUG_ADDONS", "")
    session = Segplug(without_addons=["rule"] if without == "flag" else ())
    with (
        pytest.raises(RefusedError, match="must not be left out"),
        session.open(folder / "rules.py", backend="toy"),
    ):
        pass


def test_a_manifest_cannot_name_a_distribution_that_has_no_such_entry_point(install_plugin) -> None:
    folder = install_plugin("toys", {"segplug.infer": {"toy": "toys:provider"}}, toys=BACKEND)
    change_manifest(folder, "toys", distribution="segplug")
    (entry,) = [found for found in discovery.entries("infer") if found.target == "toy"]
    assert entry.distribution == "segplug"
    with pytest.raises(PluginError, match="names the distribution segplug, which does not have"):
        Segplug().registry.load(entry)
