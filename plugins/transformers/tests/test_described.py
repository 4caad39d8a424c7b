"""What a folder says of its model without the network, as a file of another exporter beside it needs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from segplug import Segplug
from segplug.errors import ModelError, UsageError

CONFIG = {
    "architectures": ["SegformerForSemanticSegmentation"],
    "model_type": "segformer",
    "id2label": {"0": "road", "1": "sky", "2": "tree"},
}
PROCESSOR = {"image_processor_type": "SegformerImageProcessor", "size": {"height": 64, "width": 96}}


def _folder(path: Path, config: dict[str, Any] | None = None, processor: Any = PROCESSOR) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG | (config or {})), "utf-8")
    if processor is not None:
        (path / "preprocessor_config.json").write_text(json.dumps(processor), "utf-8")
    return path


@pytest.mark.slow
def test_a_folder_without_weights_is_described_as_its_model(tmp_path: Path) -> None:
    import transformers

    folder = tmp_path / "model"
    config = transformers.SegformerConfig(
        depths=[1] * 4, hidden_sizes=[8, 16, 40, 32], decoder_hidden_size=8, id2label={0: "a", 1: "b", 2: "c"}
    )
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR), "utf-8")
    loaded = Segplug().load_model(folder, processor="pil").meta
    (folder / "model.safetensors").unlink()
    found = Segplug().describe_model(folder, processor="pil")
    assert found is not None
    assert (found.classes, found.output_stride, loaded.output_stride) == (("a", "b", "c"), 1, 4)
    own = {"checkpoint": None, "checkpoint_sha256": None}
    provenance = {**loaded.to_dict()["provenance"], **own}
    assert found.to_dict() == loaded.to_dict() | {
        "output_stride": 1,
        "versions": {},
        "provenance": provenance,
    }


def test_neither_pytorch_nor_transformers_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys, segplug; meta = segplug.Segplug().describe_model(sys.argv[1]); "
        "print(len(meta.classes), 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    folder = _folder(tmp_path / "model")
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "False", "False"]


def test_labels_that_a_config_leaves_out_are_those_of_transformers(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "model")
    config = {key: value for key, value in CONFIG.items() if key != "id2label"}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    found = Segplug().describe_model(folder)
    assert found is not None
    assert found.classes == ("LABEL_0", "LABEL_1")


@pytest.mark.parametrize(
    ("config", "processor", "message"),
    [
        ({}, None, "has no preprocessor_config.json"),
        ({"architectures": ["BertModel"]}, PROCESSOR, "BertModel is no segmentation model"),
        ({"id2label": {"0": "a", "2": "b"}}, PROCESSOR, "id2label has no label 1"),
        ({}, PROCESSOR | {"resample": 17}, "resample is 17"),
    ],
)
def test_what_cannot_be_followed_is_an_error_of_one_line(tmp_path: Path, config, processor, message) -> None:
    folder = _folder(tmp_path / "model", config, processor)
    with pytest.raises(ModelError, match=message) as raised:
        Segplug().describe_model(folder)
    assert "\n" not in str(raised.value)


def test_a_source_that_reads_networks_alone_knows_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("def f(): ...", "utf-8")
    assert (
        Segplug().describe_model(f"python:{tmp_path}/m.py:f", classes=("a", "b"), mean=(1,), std=(1,)) is None
    )
    with pytest.raises(UsageError):
        Segplug().describe_model(tmp_path)
