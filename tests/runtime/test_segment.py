"""Images in memory to labels, and engines that take images."""

from __future__ import annotations

import numpy as np
import pytest

from segplug.api import Segplug
from segplug.engine import Axis, EngineSpec
from segplug.errors import DeviceError, ShapeError, UsageError
from segplug.model import Inference, ModelMeta, SegmentationModel
from segplug.preprocessing import Resize, usual_steps
from segplug.runtime import postprocess
from segplug.runtime.pipeline import run
from segplug.runtime.segment import Segmenter
from segplug.runtime.sinks import ScoreSink
from segplug.testing import ArrayDataset, EngineConformance, FunctionEngine

MEAN, STD = (127.5,) * 3, (60.0,) * 3
META = ModelMeta(name="m", classes=("low", "high"), out_channels=2, preprocessing=usual_steps(MEAN, STD))


def logits(batch: np.ndarray) -> np.ndarray:
    """Class 1 where the mean of the channels is above 0."""
    bright = batch.mean(axis=1)
    return np.stack([-bright, bright], axis=1).astype(np.float32)


def bright(image: np.ndarray) -> np.ndarray:
    return (image.astype(np.float64).mean(axis=2) > 127.5).astype(np.uint8)


def engine(function=logits, meta: ModelMeta = META, **axes: Axis) -> FunctionEngine:
    return FunctionEngine(EngineSpec(meta=meta, output="logits", **axes), function)


def test_images_of_any_sizes_get_labels_of_their_own(photo) -> None:
    images = [photo(20, 30), photo(31, 17, seed=1), photo(20, 30, seed=2), photo(20, 30, seed=3)]
    ran = engine()
    answers = Segmenter(ran, batch_size=2)(images)
    for image, answer in zip(images, answers, strict=True):
        assert np.array_equal(answer.labels, bright(image))
    assert sorted(shape[0] for shape in ran.shapes) == [1, 1, 2], "one size runs together, two at a time"


def test_an_image_that_does_not_fit_fails_alone(photo) -> None:
    images = [photo(20, 30), photo(64, 30), photo(20, 30, seed=1)]
    answers = Segmenter(engine(height=Axis(8, 40)), batch_size=4)(images)
    assert isinstance(answers[1], ShapeError)
    assert np.array_equal(answers[0].labels, bright(images[0]))
    assert np.array_equal(answers[2].labels, bright(images[2]))


def test_a_batch_that_fails_is_tried_image_by_image(photo) -> None:
    def small_memory(batch: np.ndarray) -> np.ndarray:
        if len(batch) > 1 or batch.max() > 2.1:
            raise DeviceError("out of memory")
        return logits(batch)

    images = [photo(20, 30), np.full((20, 30, 3), 255, np.uint8), photo(20, 30, seed=1) // 2]
    answers = Segmenter(engine(small_memory), batch_size=4)([images[2], images[1]])
    assert np.array_equal(answers[0].labels, bright(images[2]))
    assert isinstance(answers[1], DeviceError)


def test_a_fault_of_the_engine_is_its_images_alone(photo) -> None:
    def faulty(batch: np.ndarray) -> np.ndarray:
        if batch.shape[2] == 31:
            raise RuntimeError("a kernel failed")
        return logits(batch)

    images = [photo(20, 30), photo(31, 17), photo(24, 24)]
    first, second, third = Segmenter(engine(faulty), batch_size=4)(images)
    assert np.array_equal(first.labels, bright(images[0]))
    assert isinstance(second, RuntimeError)
    assert np.array_equal(third.labels, bright(images[2]))


def test_a_fault_after_the_engine_is_its_images_alone(photo, monkeypatch) -> None:
    resize = postprocess.planes_at_image_size

    def no_memory(output, meta):
        if output.geometry.original == (31, 17):
            raise MemoryError
        return resize(output, meta)

    monkeypatch.setattr(postprocess, "planes_at_image_size", no_memory)
    images = [photo(20, 30), photo(31, 17), photo(20, 30, seed=1)]
    first, second, third = Segmenter(engine(), batch_size=4)(images)
    assert np.array_equal(first.labels, bright(images[0]))
    assert isinstance(second, MemoryError)
    assert np.array_equal(third.labels, bright(images[2]))


def test_it_computes_what_the_pipeline_computes(photo) -> None:
    slides = META.replace(
        preprocessing=usual_steps(MEAN, STD, resize=Resize(scale=(48, 40))),
        inference=Inference("slide", crop_size=(16, 16), stride=(12, 12)),
    )
    images = [photo(33, 47), photo(50, 20, seed=1)]
    for meta in (META, slides):
        alone = Segmenter(engine(meta=meta))(images)
        masks = [answer.labels for answer in alone]
        scored = ScoreSink(["mIoU"])
        run(engine(meta=meta), ArrayDataset(images, masks), [scored])
        assert scored.scores.metrics["mIoU"] == 1.0


def image_engine() -> FunctionEngine:
    """A server's like: it preprocesses by itself, so what the meta says of that is not applied again."""
    steps = usual_steps(MEAN, STD, resize=Resize(scale=(8, 8)))
    meta = META.replace(preprocessing=steps, inference=Inference("slide", (4, 4), (4, 4)))
    spec = EngineSpec(meta=meta, output="labels", input="image", backend="server", fresh_output=True)
    return FunctionEngine(spec, lambda batch: np.stack([bright(image) for image in batch]))


def test_an_engine_that_takes_images_is_given_images(photo) -> None:
    images = [photo(20, 30), photo(20, 30, seed=1), photo(31, 17, seed=2)]
    ran = image_engine()
    scored = ScoreSink(["mIoU"])
    run(ran, ArrayDataset(images, [bright(image) for image in images]), [scored], batch_size=2)
    assert ran.shapes == [(2, 20, 30, 3), (1, 31, 17, 3)]
    assert scored.scores.metrics["mIoU"] == 1.0


class TestConformanceOfImages(EngineConformance):
    @pytest.fixture
    def engine(self) -> FunctionEngine:
        return image_engine()


SERVER = """
    from segplug import Backend, EngineSpec, ModelMeta, hookimpl
    from segplug.options import NoOptions
    from segplug.testing import FunctionEngine

    class Server(Backend[NoOptions]):
        hook_version = 2
        takes = "url"

        @hookimpl
        def infer(self, request):
            meta = ModelMeta(name=request.url, classes=("a", "b"), out_channels=2)
            return FunctionEngine(EngineSpec(meta=meta, output="labels", input="image"), None)

    provider = Server()
"""


def test_an_engine_behind_an_address(install_plugin, tmp_path) -> None:
    install_plugin("server", {"segplug.infer": {"server": "server_mod:provider"}}, server_mod=SERVER)
    session = Segplug()
    with session.open("http://here/predictions/m", backend="server") as opened:
        assert opened.spec.meta.name == "http://here/predictions/m"
    with pytest.raises(UsageError, match="address of a server"), session.open(tmp_path, backend="server"):
        pass


def test_an_engine_that_takes_images_is_not_compared_on_logits(install_plugin) -> None:
    torch = pytest.importorskip("torch")
    install_plugin("server", {"segplug.infer": {"server": "server_mod:provider"}}, server_mod=SERVER)
    model = SegmentationModel(
        module=torch.nn.Conv2d(3, 2, 1), meta=META, exportable=lambda: torch.nn.Identity()
    )
    with pytest.raises(UsageError, match="analyze serving"):
        Segplug().verify("http://here/predictions/m", model, backend="server")
