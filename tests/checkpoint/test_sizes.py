"""A small file that claims much memory is refused before the memory is taken."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from segplug.checkpoint import read_checkpoint
from segplug.cli.root import run_command_line
from segplug.errors import CheckpointError

MIB = 1 << 20


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1).expand(200_000, 200_000),
        torch.zeros(2_000_000).as_strided((1_000_000, 10_000), (1, 1)),
    ],
    ids=["stride 0", "overlapping rows"],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_that_repeat_few_values(
    tmp_path: Path, tensor: torch.Tensor, legacy: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.pth"
    torch.save({"state_dict": {"w": tensor}}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"bytes of weights, and its tensors claim .*,000,000,000"):
        read_checkpoint(str(path))
    made = tmp_path / "published.pth"
    assert run_command_line(["run", "convert_weights", "publish", str(path), str(made)]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]


def test_many_names_of_one_tensor(tmp_path: Path) -> None:
    one = torch.zeros(4 * MIB)
    torch.save({f"w{number}": one for number in range(100)}, tmp_path / "many.pth")
    with pytest.raises(CheckpointError, match="repeat the same values"):
        read_checkpoint(str(tmp_path / "many.pth"))


def test_weights_that_layers_share_are_read(tmp_path: Path) -> None:
    shared = torch.ones(100, 100)
    state = {"a": shared, "b": shared, "c": shared[0], "d": torch.zeros(1).expand(1000)}
    torch.save(state, tmp_path / "tied.pth")
    assert set(read_checkpoint(str(tmp_path / "tied.pth")).state) == {"a", "b", "c", "d"}


def test_an_archive_that_unpacks_to_much_more(tmp_path: Path) -> None:
    path = tmp_path / "small.npz"
    np.savez_compressed(path, w=np.zeros((10_000, 10_000), np.float32))
    assert path.stat().st_size < MIB
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=r"unpacks to 400,000,128.*numpy\.savez"):
        read_checkpoint(str(path))
    assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    tracemalloc.stop()


def test_a_compressed_archive_of_real_numbers_is_read(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((100, 100)).astype(np.float32)
    np.savez_compressed(tmp_path / "w.npz", w=values, zeros=np.zeros(10_000_000, np.float32))
    assert np.array_equal(read_checkpoint(str(tmp_path / "w.npz")).state["w"].numpy(), values)
