"""What a pickle says of types and dicts is not believed: nothing crashes or reads foreign memory."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch

from segplug.checkpoint import read_checkpoint
from segplug.checkpoint.arrays import array_types
from segplug.errors import CheckpointError

_array, _scalar = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]


class Says:
    """Is pickled as a call, and a state."""

    def __init__(self, function, *arguments, state=None):
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.parts


def kind(code, *, order="|", base=None, names=None, fields=None, size=-1, alignment=-1, flags=0):
    return Says(np.dtype, code, False, True, state=(3, order, base, names, fields, size, alignment, flags))


def array(its_kind, shape, content):
    return Says(_array, np.ndarray, (0,), b"b", state=(1, shape, its_kind, False, content))


EIGHT = b"A" * 8
FIELDS = {"names": ("f",), "fields": {"f": (np.dtype("O"), 0)}}
HOSTILE = {
    "pointer": Says(_scalar, kind("O8"), EIGHT),
    "objects": array(np.dtype("O"), (1,), [1]),
    "fields": array(kind("i8", **FIELDS), (1,), EIGHT),
    "fields of text": array(kind("S8", size=8, alignment=1, **FIELDS), (1,), EIGHT),
    "array in a value": array(kind("i8", base=(np.dtype("i8"), (5,))), (1,), EIGHT),
    "below zero": array(np.dtype("i8"), (-1,), EIGHT),
    "too short": array(np.dtype("i8"), (1 << 20,), EIGHT),
    "not of bytes": array(kind("i8", flags=63), (1,), [1]),
    "characters": array(np.dtype("U2"), (1,), EIGHT),
    "one character": Says(_scalar, np.dtype("U2"), EIGHT),
    "memory as it is": Says(np.ndarray, (1000,), "i8"),
    "several": np.dtype("O,O"),
}


def saved(path, content):
    torch.save(content, path)
    return str(path)


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_plain_array_is_refused(tmp_path, name):
    path = saved(tmp_path / "w.pth", {"state_dict": {"w": torch.ones(2)}, "meta": HOSTILE[name]})
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [-8, 0, (1 << 31) - 1])
def test_the_length_that_a_pickle_gives_a_type_is_not_believed(tmp_path, size):
    text = Says(_scalar, kind("S8", size=size, alignment=1), EIGHT)
    path = saved(tmp_path / "w.pth", {"state_dict": {"w": torch.ones(2)}, "meta": {"text": text}})
    code = f"from segplug.checkpoint import read_checkpoint; print(read_checkpoint({path!r}).meta)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, "AAAAAAAA" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize(
    "content",
    [np.arange(6).reshape(2, 3), np.asfortranarray(np.eye(3)), np.array([True]), np.array(["ä", "yz"]),
     np.array([b"ab"]), np.arange(3, dtype=">i2"), np.complex64(2j), np.float16(0.5),
     np.str_("x"), np.int64(-1), np.array(7)],
)  # fmt: skip
@pytest.mark.parametrize("protocol", [2, 5])
def test_plain_arrays_stay_as_they_are(tmp_path, content, protocol):
    path = tmp_path / "w.pth"
    torch.save({"state_dict": {"w": torch.ones(2)}, "meta": {"x": content}}, path)
    found = read_checkpoint(str(path)).meta["x"]
    assert found.dtype == content.dtype.newbyteorder("=")
    assert found.tolist() == content.tolist()
    again = pickle.dumps(found, protocol)
    assert b"segplug" not in again
    assert type(pickle.loads(again)) is type(content)


class _Reader(pickle._Unpickler):
    def find_class(self, module, name):
        return array_types().get(f"{module}.{name}") or super().find_class(module, name)


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_is_read(protocol):
    for content in (np.arange(6).reshape(2, 3), np.asfortranarray(np.eye(3)), np.float32(3)):
        read = _Reader(io.BytesIO(pickle.dumps(content, protocol))).load()
        assert np.array_equal(read, content)


@pytest.mark.parametrize("name", ["keys", "get", "values", "_metadata", "__class__"])
def test_attributes_with_the_names_of_methods(tmp_path, name):
    weights = OrderedDict(w=torch.ones(2))
    vars(weights)[name] = 5
    for content in (weights, {"state_dict": weights}, {"state_dict": {"w": torch.ones(2)}, "meta": weights}):
        checkpoint = read_checkpoint(saved(tmp_path / "w.pth", content))
        assert checkpoint.state["w"].tolist() == [1, 1]
        assert not checkpoint.versions


@pytest.mark.parametrize("value", [5, OrderedDict, "numel"])
@pytest.mark.parametrize("name", ["detach", "numel", "data_ptr"])
def test_a_tensor_with_an_attribute_instead_of_a_method(tmp_path, name, value):
    """Also a class, which can be called: what it gives is no tensor."""
    weights = [torch.ones(2), torch.nn.Parameter(torch.ones(2))]
    for weight in weights:
        setattr(weight, name, value)
    path = saved(tmp_path / "w.pth", {"state_dict": {"v": weights[0], "w": weights[1]}, "more": [weights[0]]})
    read = read_checkpoint(path)
    assert [read.state[key].tolist() for key in "vw"] == [[1, 1], [1, 1]]
    assert not vars(read.rest["more"][0])
