"""Packages of one environment become links in another, and pip keeps the two apart."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

from scripts.link_packages import link_packages, site_packages

ROOT = Path(__file__).resolve().parents[2]

FILES = {
    "acme/__init__.py": "WORDS = 'of the source'\n",
    "acme/data/table.bin": "1 2 3\n",
    "acme_tools-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: acme-tools\nVersion: 1.0\n",
    "acme_tools-1.0.dist-info/INSTALLER": "pip\n",
}


INFO = "acme_tools-1.0.dist-info"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    packages = tmp_path / "source" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    recorded = [*FILES, f"{INFO}/RECORD", "acme/__pycache__/removed.pyc", "../../../bin/acme"]
    recorded.append(str(tmp_path / "outside"))
    (tmp_path / "outside").touch()
    for name, text in {**FILES, f"{INFO}/RECORD": "".join(f"{name},,\n" for name in recorded)}.items():
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text(text)
    (tmp_path / "source" / "bin").mkdir()
    (tmp_path / "source" / "bin" / "acme").write_text("#!/source/bin/python\n")
    return packages


@pytest.fixture
def target(tmp_path: Path) -> Path:
    venv.create(tmp_path / "target")
    packages = site_packages(tmp_path / "target")
    assert packages is not None
    return packages


def install(target: Path, wheel: Path) -> None:
    """Let pip install a wheel into the environment of this folder of packages."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    python = target.parents[2] / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--no-index", "--no-compile", wheel], check=True)


def wheel(folder: Path, version: str) -> Path:
    """A wheel of the package, with other words."""
    path = folder / f"acme_tools-{version}-py3-none-any.whl"
    info = f"acme_tools-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("acme/__init__.py", "WORDS = 'of the target'\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: acme-tools\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def test_every_file_is_on_the_disk_once_and_pip_sees_the_package(source: Path, target: Path) -> None:
    assert link_packages(source, target, ["acme-tools", "not-there"]) == ["acme-tools"]
    for name, text in FILES.items():
        assert (target / name).samefile(source / name)
        assert (target / name).read_text() == text
    assert not (target / "../../../bin/acme").exists(), "a command of the source's environment"
    assert (source.parents[3] / "outside").exists()
    assert [(found.name, found.version) for found in distributions(path=[str(target)])] == [
        ("acme-tools", "1.0")
    ]


def test_what_pip_replaces_stays_in_the_source(source: Path, target: Path, tmp_path: Path) -> None:
    link_packages(source, target, ["acme-tools"])
    install(target, wheel(tmp_path, "2.0"))
    assert (target / "acme/__init__.py").read_text() == "WORDS = 'of the target'\n"
    assert not (target / "acme/data").exists()
    assert all((source / name).read_text() == text for name, text in FILES.items())
    assert (source / "../../../bin/acme").is_file()


def test_what_was_linked_in_part_is_replaced_too(source: Path, target: Path, tmp_path: Path) -> None:
    link_packages(source, target, ["acme-tools"])
    shutil.rmtree(target / INFO)  # set-up removes the metadata of a package that is not whole
    install(target, wheel(tmp_path, "1.0"))
    assert (target / "acme/__init__.py").read_text() == "WORDS = 'of the target'\n"
    assert (source / "acme/__init__.py").read_text() == FILES["acme/__init__.py"]


def test_a_package_that_is_there_stays_as_it_is(source: Path, target: Path) -> None:
    info = target / "acme_tools-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-tools\nVersion: 2.0\n")
    assert link_packages(source, target, ["acme-tools"]) == []
    assert not (target / "acme").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [("INSTALLER", None), ("RECORD", None), ("../acme/data/table.bin", None), ("direct_url.json", "{}")],
)
def test_what_is_not_whole_or_editable_is_left_to_pip(
    source: Path, target: Path, name: str, text: str | None
) -> None:
    file = source / INFO / name
    file.unlink() if text is None else file.write_text(text)
    assert link_packages(source, target, ["acme-tools"]) == []
    assert list(target.iterdir()) == []


def test_nothing_is_linked_to_another_version_of_python(source: Path, tmp_path: Path) -> None:
    (tmp_path / "old" / "lib" / "python2.7" / "site-packages").mkdir(parents=True)
    script = ROOT / "scripts" / "link_packages.py"
    command = [sys.executable, script, tmp_path / "source", tmp_path / "old", "acme-tools"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "nothing to link: another version of Python, or another file system\n"
