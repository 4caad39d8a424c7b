"""Images get the sizes and the values that the named library gives them."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from segplug.errors import DatasetError
from segplug.preprocessing import RESIZE_FILTERS, Resize
from segplug.runtime.resizing import resize_image
from segplug.runtime.sizes import plan_sizes
from segplug.text import counted

OPENCV = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}
PILLOW = RESIZE_FILTERS["pillow"]
SIZES = [
    ((60, 83), (37, 29)),
    ((23, 31), (57, 90)),
    ((41, 40), (17, 81)),
    ((33, 47), (33, 20)),
    ((20, 71), (53, 33)),
]


def _size(size: tuple[int, int], resize: Resize) -> tuple[int, int]:
    return plan_sizes([resize], size).geometry.network


def _some_sizes(number: int = 400, highest: int = 2200):
    rng = np.random.default_rng(3)
    for height, width, first, second in rng.integers(1, highest, (number, 4)).tolist():
        yield (height, width), (first, second)


def test_an_image_inside_has_the_size_that_mmcv_gives_it(mmseg) -> None:
    from mmcv import rescale_size

    for size, scale in _some_sizes():
        width, height = rescale_size(size[::-1], scale)
        assert _size(size, Resize(scale, "inside")) == (max(height, 1), max(width, 1))


def _of_torchvision(size: tuple[int, int], short_edge: int) -> tuple[int, int]:
    """The size after ``torchvision.transforms.Resize(short_edge)``, by torchvision's own formula."""
    height, width = size
    short, long = (width, height) if width <= height else (height, width)
    new_short, new_long = short_edge, int(short_edge * long / short)
    return (new_long, new_short) if width <= height else (new_short, new_long)


def test_the_short_edge_is_rounded_as_torchvision_and_as_mmcv_do() -> None:
    differ = 0
    for size, scale in _some_sizes():
        down = _size(size, Resize(scale, "shortest", rounding="down"))
        assert down == _of_torchvision(size, min(scale))
        factor = min(scale) / min(size)
        half_up = _size(size, Resize(scale, "shortest"))
        assert half_up == tuple(int(edge * factor + 0.5) for edge in size)
        assert min(half_up) == min(down) == min(scale)
        differ += half_up != down
    assert differ > 100


def test_an_image_inside_touches_its_limits() -> None:
    for size, scale in _some_sizes(highest=300):
        found = _size(size, Resize(scale, "inside"))
        assert max(found) <= max(scale)
        assert min(found) <= min(scale)
        assert max(found) == max(scale) or min(found) == min(scale)


@pytest.mark.parametrize(
    ("resize", "size"),
    [
        (Resize(), (100, 151)),
        (Resize((40, 30)), (30, 40)),
        (Resize((30, 40)), (40, 30)),
        (Resize((40, 60), "inside"), (40, 60)),  # the long edge is at most 60, the short one 40
        (Resize((60, 40), "inside"), (40, 60)),
        (Resize((60, 50), "inside"), (40, 60)),
        (Resize((60, 120), "inside", rounding="down"), (39, 59)),  # 151 * (60 / 151) is less than 60
        (Resize((120, 60), "inside", rounding="down"), (60, 90)),
        (Resize((60, 120), "inside", rounding="half_even"), (40, 60)),
        (Resize((75, 75), "inside", rounding="half_even"), (50, 75)),
        (Resize((151, 65), "inside", rounding="half_even"), (65, 98)),
        (Resize((151, 50), "inside", rounding="half_even"), (50, 76)),  # 75.5 becomes even
        (Resize((151, 150), "inside", rounding="half_even"), (100, 151)),
        (Resize((60, 30), "shortest"), (30, 45)),
        (Resize((50, 50), "shortest"), (50, 76)),
        (Resize((50, 50), "shortest", rounding="down"), (50, 75)),
        (Resize((50, 50), "shortest", rounding="down", max_size=75), (50, 75)),
        (Resize((50, 50), "shortest", rounding="down", max_size=60), (40, 60)),
        (Resize((50, 50), "shortest", rounding="down", max_size=60, multiple_of=32), (64, 64)),
        (Resize((96, 96), multiple_of=64, multiple="nearest"), (128, 128)),  # 1.5 is rounded to even
        (Resize((160, 160), multiple_of=64, multiple="nearest"), (128, 128)),
        (Resize((9, 9), multiple_of=64, multiple="nearest"), (64, 64)),
        (Resize((300, 90), "closest", multiple="nearest"), (90, 136)),
        (Resize((160, 40), "closest", multiple="nearest"), (106, 160)),
        (Resize((160, 40), "closest", multiple_of=16, multiple="nearest"), (112, 160)),
        (Resize((302, 100), "closest", multiple="nearest"), (100, 151)),
        (Resize(ratio=0.5), (50, 75)),
        (Resize(None, "inside", 0.5), (50, 75)),
        (Resize(None, "inside", 0.5, min_size=60), (60, 91)),
        (Resize((60, 50), "inside", min_size=45), (50, 76)),
        (Resize(multiple_of=32), (128, 160)),
        (Resize((40, 30), multiple_of=32), (32, 64)),
        (Resize((64, 32), multiple_of=32), (32, 64)),
        (Resize((60, 50), "inside", multiple_of=16), (48, 64)),
        (Resize((1, 1), "inside"), (1, 1)),
        (Resize((500, 1), "inside"), (1, 2)),
        (Resize((1, 400), "exact"), (400, 1)),
        (Resize(ratio=0.001), (1, 1)),
    ],
)
def test_the_size_after_a_resize(resize: Resize, size: tuple[int, int]) -> None:
    assert _size((100, 151), resize) == size


def _noise(dtype: str, *shape: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 1, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 13, 128])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_opencv_resizes_images_of_its_types(dtype: str, channels: int) -> None:
    for old, new in SIZES:
        image = _noise(dtype, *old, channels)
        for name, flag in OPENCV.items():
            if name == "area" and channels > 4:  # which OpenCV 5 refuses
                continue
            found = resize_image(image, new, Resize(filter=name), "a")
            expected = cv2.resize(image, new[::-1], interpolation=flag).reshape(*new, channels)
            assert found.dtype == image.dtype
            assert found.shape == (*new, channels)
            np.testing.assert_array_equal(found, expected, err_msg=f"{name} {old} {new}")


@pytest.mark.parametrize("channels", [129, 300, 1000])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_more_channels_than_opencv_takes_are_resized_in_parts(dtype: str, channels: int) -> None:
    image = _noise(dtype, 12, 9, channels)
    found = resize_image(image, (7, 15), Resize(), "a")
    planes = [cv2.resize(np.ascontiguousarray(plane), (15, 7)) for plane in image.transpose(2, 0, 1)]
    expected = np.stack(planes, axis=2)
    assert found.shape == (7, 15, channels)
    # OpenCV's sums of floats, with which it resizes int16, too, depend on the number of channels
    allowed = {"uint8": 0, "int16": 1, "float32": 1e-5}[dtype]
    np.testing.assert_allclose(found.astype(np.float64), expected, rtol=0, atol=allowed)


@pytest.mark.parametrize(
    ("dtype", "channels", "filter_name"),
    [("int32", 3, "bilinear"), ("float16", 2, "bilinear"), ("int64", 1, "bicubic"), ("uint8", 5, "area")],
)
def test_what_opencv_refuses_is_one_line_with_the_image(dtype: str, channels: int, filter_name: str) -> None:
    image = np.zeros((8, 8, channels), dtype)
    with pytest.raises(DatasetError) as raised:
        resize_image(image, (3, 5), Resize(filter=filter_name), "a.tif")
    said = f"OpenCV cannot resize the image a.tif, {dtype} with {counted(channels, 'channel')}: "
    assert raised.value.message.startswith(said)
    assert "\n" not in raised.value.message
    assert raised.value.hint == (
        None if dtype == "uint8" else "it takes uint8, uint16, int16, float32, float64"
    )


def _of_pillow(image: np.ndarray, size: tuple[int, int], name: str) -> np.ndarray:
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in image.transpose(2, 0, 1)]
    resample = Image.Resampling[name.upper()]
    return np.stack([np.asarray(plane.resize(size[::-1], resample)) for plane in planes], axis=2)


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_pillow_resizes_equally_whether_it_is_installed_or_not(
    dtype: str, channels: int, installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = []
    for old, new in SIZES:
        image = _noise(dtype, *old, channels)
        cases += [(image, new, name, _of_pillow(image, new, name)) for name in PILLOW]
    if not installed:
        monkeypatch.setitem(sys.modules, "PIL.Image", None)
    for image, new, name, expected in cases:
        found = resize_image(image, new, Resize(algorithm="pillow", filter=name), "a")
        assert found.dtype == image.dtype
        np.testing.assert_array_equal(found, expected, err_msg=f"{name} {image.shape} {new}")


def test_pillow_resizes_colours_as_it_does_a_picture() -> None:
    image = _noise("uint8", 40, 50, 3)
    picture = Image.fromarray(image).resize((31, 22), Image.Resampling.BICUBIC)
    found = resize_image(image, (22, 31), Resize(algorithm="pillow", filter="bicubic"), "a")
    np.testing.assert_array_equal(found, np.asarray(picture))


@pytest.mark.parametrize("algorithm", ["pillow", "torchvision"])
@pytest.mark.parametrize("dtype", ["uint16", "int16", "float64", "int32"])
def test_types_that_pillow_does_not_resize_are_refused(algorithm, dtype: str) -> None:
    with pytest.raises(
        DatasetError, match=rf"^the image a\.tif is {dtype}, but Pillow's resize is for uint8"
    ):
        resize_image(np.zeros((8, 8, 3), dtype), (4, 4), Resize(algorithm=algorithm), "a.tif")


def _of_torchvision_resize(image: np.ndarray, size: tuple[int, int], mode: str) -> np.ndarray:
    """What ``torchvision.transforms.v2`` calls on the CPU, for uint8 and for floats."""
    values = torch.from_numpy(image.transpose(2, 0, 1).copy())[None]
    smooth = {} if mode == "nearest-exact" else {"align_corners": False, "antialias": True}
    values = torch.nn.functional.interpolate(values, size, mode=mode, **smooth)
    return values[0].numpy().transpose(1, 2, 0)


FAST = "AVX" in torch.backends.cpu.get_cpu_capability()
"""Whether torch resizes uint8 in whole numbers. On other processors it computes in floats."""
REDUCED = [((200, 300), (64, 65)), ((300, 64), (17, 64)), ((31, 500), (31, 40)), ((40, 5), (3, 90))]


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "lanczos"])
def test_torchvision_resizes_bytes_equally(mode, channels: int) -> None:
    step = Resize(algorithm="torchvision", filter=mode)
    for old, new in (*SIZES, *REDUCED):
        image = _noise("uint8", *old, channels)
        image[::3] = np.where(image[::3] > 127, 255, 0)  # extremes, where sums leave the range
        found = resize_image(image, new, step, "a")
        assert found.dtype == np.uint8
        assert found.flags.c_contiguous
        expected = _of_torchvision_resize(image, new, mode)
        if FAST:
            np.testing.assert_array_equal(found, expected, err_msg=f"{old} {new}")
        assert np.abs(found.astype(int) - expected).max() <= 2


def test_torchvision_and_pillow_differ() -> None:
    """By one or two grey levels, in some pixels: else the test above could not tell them apart."""
    image = _noise("uint8", 200, 300, 3)
    for mode, levels in (("bilinear", 1), ("bicubic", 2)):
        steps = [Resize(algorithm=algorithm, filter=mode) for algorithm in ("pillow", "torchvision")]  # type: ignore[arg-type]
        one, other = (resize_image(image, (64, 65), step, "a").astype(int) for step in steps)
        assert 0 < np.abs(one - other).max() <= levels


def test_torchvision_without_fast_instructions_rounds_once() -> None:
    """Then it computes bilinear resizes of uint8 in float32."""
    for old, new in SIZES:
        image = _noise("uint8", *old, 3)
        found = resize_image(image, new, Resize(algorithm="torchvision"), "a")
        floats = _of_torchvision_resize(image.astype(np.float32), new, "bilinear")
        assert np.abs(found - floats.round()).max() <= 1


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_torchvision_takes_the_nearest_pixels(dtype: str) -> None:
    """Not always those of Pillow, which adds up its positions."""
    step, others = Resize(algorithm="torchvision", filter="nearest"), 0
    cases = [*SIZES, ((60, 83), (60, 251)), ((3, 1000), (2, 333)), ((64, 64), (96, 224))]
    for old, new in cases:
        image = _noise(dtype, *old, 3)
        found = resize_image(image, new, step, "a")
        np.testing.assert_array_equal(found, _of_torchvision_resize(image, new, "nearest-exact"))
        others += (found != _of_pillow(image, new, "nearest")).any()
    assert others


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "lanczos"])
def test_torchvision_of_floats_differs_by_rounding_only(mode) -> None:
    for old, new in SIZES:
        image = _noise("float32", *old, 4)
        found = resize_image(image, new, Resize(algorithm="torchvision", filter=mode), "a")
        np.testing.assert_allclose(found, _of_torchvision_resize(image, new, mode), atol=1e-5)


def test_the_algorithms_differ() -> None:
    """Else the tests above could not tell them apart."""
    image = _noise("uint8", 60, 83, 3)
    found = [resize_image(image, (37, 29), Resize(algorithm=name), "a") for name in ("opencv", "pillow")]
    assert (found[0] != found[1]).mean() > 0.5


@pytest.mark.parametrize("algorithm", ["opencv", "pillow", "torchvision"])
def test_an_image_of_the_size_already_is_not_touched(algorithm) -> None:
    for dtype in ("uint8", "uint16", "int32", "float64"):
        image = _noise(dtype, 12, 9, 5)
        assert resize_image(image, (12, 9), Resize(algorithm=algorithm), "a") is image
