"""A pytest plugin for segplug's own tests and those of plugins: ``pytest -p segplug.testing.fixtures``.

Markers:
    ``gpu``, ``server``, ``slow``, ``nightly`` and ``data``; see ``pytest --markers``.

Fixtures:
    ``install_plugin`` installs a made-up distribution for one test; ``data_dir`` is the folder of real images
    and weights. Journals of runs go to a temporary folder, and a run in which every test was skipped fails.
"""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from segplug.errors import PluginError
from segplug.installed import Entry, Facts
from segplug.providers import KINDS
from segplug.registry import discovery
from segplug.registry.authoring import GROUPS, entry_facts
from segplug.registry.facts import facts_of
from segplug.registry.manifest import Manifest, manifest_path, manifest_text
from segplug.versions import HOOK_VERSIONS

__all__ = ["Install", "data_dir", "install_plugin"]

Install = Callable[..., Path]

_MARKERS = {
    "gpu": "needs a CUDA device",
    "server": "starts a real server",
    "slow": "takes more than about 10 seconds on 2 cores",
    "nightly": "one of a long series, of which make test has a sample",
    "data": "needs the real images and weights (SEGPLUG_DATA)",
}


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    for name, meaning in _MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that uses the real data, for ``-m "not data"``."""
    for item in items:
        if "data_dir" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.data)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run in which every test was skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.option.collectonly or reporter is None or exitstatus != 0:
        return
    if reporter.stats.get("skipped") and not reporter.stats.get("passed"):
        reporter.write_line("every test was skipped: nothing was tested")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the numbers that tests recorded: ``record_property("numbers", text)``."""
    for kind in ("passed", "failed"):
        for report in terminalreporter.stats.get(kind, ()):
            numbers = [value for name, value in report.user_properties if name == "numbers"]
            if numbers and report.when == "call":
                terminalreporter.section(report.nodeid)
                terminalreporter.write_line("\n".join(map(str, numbers)))


@pytest.fixture(scope="session")
def data_dir(pytestconfig: pytest.Config) -> Path:
    """The folder of real images and weights; without it, a test that needs it is skipped with the reason.

    ``SEGPLUG_DATA`` names it, or it is ``shared/data`` beside the repository.
    """
    named = os.environ.get("SEGPLUG_DATA")
    root = pytestconfig.rootpath
    places = [Path(named)] if named else [folder / "shared" / "data" for folder in root.parents]
    found = next((place for place in places if (place / "models").is_dir()), None)
    if found is None:
        pytest.skip("no real data: set SEGPLUG_DATA to the folder that holds models/ and camvid/")
    return found.resolve()


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep journals of tests out of the user's state folder."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    os.environ.pop("SEGPLUG_ADDONS", None)
    os.environ.pop("SEGPLUG_REQUIRED_ADDONS", None)


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> None:
    """Let processes that tests start receive Ctrl-C: background processes of a shell ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def install_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a distribution, as a package and its metadata in a folder on ``sys.path``.

    The fixture is called with a name, entry points by group, and the source of each module. It writes the
    manifest from the classes; where a module cannot be imported, or its classes have no facts, the manifest
    has those of the base class. ``manifest=False`` writes none.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    modules: list[str] = []

    def install(
        name: str,
        entries: Mapping[str, Mapping[str, str]],
        version: str = "1.0",
        manifest: bool = True,
        **sources: str,
    ) -> Path:
        folder = tmp_path / "site" / name
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"  # as pip names it
        info.mkdir(parents=True)
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: {name} for tests\n"
        )
        groups = [
            f"[{group}]\n" + "\n".join(f"{target} = {value}" for target, value in targets.items())
            for group, targets in entries.items()
        ]
        info.joinpath("entry_points.txt").write_text("\n".join(groups) + "\n")
        for module, source in sources.items():
            folder.joinpath(f"{module}.py").write_text(textwrap.dedent(source))
            modules.append(module)
        monkeypatch.syspath_prepend(str(folder))
        discovery.forget()
        if manifest:
            _write_manifests(name, version, entries)
        for module in sources:
            sys.modules.pop(module, None)
        discovery.forget()
        return folder

    yield install
    for module in modules:
        sys.modules.pop(module, None)
    discovery.forget()


def _write_manifests(name: str, version: str, entries: Mapping[str, Mapping[str, str]]) -> None:
    manifests: dict[Path, dict[tuple[str, str], Facts]] = {}
    for group, targets in entries.items():
        hook = GROUPS.get(group)
        if hook is None:
            continue
        for target, value in targets.items():
            entry = Entry(hook, target, value, name, version)
            try:
                path = manifest_path(value.partition(":")[0])
            except PluginError:
                continue  # the module is not there, as a test may want it
            manifests.setdefault(path, {})[hook, target] = _facts(entry)
    for path, facts in manifests.items():
        path.write_text(manifest_text(Manifest(name, facts)), encoding="utf-8")


def _facts(entry: Entry) -> Facts:
    try:
        return entry_facts(entry)
    except PluginError:
        if entry.hook in ("addon", "command"):
            return Facts(kind="AddOn" if entry.hook == "addon" else "Command", versions={})
        base = KINDS[entry.hook][0]
        made_up = SimpleNamespace(hook_version=HOOK_VERSIONS[entry.hook].current)
        return facts_of(entry.hook, entry.target, made_up, base)
