"""A commit is completed from its marker, but what is newer stays, and a marker is not trusted blindly."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from segplug.errors import UsageError
from segplug.files import writing, writing_folder
from segplug.staging import recover, stage_file, stage_folder

MARKER = ".segplug-commit.json"

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


def make(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content)


def tree(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


def killed_before_move(number: int, folder: Path, work: Callable[[Path], None]) -> Path:
    """The stage in ``folder`` of a process that was killed before one of its moves, counted from 0."""
    child = os.fork()
    if child == 0:
        moves = itertools.count()
        real = os.replace

        def replace(*paths: Path) -> None:
            if next(moves) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            real(*paths)

        os.replace = replace  # type: ignore[assignment]
        work(folder)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    (stage,) = (path for path in folder.glob(".segplug-writing-*") if path.is_dir())
    return stage


def write_parts(folder: Path) -> None:
    with stage_file(folder / "m", force=True) as stage:
        make(stage.output.parent, m="new", data="new", json="new")
        stage.commit(older=[folder / "json", folder / "signature"])


def write_file(folder: Path) -> None:
    with writing(folder / "m", force=False):
        pass


def stage_one(folder: Path) -> None:
    with stage_file(folder / "m", force=False):
        pass


def write_a_folder(folder: Path) -> None:
    with writing_folder(folder / "other", force=True) as other:
        make(other, x="other")


def stage_models(folder: Path) -> None:
    with stage_folder(folder, force=True) as stage:
        make(stage.output / "other", x="other")
        stage.commit()


OLD = {"m": "old", "json": "old", "signature": "old"}
# moves: m, json and signature aside; data, json and m placed
NEWER = {
    1: {"m": "newer", "json": "old", "signature": "old"},
    3: {"m": "newer"},
    5: {"m": "newer"},
}


@pytest.mark.parametrize("write", [write_file, stage_one, write_a_folder, stage_models])
def test_the_next_write_completes_a_commit_first(tmp_path: Path, write: Callable[[Path], None]) -> None:
    make(tmp_path, **OLD)
    killed_before_move(1, tmp_path, write_parts)
    needs_force = write in (write_file, stage_one)
    with pytest.raises(UsageError, match="already exists") if needs_force else contextlib.nullcontext():
        write(tmp_path)
    other = {} if needs_force else {"other/x": "other"}
    assert tree(tmp_path) == {"m": "new", "data": "new", "json": "new"} | other
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("moves", NEWER)
def test_a_newer_artifact_stays(tmp_path: Path, moves: int) -> None:
    make(tmp_path, **OLD)
    killed_before_move(moves, tmp_path, write_parts)
    make(tmp_path, m="newer")
    recover(tmp_path)
    assert tree(tmp_path) == NEWER[moves]  # without the parts that were placed: they are not those of "newer"
    assert not list(tmp_path.glob(".*"))


def test_an_artifact_that_was_replaced_before_the_first_move_stays(tmp_path: Path) -> None:
    make(tmp_path, **OLD)
    killed_before_move(0, tmp_path, write_parts)
    make(tmp_path, **{"m": "newer one", "json": "newer one"})
    recover(tmp_path)
    assert tree(tmp_path) == OLD | {"m": "newer one", "json": "newer one"}
    assert not list(tmp_path.glob(".*"))


def test_parts_of_a_newer_artifact_stay(tmp_path: Path) -> None:
    make(tmp_path, **OLD)
    killed_before_move(5, tmp_path, write_parts)
    make(tmp_path, m="newer", json="newer one")
    recover(tmp_path)
    assert tree(tmp_path) == {"m": "newer", "json": "newer one"}


@pytest.mark.parametrize("content", ["mine", "old"])
def test_a_file_that_was_put_at_the_place_of_an_older_part_stays(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "folder"
    make(folder, **OLD)
    shutil.copytree(folder, tmp_path / "backup")
    killed_before_move(4, folder, write_parts)
    if content == "old":
        shutil.copy2(tmp_path / "backup" / "signature", folder)  # with its time
    else:
        make(folder, signature=content)
    recover(folder)
    assert tree(folder) == {"m": "new", "data": "new", "json": "new", "signature": content}


def test_an_older_part_that_was_replaced_before_it_was_moved_stays(tmp_path: Path) -> None:
    make(tmp_path, **OLD)
    killed_before_move(2, tmp_path, write_parts)
    make(tmp_path, signature="mine")
    recover(tmp_path)
    assert tree(tmp_path) == {"m": "new", "data": "new", "json": "new", "signature": "mine"}


def test_a_newer_entry_of_a_folder_of_models_stays(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        with stage_folder(folder, force=True, shared_levels=1) as stage:
            make(stage.output / "m" / "2", model="new")
            make(stage.output / "m", config="new")
            stage.commit()

    make(tmp_path / "m" / "2", model="old")
    make(tmp_path / "m", config="old")
    killed_before_move(2, tmp_path, write)  # both are aside
    make(tmp_path / "m", config="newer")
    recover(tmp_path)
    assert tree(tmp_path) == {"m/2/model": "new", "m/config": "newer"}
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_was_moved_can_be_completed(tmp_path: Path) -> None:
    make(tmp_path / "before", **OLD)
    killed_before_move(3, tmp_path / "before", write_parts)
    (tmp_path / "before").rename(tmp_path / "after")
    recover(tmp_path / "after")
    assert tree(tmp_path) == {"after/m": "new", "after/data": "new", "after/json": "new"}


@pytest.mark.parametrize("content", ["", '{"one": true, "entries": [{"targ', "\udce9"])
def test_half_a_marker_says_that_nothing_was_moved(tmp_path: Path, content: str) -> None:
    make(tmp_path, **OLD)
    stage = killed_before_move(0, tmp_path, write_parts)
    (stage / MARKER).write_text(content, errors="surrogateescape")
    recover(tmp_path)
    assert tree(tmp_path) == OLD
    assert not list(tmp_path.glob(".*"))


def change(marker: Path, **values: object) -> None:
    content = json.loads(marker.read_text())
    content["entries"][-1].update(values)
    marker.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "values",
    [
        {"target": "../precious"},
        {"target": "ABSOLUTE"},
        {"target": "link/precious"},
        {"target": ""},
        {"target": "no/../../precious"},
        {"new": "../../precious"},
        {"new": 3},
        {"old": "yes"},
        {"old": []},
    ],
)
def test_a_marker_does_not_lead_out_of_the_folder(tmp_path: Path, values: dict[str, object]) -> None:
    make(tmp_path, precious="precious")
    folder = tmp_path / "folder"
    make(folder, **OLD)
    (folder / "link").symlink_to(tmp_path)
    stage = killed_before_move(1, folder, write_parts)
    absolute = {"target": str(tmp_path / "precious")} if values.get("target") == "ABSOLUTE" else {}
    change(stage / MARKER, **{**values, **absolute})
    before = tree(tmp_path)
    recover(folder)
    assert tree(tmp_path) == before  # the stage as well: it holds what was moved aside


@pytest.mark.parametrize("content", ["{}", "[]", "3", '{"one": true, "entries": []}', '{"entries": [3]}'])
def test_a_marker_that_is_not_understood_is_left_alone(tmp_path: Path, content: str) -> None:
    make(tmp_path, **OLD)
    stage = killed_before_move(1, tmp_path, write_parts)
    (stage / MARKER).write_text(content)
    before = tree(tmp_path)
    recover(tmp_path)
    assert tree(tmp_path) == before


def test_in_a_folder_of_everyone_only_ones_own_marker_counts(tmp_path: Path, monkeypatch) -> None:
    make(tmp_path, **OLD)
    killed_before_move(1, tmp_path, write_parts)
    before = tree(tmp_path)
    tmp_path.chmod(0o1777)
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    recover(tmp_path)
    assert tree(tmp_path) == before
    monkeypatch.setattr(os, "geteuid", lambda: own)
    recover(tmp_path)
    assert tree(tmp_path) == {"m": "new", "data": "new", "json": "new"}


def test_a_link_to_a_stage_is_not_followed(tmp_path: Path) -> None:
    make(tmp_path / "a", **OLD)
    make(tmp_path / "b", **OLD)
    stage = killed_before_move(1, tmp_path / "a", write_parts)
    (tmp_path / "b" / stage.name).symlink_to(stage)
    recover(tmp_path / "b")
    assert tree(tmp_path / "b") == OLD
    assert (stage / MARKER).is_file()


def test_a_stage_of_another_machine_is_completed_after_a_day(tmp_path: Path) -> None:
    make(tmp_path, **OLD)
    stage = killed_before_move(1, tmp_path, write_parts)
    other = stage.rename(stage.with_name(".segplug-writing-elsewhere-0b00-1-1-7-a"))
    before = tree(tmp_path)
    recover(tmp_path)
    assert tree(tmp_path) == before
    os.utime(other, (0, 0))
    recover(tmp_path)
    assert tree(tmp_path) == {"m": "new", "data": "new", "json": "new"}
    recover(tmp_path / "no")  # nothing to do


def test_a_stage_that_cannot_be_removed_does_no_harm(tmp_path: Path, monkeypatch) -> None:
    make(tmp_path, **OLD)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", lambda *args, **options: None)
        write_parts(tmp_path)
    new = {"m": "new", "data": "new", "json": "new"}
    (stage,) = tmp_path.glob(".*")
    other = stage.rename(stage.with_name(".segplug-writing-elsewhere-0b00-1-1-7-a"))
    os.utime(other, (0, 0))
    make(tmp_path, signature="mine")
    recover(tmp_path)
    assert tree(tmp_path) == new | {"signature": "mine"}
