"""Only regular files are opened: nothing waits for a pipe, and no read of a device goes on for ever."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from segplug.regular_files import (
    NotRegularError,
    TooLargeError,
    copy_regular,
    expanded,
    is_regular,
    open_regular,
    read_regular,
    read_regular_text,
    require_regular,
    why_no_file,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and devices of POSIX")


def special(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / "special"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    elif kind == "a folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(path))  # relative, since the address of a socket is short
    return path


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder", "a socket"])
def test_what_is_no_regular_file_is_refused_at_once(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = special(tmp_path, kind)
    text = f"it is {kind}, not a file"
    for act in (
        open_regular,
        require_regular,
        read_regular_text,
        lambda path: read_regular(path, most_bytes=100),
        lambda path: copy_regular(path, tmp_path / "copy"),
    ):
        with pytest.raises(NotRegularError, match=text) as caught:
            act(path)
        assert caught.value.strerror == text
        assert caught.value.filename == str(path)
    assert not is_regular(path)
    assert why_no_file(path) == f"{path} is {kind}, not a file"
    assert not (tmp_path / "copy").exists()


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"one\r\ntwo\r")
    link = tmp_path / "link"
    link.symlink_to("file")
    assert is_regular(link)
    assert require_regular(link) == 9
    assert read_regular_text(link) == "one\ntwo\n"
    with open_regular(link) as file:
        assert file.read() == b"one\r\ntwo\r"
        assert file.name == str(link)


def test_a_missing_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")
    assert not is_regular(tmp_path / "none")
    assert not is_regular("\0")
    assert why_no_file("none", "checkpoint") == "there is no checkpoint none"
    assert why_no_file("\0") == "there is no file \0"
    assert why_no_file(tmp_path) == f"{tmp_path} is a folder, not a file"
    assert "cannot be opened: File name too long" in str(why_no_file("long" * 100))
    assert not is_regular(tmp_path / ("long" * 100))


def test_a_home_folder_that_is_not_known_is_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert expanded("~/w.pth") == Path("/home/somebody/w.pth")
    assert expanded("~nobody-of-this-name/w.pth") == Path("~nobody-of-this-name/w.pth")


def test_no_more_is_read_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_regular(path, most_bytes=5) == b"12345"
    with pytest.raises(TooLargeError, match="it has 5 bytes, more than the 4 that are read"):
        read_regular(path, most_bytes=4)
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a sparse file: nothing of it is read
    with pytest.raises(TooLargeError):
        read_regular(path, most_bytes=1 << 30)


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="needs /proc of Linux")
def test_a_file_that_is_longer_than_the_system_says_is_noticed() -> None:
    with pytest.raises(TooLargeError):
        read_regular("/proc/self/maps", most_bytes=10)


def test_a_copy_has_the_files_content_and_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    copy_regular(tmp_path / "file", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"content"
    with pytest.raises(FileExistsError):
        copy_regular(tmp_path / "file", tmp_path / "copy")
