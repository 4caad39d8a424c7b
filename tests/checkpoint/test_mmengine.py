"""What mmengine's training saves: its histories are read as nothing, whatever a file says in their place."""

from __future__ import annotations

import pickle
import sys
import types
import zipfile

import numpy as np
import pytest
import torch

from segplug.checkpoint import read_checkpoint
from segplug.errors import CheckpointError

HISTORY = "mmengine.logging.history_buffer"
STATE = {"weight": torch.arange(6.0).reshape(2, 3)}


@pytest.fixture
def history(monkeypatch):
    """A class that is pickled as mmengine's ``HistoryBuffer``, its methods included."""

    class HistoryBuffer:
        def __init__(self):
            self.max_length = 10
            self._log_history, self._count_history = np.array([1.5, 1.25]), np.array([1, 1])

        def __getstate__(self):
            return self.__dict__ | {"statistics_methods": {"mean": HistoryBuffer.mean}}

        def mean(self):
            raise AssertionError("nothing of the file runs")

    for name in ("mmengine", "mmengine.logging", HISTORY):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = HISTORY, "HistoryBuffer"
    HistoryBuffer.mean.__module__, HistoryBuffer.mean.__qualname__ = HISTORY, "HistoryBuffer.mean"
    sys.modules[HISTORY].HistoryBuffer = HistoryBuffer
    return HistoryBuffer


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("new_format", [True, False])
def test_a_checkpoint_of_mmengine_is_read_without_mmengine(tmp_path, monkeypatch, history, new_format, trust):
    path = tmp_path / "iter_1.pth"
    hub = {"log_scalars": {"train/loss": history()}, "runtime_info": {"iter": 5}, "resumed_keys": {}}
    content = {"meta": {"iter": 5}, "state_dict": STATE, "message_hub": hub}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    pickled = path.read_bytes()
    if new_format:
        with zipfile.ZipFile(path) as archive:
            pickled = archive.read("iter_1/data.pkl")
    assert b"getattr" in pickled, "it refers to its methods, as mmengine's own does"
    for name in ("mmengine", "mmengine.logging", HISTORY):
        monkeypatch.delitem(sys.modules, name)
    read = read_checkpoint(str(path), trust=trust)
    assert torch.equal(read.state["weight"], STATE["weight"])
    assert read.rest["message_hub"]["runtime_info"] == {"iter": 5}
    assert vars(read.rest["message_hub"]["log_scalars"]["train/loss"]) == {}


def _hostile_pickle(calls: bytes) -> bytes:
    """A pickle of ``{"x": CALLS}``."""
    return b"\x80\x02}X\x01\x00\x00\x00x" + calls + b"s."


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


GETATTR = _global("__builtin__", "getattr")
BUFFER = _global(HISTORY, "HistoryBuffer")
RUN = _text("touch ran")
CALLS = {
    "the real getattr of a class": GETATTR + BUFFER + _text("__base__") + b"\x86R",
    "the globals of a method": (
        GETATTR + GETATTR + BUFFER + _text("__init__") + b"\x86R" + _text("__globals__") + b"\x86R"
    ),
    "a call of what getattr gives": GETATTR + BUFFER + _text("mean") + b"\x86R" + RUN + b"\x85R",
    "a state that replaces the class": (BUFFER + b")\x81" + b"}" + _text("__class__") + GETATTR + b"sb"),
    "getattr with a state": GETATTR + b"}" + _text("__call__") + BUFFER + b"sb",
    "os.system": _global("os", "system") + RUN + b"\x85R",
    "os.system through getattr": (GETATTR + _global("os", "path") + _text("os") + b"\x86R" + RUN + b"\x85R"),
    "eval": _global("__builtin__", "eval") + RUN + b"\x85R",
    "another name of the module": _global(HISTORY, "np") + b"}b",
    "a name with dots": _global(HISTORY, "HistoryBuffer.__init__.__globals__"),
}


READ = ("the real getattr of a class", "a state that replaces the class")
"""These are read: the restricted unpickler has nothing against them."""


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("new_format", [True, False])
def test_the_names_that_are_allowed_do_nothing(tmp_path, monkeypatch, history, name, new_format):
    """Each file is refused, or read with objects in it that are empty; nothing of it runs."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "w.pth"
    torch.save({"state_dict": STATE, "x": 1}, path, _use_new_zipfile_serialization=True)
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    whole = members["w/data.pkl"]
    key = whole.index(_text("x"))
    changed = whole[:key] + _text("x") + CALLS[name] + whole[whole.index(b"u.", key) :]
    members["w/data.pkl"] = changed
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    before = dict(vars(history))
    if not new_format:  # an old file starts with a pickle: the same calls are all of it
        path.write_bytes(_hostile_pickle(CALLS[name]))
    try:
        rest = read_checkpoint(str(path)).rest
    except CheckpointError:
        rest = {}
        assert not (new_format and name in READ)
    assert not (tmp_path / "ran").exists()
    assert dict(vars(history)) == before
    for value in rest.values():
        assert type(value).__module__ == "segplug.checkpoint.pickles"
        assert not getattr(value, "__dict__", {})


def test_the_hostile_files_are_dangerous_to_the_full_unpickler(tmp_path, monkeypatch, history):
    """So the test above tests something."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(_hostile_pickle(CALLS["os.system"]))
    assert (tmp_path / "ran").exists()
    assert pickle.loads(_hostile_pickle(CALLS["the real getattr of a class"])) == {"x": object}
