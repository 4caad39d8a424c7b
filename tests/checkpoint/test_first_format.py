"""The format of PyTorch 0.1, a tar file: only the full unpickler reads it."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile

import pytest
import torch

from segplug.checkpoint import read_checkpoint
from segplug.errors import CheckpointError


class _PicklerOfTar(pickle.Pickler):
    def persistent_id(self, obj):
        return 2 if isinstance(obj, torch.Tensor) else None


def _tar(path, state):
    """What PyTorch 0.1.2 wrote; ``state`` has one tensor, of two numbers."""
    (tensor,) = state.values()
    content = io.BytesIO()
    _PicklerOfTar(content, protocol=2).dump(state)
    numbers = struct.pack("<q", 2) + tensor.numpy().tobytes()
    members = {
        "storages": b"".join(map(pickle.dumps, (1, (1, "cpu", torch.FloatStorage))))
        + numbers
        + pickle.dumps([]),
        "tensors": pickle.dumps(1) + pickle.dumps((2, 1, None)) + struct.pack("<iiqqq", 1, 0, 2, 1, 0),
        "pickle": content.getvalue(),
    }
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_a_trusted_file_of_the_first_format_is_read(tmp_path):
    """The restricted unpickler refuses it with an error of another kind."""
    path, weight = tmp_path / "w.pth", torch.tensor([1.5, -2.0])
    _tar(path, {"weight": weight})
    with pytest.raises(CheckpointError, match=r"legacy \.tar"):
        read_checkpoint(str(path))
    assert torch.equal(read_checkpoint(str(path), trust=True).state["weight"], weight)
