"""Which files are taken for configs: they are looked into, and never run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings

import pytest
from segplug_mmseg import datasets, loader
from segplug_mmseg.generation import installed_generation
from segplug_mmseg.installed import installed_mmseg
from segplug_mmseg.recognise import DATA, MODEL, confidence

from segplug import Segplug
from segplug.errors import DatasetError, ModelError, UsageError
from segplug.providers import Confidence
from segplug.registry.registry import Registry

NO, POSSIBLE, LIKELY = Confidence.NO, Confidence.POSSIBLE, Confidence.LIKELY


@pytest.mark.parametrize(
    ("name", "text", "of_model", "of_data"),
    [
        ("a.py", "model = dict(type='X')", LIKELY, POSSIBLE),
        ("a.py", "data = dict(test=dict())", POSSIBLE, LIKELY),
        ("a.py", "_base_ = './b.py'", LIKELY, LIKELY),
        ("a.py", "_base_ = ['./b.py']\nmodel = dict(depth=5)", LIKELY, LIKELY),
        ("a.py", "model: dict = {}", LIKELY, POSSIBLE),
        ("a.py", "import os\nif os.name:\n    model, data = {}, {}\nelse:\n    pass", LIKELY, LIKELY),
        ("a.py", "try:\n    model = {}\nexcept ImportError:\n    pass", LIKELY, POSSIBLE),
        ("a.py", "from base import thing as model", LIKELY, POSSIBLE),
        ("a.py", "from base import *", POSSIBLE, POSSIBLE),
        ("a.py", "globals().update(other)", POSSIBLE, POSSIBLE),
        ("a.py", "test_pipeline = []", POSSIBLE, POSSIBLE),
        ("a.py", "model = {{ _base_.model }}", LIKELY, POSSIBLE),
        ("a.PY", "model = dict()", LIKELY, POSSIBLE),
        ("a.py", "test_dataloader = dict(dataset=dict())", POSSIBLE, LIKELY),
        (
            "a.py",
            "from mmengine.config import read_base\nwith read_base():\n    from .b import *",
            LIKELY,
            LIKELY,
        ),
        ("a.py", "from mmseg.models import Net\nmodel = dict(type=Net)", LIKELY, POSSIBLE),
        ("a.py", "import mmengine\nx = 1", POSSIBLE, POSSIBLE),
        ("a.py", "tta_pipeline = []", POSSIBLE, POSSIBLE),
        ("a.py", "print('read_base()')", NO, NO),
        ("a.py", "model = '\\d'", LIKELY, POSSIBLE),
        (
            "a.json",
            '{"_base_": "b.json", "model": {{ _base_.other }}}',
            POSSIBLE,
            POSSIBLE,
        ),  # no JSON, and read
        ("a.py", "x = 1", NO, NO),
        ("a.py", "", NO, NO),
        ("a.py", "import model\nimport data as _base_", NO, NO),
        ("a.py", "def build(model):\n    data = model\n    return data", NO, NO),
        ("a.py", "class Net:\n    model = None\nNet.model = 5", NO, NO),
        ("a.py", "x = [model for model in ()]\nprint(data := 0) if x else model", POSSIBLE, LIKELY),
        ("a.json", '{"model": {}}', LIKELY, POSSIBLE),
        ("a.json", '{"_base_": "b.json"}', LIKELY, LIKELY),
        ("a.json", '{"data": {"model": 1}}', POSSIBLE, LIKELY),
        ("a.json", '{"images": []}', NO, NO),
        ("a.json", "[1, 2]", NO, NO),
        ("a.yml", "model:\n  type: X", LIKELY, POSSIBLE),
        ("a.yaml", "{data: {model: 1}}", POSSIBLE, LIKELY),
        ("a.yaml", "model: !!python/tuple [1, 2]", LIKELY, POSSIBLE),
        ("a.yaml", "_base_: b.yaml\nx: '{{ fileBasename }}'", LIKELY, LIKELY),
        ("a.yaml", "jobs:\n  model: 1", NO, NO),
        ("a.yaml", "- model", NO, NO),
        ("a.yaml", "", NO, NO),
        ("a.py", "from torch import nn\nmodel = nn.Linear(1, 2)\ndata = Images('a')", NO, NO),
        ("a.py", "model = SegformerForSemanticSegmentation.from_pretrained('a').eval()", NO, NO),
        ("a.py", "model = ConfigDict(type='X')\ndata = Config.fromfile('b.py')", LIKELY, LIKELY),
        ("a.py", "model = build(Net())\nmodel.data = Data()", LIKELY, POSSIBLE),
        ("a.txt", "model = dict()", NO, NO),
        ("a", "model = dict()", NO, NO),
    ],
)
def test_a_file_is_known_by_what_its_top_level_sets(tmp_path, name, text, of_model, of_data):
    path = tmp_path / name
    path.write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loader.provider.accepts(str(path)) is of_model
        assert datasets.provider.accepts(str(path)) is of_data


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.py", b"model = dict("),
        ("a.py", b"\xff\xfe"),
        ("a.py", b"x = \0"),
        ("a.py", b"(" * 5000),
        ("a.py", b"-" * 200_000 + b"1"),
        ("a.py", b"x = 1\n" + b"#" * (1 << 18)),
        ("a.json", b"{"),
        ("a.json", b"\xff{}"),
        ("a.json", b"[" * 100_000),
        ("a.yml", b"a: [1"),
        ("a.yml", b"\0"),
        ("a.yml", b"a: &x\n--- \nb: 1"),
    ],
)
def test_what_cannot_be_parsed_is_possible_for_the_loader_says_what_is_wrong(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert confidence(str(path), MODEL) is POSSIBLE
    if len(content) < 1000:
        with pytest.raises(ModelError, match=f"cannot read the config .*{name}"):
            Segplug().load_model(path)


def test_files_that_are_not_there_and_folders(tmp_path, monkeypatch):
    for location in ("not/there/yet.yml", "~nobody-at-all/c.py", "a" * 300 + ".py", "a\0.py"):
        assert confidence(location, MODEL) is POSSIBLE
    for location in (str(tmp_path), "model.onnx", "not/there", "python:package.module", "acme:c.py", ""):
        assert confidence(location, MODEL) is NO
    (tmp_path / "folder.py").mkdir()
    assert confidence(str(tmp_path / "folder.py"), MODEL) is NO
    (tmp_path / "c.py").write_text("model = dict()")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert confidence("~/c.py", MODEL) is LIKELY
    os.mkfifo(tmp_path / "pipe.py")  # reading it would wait for ever
    assert confidence(str(tmp_path / "pipe.py"), MODEL) is POSSIBLE


def test_a_missing_config_is_named(tmp_path):
    for load in (Segplug().load_model, Segplug().load_dataset, Segplug().config_text):
        for name in ("none.py", "none.json"):
            with pytest.raises(UsageError, match=f"there is no config .*{name}"):
                load(tmp_path / name)
    with pytest.raises(UsageError, match=r"there is no config ~nobody-at-all/c\.py"):
        Segplug().load_model("~nobody-at-all/c.py")


def test_a_file_that_is_plainly_something_else_is_read_by_no_source(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(UsageError, match=r"no installed source reads a model from .*script\.py"):
        Segplug().load_model(path)
    with pytest.raises(UsageError, match=r"no installed source reads a data set from .*script\.py"):
        Segplug().load_dataset(path)
    assert not (tmp_path / "ran").exists()


def test_a_config_is_looked_into_and_does_not_run(tmp_path):
    path = tmp_path / "c.py"
    path.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nmodel = dict()\n")
    assert Registry().source("load_model", str(path), None).entry.target == "mmseg"
    assert not (tmp_path / "ran").exists()


def test_looking_into_a_file_imports_no_framework(tmp_path):
    files = {"a.py": "model = 1", "a.json": '{"model": 1}', "a.yml": "model: 1"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    code = f"""
import sys
from segplug_mmseg.loader import provider
assert {{provider.accepts({str(tmp_path)!r} + "/" + name).name for name in {list(files)}}} == {{"LIKELY"}}
print([n for n in ("torch", "mmcv", "mmseg", "cv2", "numpy") if n in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "[]", result.stderr


def test_a_part_of_a_config_reaches_the_error_that_says_what_it_lacks(tmp_path):
    (tmp_path / "d.py").write_text("data = dict(test=dict())")
    with pytest.raises(ModelError, match="has no `model` with a `type`"):
        Segplug().load_model(tmp_path / "d.py")
    (tmp_path / "m.py").write_text("model = dict(type='X')")
    with pytest.raises(DatasetError, match=r"has no (data\.test|test_dataloader\.dataset)"):
        Segplug().load_dataset(tmp_path / "m.py")


@pytest.mark.skipif(installed_mmseg().generation == "1.x", reason="1.x reads them")
@pytest.mark.parametrize(
    "text",
    [
        "from mmengine.config import read_base\nwith read_base():\n    from .base import *",
        "import mmengine\nx = 1",
        "default_scope = 'mmseg'",
        "test_dataloader = dict()\nmodel = dict(type='X')",
        "_base_ = ['b.py']\ntest_evaluator = dict()",
    ],
)
def test_a_config_of_mmsegmentation_1_reaches_the_error_that_names_it(tmp_path, text):
    path = tmp_path / "c.py"
    path.write_text(text)
    (tmp_path / "b.py").write_text("model = dict(type='X')")
    for name in ("c.py", "c.json"):
        if name == "c.json":
            (tmp_path / name).write_text(json.dumps({"default_scope": "mmseg", "model": {}}))
        assert confidence(str(tmp_path / name), MODEL) >= POSSIBLE
        assert confidence(str(tmp_path / name), DATA) >= POSSIBLE
        with pytest.raises(ModelError, match=r"config of mmsegmentation 1\.x"):
            Segplug().load_model(tmp_path / name)


def test_every_config_of_mmseg_is_accepted(mim_configs):
    configs = [path for path in mim_configs.glob("*/*.py") if path.parent.name != "_base_"]
    assert len(configs) > 600
    doubted = [str(path) for path in configs if confidence(str(path), MODEL) is not LIKELY]
    assert doubted == []
    parts = list(mim_configs.glob("_base_/*/*.py")) + list(mim_configs.glob("_base_/*.py"))
    refused = [str(path) for path in parts if confidence(str(path), MODEL) is NO]
    assert parts
    assert refused == []


def test_a_model_that_only_the_last_base_sets(tmp_path):
    (tmp_path / "c.py").write_text("_base_ = './b.py'\n")
    (tmp_path / "b.py").write_text("_base_ = './a.py'\n")
    (tmp_path / "a.py").write_text("model = dict(type='X', depth=3)\n")
    assert confidence(str(tmp_path / "c.py"), MODEL) is LIKELY
    assert installed_generation().read_config(str(tmp_path / "c.py")).model.depth == 3
