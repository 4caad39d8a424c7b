"""No image is cast to fewer bits on its way from a file to the network, whoever reads it.

Every reader, data set and form of a request gets images of every type, with values that fit into no byte.
Then the network receives exactly the file's values as float32, or the image is refused; it never receives
others.
"""

from __future__ import annotations

import ast
import base64
import io
import itertools
import json
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from segplug import Segplug
from segplug.dataset import DatasetInfo
from segplug.engine import EngineSpec
from segplug.errors import DatasetError
from segplug.model import ModelMeta
from segplug.preprocessing import Convert, Decoding
from segplug.runtime.folder import FolderDataset, ImageList
from segplug.runtime.pipeline import run
from segplug.runtime.segment import Segmenter
from segplug.serving.client import Client
from segplug.serving.remote_engine import RemoteEngine
from segplug.serving.requests import Request
from segplug.serving.service import Service
from segplug.testing.engines import ArrayDataset, FunctionEngine

TYPES = ("uint8", "uint16", "int16", "int32", "float32", "float64")
SIZE = (11, 13)

READERS = {
    "opencv": Decoding(color="unchanged"),
    "pillow": Decoding(library="pillow", color="unchanged"),
    "tifffile": Decoding(library="tifffile", color="unchanged"),
    "bands": Decoding(library="bands", color="unchanged"),
    "npy": Decoding(loader="LoadOwn"),
}
"""The decodings that keep the values of a file. A loader of the user's own gives .npy files to servers."""

BGR = ("opencv", "pillow")
"""They give the first three channels in reverse."""


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def image_of(dtype: str, channels: int) -> np.ndarray:
    """``(H, W, C)`` in the order of a file: the whole range of the type, fractions and negative values."""
    rng = np.random.default_rng(channels)
    shape = (*SIZE, channels)
    if dtype.startswith("float"):
        values = (rng.standard_normal(shape) * 3000).astype(dtype)
        values[0, 0], values[0, 1] = 0.25, 70000.5
        return values
    limits = np.iinfo(dtype)
    values = rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    values[0, 0], values[0, 1] = limits.min, limits.max
    return values


def npy(image: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, image)
    return content.getvalue()


def tiff(image: np.ndarray) -> bytes:
    content = io.BytesIO()
    colours = "rgb" if image.shape[2] in (3, 4) and image.dtype.kind == "u" else "minisblack"
    flat = image[..., 0] if image.shape[2] == 1 else image
    tifffile.imwrite(
        content, flat, photometric=colours if flat.ndim == 3 else "minisblack", planarconfig="contig"
    )
    return content.getvalue()


def png(image: np.ndarray) -> bytes:
    """OpenCV writes BGR as RGB."""
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[image.shape[2]]
    return cv2.imencode(".png", np.ascontiguousarray(image[..., order]))[1].tobytes()


FORMATS: dict[str, Callable[[np.ndarray], bytes]] = {"png": png, "tif": tiff, "npy": npy}


def cases() -> Iterator[tuple[str, str, str, int]]:
    for reader, suffix, dtype, channels in itertools.product(READERS, FORMATS, TYPES, (1, 3, 5)):
        if suffix == "png" and (dtype not in ("uint8", "uint16") or channels == 5):
            continue
        if reader == "npy" and suffix != "npy":
            continue
        yield reader, suffix, dtype, channels


CASES = list(cases())

REFUSED = {
    *(("opencv", "tif", dtype, 5) for dtype in TYPES),  # up to 4 channels
    *(("tifffile", "png", dtype, channels) for dtype in ("uint8", "uint16") for channels in (1, 3)),
    *(("pillow", "tif", dtype, channels) for dtype in TYPES for channels in (3, 5)),
    ("opencv", "tif", "int16", 3),  # of which OpenCV gives the first channel only
    ("pillow", "tif", "float64", 1),
}
"""What a reader may refuse: its library does not read it."""

HIGH_BYTE = {("pillow", "png", "uint16", 3), ("pillow", "tif", "uint16", 3)}
"""Where the library itself gives less, and mmcv with it: Pillow has no colours of 16 bits."""


def expected_of(image: np.ndarray, reader: str, suffix: str) -> np.ndarray:
    """What the network receives, computed here: ``(C, H, W)``."""
    channels = image.shape[2]
    if (reader, suffix, image.dtype.name, channels) in HIGH_BYTE:
        image = image >> 8
    if reader in BGR and suffix != "npy" and channels >= 3:
        image = image[..., [2, 1, 0, *range(3, channels)]]
    with np.errstate(over="raise"):
        return np.ascontiguousarray(image.transpose(2, 0, 1).astype(np.float32))


class Network:
    """Keeps what it receives."""

    def __init__(self, decoding: Decoding, channels: int) -> None:
        meta = ModelMeta(
            "m",
            classes=("a", "b"),
            out_channels=2,
            in_channels=channels,
            decoding=decoding,
            preprocessing=(Convert(),),
        )
        self.received: list[np.ndarray] = []
        self.engine = FunctionEngine(EngineSpec(meta, "logits", backend="test"), self._run)

    def _run(self, batch: np.ndarray) -> np.ndarray:
        assert batch.dtype == np.float32
        self.received.extend(batch.copy())
        return np.zeros((len(batch), 2, *batch.shape[2:]), np.float32)


def check(
    network: Network, give: Callable[[], Any], case: tuple[str, str, str, int], image: np.ndarray
) -> None:
    """Give the image: the network receives the file's values, or the image is refused if it may be."""
    reader, suffix, _, _ = case
    try:
        give()
    except DatasetError:
        assert case in REFUSED, "it is refused"
        return
    (received,) = network.received
    np.testing.assert_array_equal(received, expected_of(image, reader, suffix), strict=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
@pytest.mark.parametrize("way", ["folder", "list"])
def test_files_of_a_folder_and_single_files(tmp_path, case, way):
    reader, suffix, dtype, channels = case
    image, network = image_of(dtype, channels), Network(READERS[reader], channels)
    path = tmp_path / "images" / f"a.{suffix}"
    path.parent.mkdir()
    path.write_bytes(FORMATS[suffix](image))
    dataset = FolderDataset(tmp_path) if way == "folder" else ImageList([path])
    check(network, lambda: run(network.engine, dataset, []), case, image)


MMSEG = [case for case in CASES if case[0] in ("opencv", "pillow", "tifffile")]


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Callable[[Path, str, str], Path]:
    """Writes a config whose data set loads images as mmseg does, or with a loader of the user's own."""
    text = """
        {imports}
        pack = [dict(type='ImageToTensor', keys=['img']), dict(type='Collect', keys=['img'])]
        views = dict(type='MultiScaleFlipAug', img_scale=(13, 11), flip=False, transforms=pack)
        pipeline = [dict(type={loader!r}{settings}), views]
        data = dict(test=dict(type='CustomDataset', data_root={root!r}, img_dir='images', ann_dir='masks',
                              img_suffix={suffix!r}, classes=('a', 'b'), palette=[[0, 0, 0], [1, 1, 1]],
                              test_mode=True, pipeline=pipeline))
    """

    def write(root: Path, reader: str, suffix: str) -> Path:
        own = reader == "npy"
        backend = {"opencv": "cv2"}.get(reader, reader)
        settings = "" if own else f", color_type='unchanged', imdecode_backend={backend!r}"
        imports = "custom_imports = dict(imports=['own_loader'], allow_failed_imports=False)" if own else ""
        loader = "LoadOwn" if own else "LoadImageFromFile"
        path = root / "config.py"
        path.write_text(
            textwrap.dedent(text).format(
                imports=imports, loader=loader, settings=settings, root=str(root), suffix=f".{suffix}"
            )
        )
        return path

    return write


OWN = """
import os.path, numpy as np
from mmseg.datasets.builder import PIPELINES

@PIPELINES.register_module(force=True)
class LoadOwn:
    def __call__(self, results):
        name = os.path.join(results['img_prefix'], results['img_info']['filename'])
        image = np.load(name)
        results.update(img=image, img_shape=image.shape, ori_shape=image.shape, filename=name)
        return results
"""


@pytest.mark.parametrize(
    "case",
    [*MMSEG, *(("npy", "npy", dtype, channels) for dtype in TYPES for channels in (1, 3, 5))],
    ids=lambda case: "-".join(map(str, case)),
)
def test_data_sets_of_mmseg_with_its_loader_and_with_the_users_own(tmp_path, monkeypatch, config, case):
    reader, suffix, dtype, channels = case
    image, network = image_of(dtype, channels), Network(READERS[reader], channels)
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    (tmp_path / "images" / f"a.{suffix}").write_bytes(FORMATS[suffix](image))
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(tmp_path / "masks" / "a.png")
    (tmp_path / "own_loader.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_loader", raising=False)
    dataset = Segplug().load_dataset(config(tmp_path, reader, suffix))
    assert len(dataset) == 1
    check(network, lambda: run(network.engine, dataset, []), case, image)


def _forms(content: bytes) -> Iterator[Request]:
    text = base64.b64encode(content).decode()
    yield Request(content)
    yield Request(content, "application/octet-stream")
    yield Request(text)
    yield Request({"image": text})
    yield Request({"instances": [{"b64": text}], "image": {"b64": text}})
    yield Request(json.dumps({"data": text}).encode(), "application/json")
    yield Request({"image": f"data:image/x;base64,{text}"})


def _answer_or_raise(service: Service, request: Request) -> None:
    (answer,) = service.answer([request])
    if answer.status == 400:
        raise DatasetError(answer.reason)
    assert answer.status == 200, answer.reason


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_every_form_of_a_request(case):
    reader, suffix, dtype, channels = case
    image = image_of(dtype, channels)
    for request in _forms(FORMATS[suffix](image)):
        network = Network(READERS[reader], channels)
        service = Service(network.engine)
        check(network, lambda: _answer_or_raise(service, request), case, image)  # noqa: B023 (called at once)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_arrays_in_memory(dtype, channels):
    image = image_of(dtype, channels)
    for masked in (False, True):
        given = np.ma.masked_array(image, np.zeros(image.shape, bool)) if masked else image
        network = Network(Decoding(loader="LoadOwn"), channels)
        Segmenter(network.engine)([given])
        info = DatasetInfo("d", ("a", "b"), has_masks=False, fingerprint="d")
        run(network.engine, ArrayDataset([given], info=info), [])
        for received in network.received:
            np.testing.assert_array_equal(received, expected_of(image, "npy", "npy"), strict=True)
        assert len(network.received) == 2


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("colours", [False, True])
def test_the_client_of_a_server_sends_what_it_has(dtype, channels, colours):
    """``infer http``: from the client's data set to the server's network, as PNG or .npy."""
    from tests.serving.conftest import http_server

    decoding = Decoding() if colours and channels == 3 else READERS["bands"]
    image, network = image_of(dtype, channels), Network(decoding, channels)
    service, lock = Service(network.engine), threading.Lock()

    def answering(request: Request) -> Any:
        with lock:
            return service.answer([request])[0]

    info = DatasetInfo("d", ("a", "b"), has_masks=False, fingerprint="d")
    with http_server(answering) as url:
        engine = RemoteEngine(Client(url), target="http")
        try:
            run(engine, ArrayDataset([image], info=info), [])
        finally:
            engine.close()
    (received,) = network.received
    np.testing.assert_array_equal(received, expected_of(image, "npy", "npy"), strict=True)


NARROW = frozenset(
    {"uint8", "int8", "ubyte", "byte", "uint16", "int16", "ushort", "short", "float16", "half"}
)
MAY_CAST = {
    "segplug/runtime/paint.py": "a view for people",
    "segplug/runtime/view.py": "a view for people",
    "segplug/verification/sample.py": "the sample picture",
    "segplug/runtime/indexed_png.py": "labels",
    "segplug/runtime/pictures.py": "labels",
    "segplug/runtime/planes.py": "labels",
    "segplug/runtime/postprocess.py": "labels",
    "segplug/runtime/reading/masks.py": "labels",
    "segplug/runtime/score.py": "labels",
    "segplug/serving/answers.py": "labels, and the PNG of a confidence",
    "segplug/runtime/pointwise.py": "the 256 values of a byte, for tables",
    "plugins/analysis/src/segplug_analysis/confusion/matrix.py": "labels",
    "plugins/analysis/src/segplug_analysis/difference_picture.py": "a view for people",
    "plugins/mmseg/src/segplug_mmseg/v1/loaders.py": "labels",
    "plugins/onnx/src/segplug_onnx/tensors.py": "the input of a network whose own type is float16",
    "plugins/tensorrt/src/segplug_tensorrt/graphs/bf16.py": "weights",
}
"""The modules that may make fewer bits of something, and of what. Of images for a network, none may."""

CASTS = frozenset({"astype", "asarray", "array", "asanyarray", "ascontiguousarray", "require", "full_like"})
BY_NAME = frozenset({"convertScaleAbs", "img_as_ubyte", "half", "byte", "char"})


def _casts(path: Path) -> Iterator[int]:
    """The lines of a module that cast an array to a type of few bits."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = [
            part
            for value in (*node.args, *(word.value for word in node.keywords))
            for part in ast.walk(value)
        ]
        named = {getattr(part, "attr", getattr(part, "id", getattr(part, "value", None))) for part in given}
        if function in BY_NAME or (
            function in CASTS and any(name in NARROW for name in named if type(name) is str)
        ):
            yield node.lineno


def test_only_labels_and_views_for_people_are_cast_to_fewer_bits():
    root = Path(__file__).parents[2]
    sources = [*(root / "segplug").rglob("*.py"), *root.glob("plugins/*/src/**/*.py")]
    assert len(sources) > 300
    found = {
        str(path.relative_to(root)): lines
        for path in sources
        if "testing" not in path.parts and (lines := list(_casts(path)))
    }
    new = {name: lines for name, lines in found.items() if name not in MAY_CAST}
    assert not new, "does this cast an image? If not, say in MAY_CAST what it casts"
