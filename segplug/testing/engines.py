"""For the tests of ``infer`` providers: small engines and data sets, and a conformance suite.

A plugin's tests subclass :class:`EngineConformance`, which tests everything that the runtime relies on::

    class TestMyEngine(EngineConformance):
        @pytest.fixture
        def engine(self, tmp_path):
            return MyEngine(build_a_small_artifact(tmp_path))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from segplug.dataset import DatasetInfo
from segplug.engine import Axis, Engine, EngineSpec
from segplug.errors import DatasetError

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.preprocessing import Decoding

__all__ = ["ArrayDataset", "EngineConformance", "FunctionEngine"]


class FunctionEngine:
    """An engine made of a function.

    Args:
        spec: Its input and output.
        function: Maps float32 ``(N, C, H, W)`` to what ``spec.output`` says.
    """

    def __init__(
        self, spec: EngineSpec, function: Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]]
    ) -> None:
        self._spec = spec
        self._function = function
        self.shapes: list[tuple[int, ...]] = []
        """The shape of every batch that was run."""
        self.closed = False

    @property
    def spec(self) -> EngineSpec:
        return self._spec

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        self.shapes.append(batch.shape)
        return self._function(batch)

    def close(self) -> None:
        self.closed = True


class ArrayDataset:
    """A data set in memory.

    Args:
        images: ``(H, W, C)`` of any numeric type, as they are; masked arrays where pixels have no data.
        masks: uint8 or uint16 ``(H, W)`` for each image; ``None``: there are none.
        info: Its description; default: no classes, 255 ignored.
    """

    def __init__(
        self,
        images: Sequence[npt.NDArray[Any]],
        masks: Sequence[npt.NDArray[Any]] | None = None,
        info: DatasetInfo | None = None,
    ) -> None:
        self._images = images
        self._masks = masks
        self._info = info or DatasetInfo("arrays", (), has_masks=masks is not None, fingerprint="arrays")

    @property
    def info(self) -> DatasetInfo:
        return self._info

    def __len__(self) -> int:
        return len(self._images)

    def name(self, index: int) -> str:
        return f"{index:04d}.png"

    def read_image(self, index: int, decoding: Decoding) -> npt.NDArray[Any]:
        return self._images[index]

    def read_mask(self, index: int) -> npt.NDArray[Any]:
        if self._masks is None:
            raise DatasetError(f"{self.name(index)} has no mask")
        return self._masks[index]


class EngineConformance:
    """Every engine passes these tests, whatever runs it. Give a pytest fixture ``engine``.

    Set ``tolerance`` for engines whose arithmetic is not the same from run to run or batch to batch:
    the largest difference of logits allowed, absolute.
    """

    tolerance: float = 1e-4

    def test_has_a_consistent_spec(self, engine: Engine) -> None:
        with closing(engine):
            spec = engine.spec
            assert isinstance(spec, EngineSpec)
            assert spec.output in ("logits", "labels")
            assert spec.backend, "spec.backend names the backend for people"
            assert spec.meta.num_classes > 0, "spec.meta says how many classes there are"
            for axis in (spec.batch, spec.height, spec.width):
                assert axis.minimum >= 1
                assert axis.multiple_of >= 1
                assert axis.maximum is None or axis.maximum >= axis.minimum
            engine.run(self._batch(spec))
            assert engine.spec == spec, "the spec is constant"

    def test_output_is_as_its_spec_says(self, engine: Engine) -> None:
        with closing(engine):
            self._check_output(engine.spec, self._batch(engine.spec), engine)

    def test_equal_inputs_give_equal_outputs_and_stay_as_they_are(self, engine: Engine) -> None:
        with closing(engine):
            batch = self._batch(engine.spec)
            kept = batch.copy()
            first = engine.run(batch).copy()
            self._assert_close(first, engine.run(batch))
            assert np.array_equal(batch, kept), "run must not write into its input"

    def test_an_output_depends_on_its_own_image_only(self, engine: Engine) -> None:
        axis = engine.spec.batch
        with closing(engine):
            if axis.maximum == 1:
                _skip("the engine takes one image at a time")
            batch = self._batch(engine.spec, axis.minimum if axis.minimum > 1 else 2 * axis.multiple_of)
            together = engine.run(batch).copy()
            turned = engine.run(np.ascontiguousarray(batch[::-1])).copy()
            self._assert_close(together, turned[::-1])
            if engine.spec.output == "logits":
                assert not np.array_equal(together[0], together[-1]), "two images have the same logits"

    def test_follows_other_sizes_where_its_axes_vary(self, engine: Engine) -> None:
        spec = engine.spec
        height, width = _other(spec.height), _other(spec.width)
        with closing(engine):
            if (height, width) == (_convenient(spec.height), _convenient(spec.width)):
                _skip("the engine takes images of one size")
            engine.run(self._batch(spec))
            self._check_output(spec, self._batch(spec, height=height, width=width), engine)

    def test_fresh_output_is_kept(self, engine: Engine) -> None:
        """An engine that promises fresh arrays must not write into an earlier output."""
        with closing(engine):
            if not engine.spec.fresh_output:
                _skip("the engine may reuse its output array")
            batch = self._batch(engine.spec)
            first = engine.run(batch)
            kept = first.copy()
            second = engine.run(np.ascontiguousarray(batch[..., ::-1]))
            assert np.array_equal(first, kept)
            if engine.spec.output == "logits":
                assert not np.array_equal(first, second), "two images have the same logits"

    @staticmethod
    def _check_output(spec: EngineSpec, batch: npt.NDArray[Any], engine: Engine) -> None:
        output = engine.run(batch)
        count = len(batch)
        height, width = batch.shape[1:3] if spec.input == "image" else batch.shape[2:]
        if spec.output == "labels":
            assert output.shape == (count, height, width)
            assert output.dtype.kind in "iub"
            assert output.min() >= 0
            assert output.max() < spec.meta.num_labels
        else:
            height, width = spec.meta.scores_size((height, width))
            assert output.shape == (count, spec.meta.out_channels, height, width)
            assert output.dtype == np.float32
            assert np.isfinite(output).all()

    def _batch(
        self,
        spec: EngineSpec,
        size: int | None = None,
        *,
        height: int | None = None,
        width: int | None = None,
    ) -> npt.NDArray[Any]:
        shape = (
            size or spec.batch.minimum,
            spec.meta.in_channels,
            height or _convenient(spec.height),
            width or _convenient(spec.width),
        )
        if spec.input == "image":
            count, channels, rows, columns = shape
            images = np.random.default_rng(0).integers(0, 256, (count, rows, columns, channels))
            return images.astype(np.uint8)
        return np.random.default_rng(0).standard_normal(shape).astype(np.float32)

    def _assert_close(self, one: npt.NDArray[Any], other: npt.NDArray[Any]) -> None:
        assert one.shape == other.shape
        if one.dtype.kind == "f":
            assert np.abs(one - other).max() <= self.tolerance
        else:
            assert (one != other).mean() <= 0.001, "labels differ on more than near-ties"


def _convenient(axis: Axis) -> int:
    """A size of about 64 that the axis takes."""
    size = max(axis.minimum, 64 if axis.maximum is None else min(64, axis.maximum))
    return min(-(-size // axis.multiple_of) * axis.multiple_of, axis.maximum or size + axis.multiple_of)


def _other(axis: Axis) -> int:
    """Another size that the axis takes, if there is one."""
    size = _convenient(axis)
    others = (size + 32 * axis.multiple_of, size + axis.multiple_of, size - axis.multiple_of)
    return next((other for other in others if axis.accepts(other)), size)


def _skip(reason: str) -> NoReturn:
    import pytest

    pytest.skip(reason)
