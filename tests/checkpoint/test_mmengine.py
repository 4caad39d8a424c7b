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
from segplug.errors import CheckpointError, UsageError

HISTORY = "mmengine.logging.history_buffer"
SCHEDULER = "mmengine.optim.scheduler.param_scheduler"
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


def test_the_file_that_names_the_last_checkpoint(tmp_path):
    pointer = tmp_path / "last_checkpoint"
    pointer.write_text("/runs/iter_1.pth")
    with pytest.raises(
        UsageError, match=r"last_checkpoint is no checkpoint: it names one \(give /runs/iter_1.pth\)"
    ):
        read_checkpoint(str(pointer))
    torch.save(STATE, pointer)  # a checkpoint of that name
    assert list(read_checkpoint(str(pointer)).state) == ["weight"]


def _hostile_pickle(calls: bytes) -> bytes:
    """A pickle of ``{"x": CALLS}``."""
    return b"\x80\x02}X\x01\x00\x00\x00x" + calls + b"s."


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


GETATTR = _global("__builtin__", "getattr")
BUFFER = _global(HISTORY, "HistoryBuffer")
ONE_CYCLE = _global(SCHEDULER, "OneCycleParamScheduler")
METHOD = GETATTR + BUFFER + _text("mean") + b"\x86R"
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
    "a method of a scheduler": GETATTR + ONE_CYCLE + _text("_annealing_cos") + b"\x86R",
    "another scheduler": _global(SCHEDULER, "_ParamScheduler") + b")R",
    "a scheduler's module": _global(SCHEDULER, "weakref"),
    "a new object of getattr": GETATTR + BUFFER + _text("mean") + b"\x86\x81",
    "a new object of what getattr gives": METHOD + b")\x81",
    "a state of a class": BUFFER + b"}" + _text("__init__") + GETATTR + b"sb",
    "an entry of a stand-in": METHOD + _text("key") + RUN + b"s",
    "an item of a stand-in": METHOD + RUN + b"a",
    "a tensor of a stand-in": _global("torch._utils", "_rebuild_tensor_v2")
    + b"("
    + METHOD
    + b"K\x00))\x89}tR",
    "a parameter of a stand-in": _global("torch._utils", "_rebuild_parameter") + b"(" + METHOD + b"\x89}tR",
    "a type rebuilt by getattr": (
        _global("torch._tensor", "_rebuild_from_type_v2")
        + (b"(" + GETATTR + BUFFER + b")}" + _text("__call__") + GETATTR + b"stR")
    ),
    "a storage of getattr": b"(" + _text("storage") + GETATTR + _text("0") + _text("cpu") + b"K\x01tQ",
    "a storage that is a stand-in": METHOD + b"Q",
    "Python's own way to call": _global("copy_reg", "_reconstructor") + BUFFER + BUFFER + b"N\x87R",
    "an old way to call": b"(" + RUN + b"i__builtin__\ngetattr\n",
}


READ = (
    *("the real getattr of a class", "the globals of a method", "a method of a scheduler"),
    *("a state that replaces the class", "a new object of getattr", "a type rebuilt by getattr"),
)
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
    rest = {}
    if new_format and name in READ:
        rest = read_checkpoint(str(path)).rest
    else:
        with pytest.raises(CheckpointError):
            read_checkpoint(str(path))
    assert not (tmp_path / "ran").exists()
    assert dict(vars(history)) == before
    for value in rest.values():
        assert type(value).__module__ == "segplug.checkpoint.pickles"
        assert not getattr(value, "__dict__", {})


@pytest.mark.parametrize("name", ["state_dict", "meta", "message_hub"])
@pytest.mark.parametrize("whole", [True, False])
def test_stand_ins_in_place_of_what_is_read(tmp_path, monkeypatch, history, name, whole):
    """Weights, notes and names that are histories."""
    content = {"state_dict": dict(STATE), "meta": {"iter": 1}, "message_hub": {}}
    if whole:
        content[name] = history()
    else:
        content[name] |= {"x": history(), ("a", "tuple"): history.mean}
    torch.save(content, tmp_path / "w.pth")
    if whole and name == "state_dict":
        with pytest.raises(CheckpointError, match=r"the weights in .* are a "):
            read_checkpoint(str(tmp_path / "w.pth"))
        return
    read = read_checkpoint(str(tmp_path / "w.pth"))
    assert list(read.state) == ["weight"]


def test_the_hostile_files_are_dangerous_to_the_full_unpickler(tmp_path, monkeypatch, history):
    """So the test above tests something."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(_hostile_pickle(CALLS["os.system"]))
    assert (tmp_path / "ran").exists()
    assert pickle.loads(_hostile_pickle(CALLS["the real getattr of a class"])) == {"x": object}
