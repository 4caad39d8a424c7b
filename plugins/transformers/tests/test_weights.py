"""The weights of a folder, in every form in which transformers writes them, equal what transformers loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from matrix import transformers_zoo
from segplug import Segplug
from segplug.errors import CheckpointError, ModelError, UntrustedCheckpointError, UsageError
from segplug.progress import QuietReporter


class Notes(QuietReporter):
    """Keeps the notes, too."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def loaded(folder: Path, **arguments: Any) -> dict[str, torch.Tensor]:
    """The parameters and buffers of the network, with the names of transformers."""
    module = Segplug().load_model(folder, **arguments).module
    found = dict(module.named_parameters()) | dict(module.named_buffers())
    return {name.removeprefix("model."): value for name, value in found.items()}


def expected(folder: Path) -> dict[str, torch.Tensor]:
    """The same from the library itself, in float32."""
    name = json.loads((folder / "config.json").read_text())["architectures"][0]
    model = getattr(transformers, name).from_pretrained(folder, dtype=torch.float32)
    return dict(model.named_parameters()) | dict(model.named_buffers())


def assert_equal(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() - {"task"} == wanted.keys()  # the tokens of OneFormer's task are segplug's own
    different = [name for name, value in wanted.items() if not torch.equal(found[name], value)]
    assert not different


@pytest.mark.parametrize("name", transformers_zoo.NAMES)
def test_every_model_has_the_weights_that_transformers_loads(name: str, zoo: Callable[[str], Path]) -> None:
    assert_equal(loaded(zoo(name)), expected(zoo(name)))


def shards(folder: Path, suffix: str) -> None:
    """Replace the weights by three files and their index, as transformers writes them."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    weight_map = {}
    for part in range(3):
        file = f"{stem}-0000{part + 1}-of-00003.{suffix}"
        held = {name: state[name] for name in sorted(state)[part::3]}
        weight_map |= dict.fromkeys(held, file)
        if suffix == "safetensors":
            save_file(held, folder / file, metadata={"format": "pt"})
        else:
            torch.save(held, folder / file)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_several_files(segformer: Path, suffix: str) -> None:
    wanted = expected(segformer)
    shards(segformer, suffix)
    assert_equal(expected(segformer), wanted)  # transformers reads them, too
    assert_equal(loaded(segformer), wanted)
    index = next(segformer.glob("*.index.json"))
    assert set(Segplug().load_model(segformer).files) == {
        *segformer.glob("*-of-*"),
        index,
        segformer / "config.json",
        segformer / "preprocessor_config.json",
    }


def test_the_hash_is_of_all_files(segformer: Path) -> None:
    """Cached results are used again while it is equal, and a new training leaves the index as it was."""
    shards(segformer, "safetensors")
    before = Segplug().load_model(segformer).meta.provenance.checkpoint_sha256
    assert Segplug().load_model(segformer).meta.provenance.checkpoint_sha256 == before
    file = segformer / "model-00002-of-00003.safetensors"
    save_file({name: value + 1 for name, value in load_file(file).items()}, file)
    assert Segplug().load_model(segformer).meta.provenance.checkpoint_sha256 != before


def test_a_bin_file(segformer: Path) -> None:
    wanted = expected(segformer)
    state = load_file(segformer / "model.safetensors")
    (segformer / "model.safetensors").unlink()
    torch.save(state, segformer / "pytorch_model.bin")
    assert_equal(loaded(segformer), wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_type_are_computed_in_float32_and_it_is_said(
    segformer: Path, dtype: torch.dtype
) -> None:
    state = load_file(segformer / "model.safetensors")
    state = {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
    save_file(state, segformer / "model.safetensors", metadata={"format": "pt"})
    reporter = Notes()
    found = Segplug(reporter=reporter).load_model(segformer)
    assert {value.dtype for value in found.module.parameters()} == {torch.float32}
    assert_equal(loaded(segformer), expected(segformer))
    name = str(dtype).removeprefix("torch.")
    note = f"the model is saved as {name}, and the network computes in float32"
    assert note in reporter.notes  # in transformers, too: the config says float32
    config = json.loads((segformer / "config.json").read_text())
    del config["dtype"]
    (segformer / "config.json").write_text(json.dumps(config))
    Segplug(reporter=reporter).load_model(segformer)
    assert reporter.notes[-1].startswith(f"{note}; transformers itself would compute in {name} unless")
    theirs = transformers.SegformerForSemanticSegmentation.from_pretrained(segformer)
    assert theirs.dtype == dtype


def test_only_another_type_is_news(segformer: Path) -> None:
    reporter = Notes()
    Segplug(reporter=reporter).load_model(segformer)
    assert not reporter.notes
    config = json.loads((segformer / "config.json").read_text())
    (segformer / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    model = Segplug(reporter=reporter).load_model(segformer)
    assert {value.dtype for value in model.module.parameters()} == {torch.float32}
    assert any("saved as bfloat16" in note for note in reporter.notes)


def test_another_checkpoint(segformer: Path, tmp_path: Path) -> None:
    other = load_file(segformer / "model.safetensors")
    other["decode_head.classifier.bias"] += 1
    save_file(other, tmp_path / "tuned.safetensors")
    (segformer / "model.safetensors").unlink()
    found = loaded(segformer, checkpoint=tmp_path / "tuned.safetensors")
    assert torch.equal(found["decode_head.classifier.bias"], other["decode_head.classifier.bias"])


def test_the_file_may_be_written_again(segformer: Path) -> None:
    model = Segplug().load_model(segformer)
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    file = segformer / "model.safetensors"
    size = file.stat().st_size
    with file.open("r+b") as opened:  # the same file, whose pages a mapping would show
        opened.write(b"\xff" * size)
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())


def test_old_names_of_keys_are_read(segformer: Path) -> None:
    """transformers 5 saves with the names of version 4; its modules have new ones."""
    held = load_file(segformer / "model.safetensors")
    assert not set(held) <= set(expected(segformer))


def test_a_counter_of_batches_may_be_missing(segformer: Path) -> None:
    wanted = expected(segformer)
    held = load_file(segformer / "model.safetensors")
    counters = [name for name in held if name.endswith("num_batches_tracked")]
    assert counters
    save_file({name: held[name] for name in held if name not in counters}, segformer / "model.safetensors")
    found = loaded(segformer)
    for name in wanted:
        assert name in counters or torch.equal(found[name], wanted[name])


def test_a_weight_that_is_missing_is_not_filled_at_random(segformer: Path) -> None:
    held = load_file(segformer / "model.safetensors")
    del held["decode_head.classifier.weight"]
    save_file(held | {"extra.weight": torch.zeros(1)}, segformer / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        Segplug().load_model(segformer)
    assert caught.value.message == (
        f"the checkpoint {segformer / 'model.safetensors'} is of another model: 1 key missing "
        "(decode_head.classifier.weight); 1 key unexpected (extra.weight); 0 keys of another shape"
    )


def test_weights_of_another_architecture(segformer: Path, zoo: Callable[[str], Path]) -> None:
    shutil.copy(zoo("dpt") / "model.safetensors", segformer)
    with pytest.raises(CheckpointError, match=r"of another model: \d\d+ keys missing \(decode_head\S+, \S+"):
        Segplug().load_model(segformer)


def test_weights_for_another_number_of_classes(segformer: Path) -> None:
    held = load_file(segformer / "model.safetensors")
    held["decode_head.classifier.bias"] = torch.zeros(3)
    save_file(held, segformer / "model.safetensors")
    with pytest.raises(
        CheckpointError, match=r"1 key of another shape \(decode_head\.classifier\.bias 3 for 5\)"
    ):
        Segplug().load_model(segformer)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_quantised_weights(segformer: Path, dtype: torch.dtype) -> None:
    held = load_file(segformer / "model.safetensors")
    held["decode_head.classifier.weight"] = torch.ones_like(held["decode_head.classifier.weight"]).to(dtype)
    save_file(held, segformer / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"weights of {str(dtype)[6:]}, which are quantised"):
        Segplug().load_model(segformer)


def test_no_weights(segformer: Path) -> None:
    (segformer / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no weights: none of model\.safetensors, ") as caught:
        Segplug().load_model(segformer)
    assert caught.value.hint == "download the whole folder, or name a file with --checkpoint"
    (segformer / "training_args.bin").touch()
    (segformer / "model.fp16.safetensors").touch()
    with pytest.raises(ModelError) as caught:
        Segplug().load_model(segformer)
    assert caught.value.hint == f"--checkpoint {segformer / 'model.fp16.safetensors'}"
    (segformer / "tf_model.h5").touch()
    with pytest.raises(ModelError, match=r"but tf_model\.h5"):
        Segplug().load_model(segformer)
    assert Segplug().load_model(segformer, structure_only=True).meta.out_channels == 5


def test_half_the_files(segformer: Path) -> None:
    shards(segformer, "safetensors")
    next(segformer.glob("*-00002-*")).unlink()
    with pytest.raises(
        CheckpointError, match=r"lists model-00002-of-00003\.safetensors, which is not in its"
    ):
        Segplug().load_model(segformer)
    next(segformer.glob("*.index.json")).unlink()
    with pytest.raises(ModelError, match=r"such as model-00001-of-00003\.safetensors, and not their index"):
        Segplug().load_model(segformer)


class _Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_that_would_run_code_is_not_opened(segformer: Path, tmp_path: Path) -> None:
    held = load_file(segformer / "model.safetensors")
    (segformer / "model.safetensors").unlink()
    torch.save(held | {"code": _Hostile(tmp_path / "ran")}, segformer / "pytorch_model.bin")
    with pytest.raises(UntrustedCheckpointError):
        Segplug().load_model(segformer)
    assert not (tmp_path / "ran").exists()


def test_damaged_weights(segformer: Path) -> None:
    (segformer / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(CheckpointError, match="is damaged or no safetensors file"):
        Segplug().load_model(segformer)
    with pytest.raises(UsageError, match=r"there is no checkpoint .*none\.safetensors"):
        Segplug().load_model(segformer, checkpoint=segformer / "none.safetensors")
