"""Made-up plugins: a package and its metadata in a folder on ``sys.path``, as pip leaves them."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from segplug.registry import discovery

Install = Callable[..., Path]


@pytest.fixture
def install_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a distribution: name, entry points by group, and the source of each module."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    modules: list[str] = []

    def install(
        name: str, entries: Mapping[str, Mapping[str, str]], version: str = "1.0", **sources: str
    ) -> Path:
        folder = tmp_path / "site" / name
        info = folder / f"{name}-{version}.dist-info"
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
        return folder

    yield install
    for module in modules:
        sys.modules.pop(module, None)
    discovery.forget()
