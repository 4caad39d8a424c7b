"""Which mmsegmentation an environment has, by the metadata of its distributions."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from segplug_mmseg.installed import installed_mmseg

from segplug.errors import MissingDependencyError


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Makes an environment of these distributions alone, and returns what is found in it."""

    def make(*distributions):
        for name, version in distributions:
            folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        monkeypatch.delitem(sys.modules, "mmseg", raising=False)
        return installed_mmseg()

    return make


@pytest.mark.parametrize(
    ("distribution", "version", "generation"),
    [
        ("mmsegmentation", "0.30.0", "0.x"),
        ("mmsegmentation", "1.2.2", "1.x"),
        ("onedl-mmsegmentation", "1.4.2", "1.x"),
    ],
)
def test_the_distribution_says_the_generation(site, distribution, version, generation):
    found = site((distribution, version))
    assert (found.distribution, found.version, found.generation) == (distribution, version, generation)


def test_two_owners_of_mmseg_are_both_named(site):
    with pytest.raises(MissingDependencyError) as caught:
        site(("mmsegmentation", "1.2.2"), ("onedl-mmsegmentation", "1.4.2"))
    assert "mmsegmentation 1.2.2 and onedl-mmsegmentation 1.4.2 are both installed" in str(caught.value)
    assert "pip uninstall mmsegmentation onedl-mmsegmentation" in str(caught.value.hint)


def test_a_source_folder_says_its_version_and_is_not_imported(site, tmp_path):
    (tmp_path / "mmseg").mkdir()
    (tmp_path / "mmseg" / "__init__.py").write_text("raise AssertionError('mmcv does not suit')")
    (tmp_path / "mmseg" / "version.py").write_text("# a comment\n__version__ = '1.3.0.dev1'\n")
    assert str(site()) == "mmsegmentation 1.3.0.dev1"


def test_a_folder_that_an_older_installation_left_is_none(site, tmp_path):
    (tmp_path / "mmseg" / "models").mkdir(parents=True)
    with pytest.raises(MissingDependencyError, match="mmsegmentation is not installed") as caught:
        site()
    assert '"segplug-mmseg[mmseg1]"' in str(caught.value.hint)


def test_a_command_says_so_in_one_line(tmp_path):
    """Another distribution beside the one that is installed."""
    here = installed_mmseg()
    other = ({"mmsegmentation", "onedl-mmsegmentation"} - {here.distribution}).pop()
    folder = tmp_path / f"{other.replace('-', '_')}-1.4.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {other}\nVersion: 1.4.2\n")
    (tmp_path / "c.py").write_text("model = dict(type='X')")
    done = subprocess.run(
        [sys.executable, "-m", "segplug", "analyze", "config", "c.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"{other} 1.4.2" in done.stderr
    assert f"{here}" in done.stderr
    assert "are both installed: both own the module `mmseg`" in done.stderr
    assert len(done.stderr.splitlines()) == 1
