"""The stride of a network's scores, from the sizes of inputs and scores."""

from __future__ import annotations

import pytest

from segplug.strides import common_stride, scores_size


def test_sizes_are_rounded_up():
    assert scores_size((64, 65), 4) == (16, 17)
    assert scores_size((33, 1), 1) == (33, 1)


@pytest.mark.parametrize(
    ("sizes", "stride"),
    [
        ([((64, 64), (64, 64))], 1),
        ([((64, 64), (16, 16)), ((64, 128), (16, 32))], 4),
        ([((37, 50), (10, 13))], 4),
        ([((512, 512), (384, 384))], None),  # no whole number
        ([((64, 64), (128, 128))], None),  # larger than the image
        ([((64, 64), (16, 32))], None),  # another one for each axis
        ([((64, 64), (16, 16)), ((64, 128), (16, 16))], None),  # one size, whatever the image
        ([((64, 64), (1, 1)), ((64, 128), (1, 1))], None),  # one answer for the whole image
        ([((64, 64), (2, 2))], 32),  # 32 to 63 fit, and 32 divides the image evenly
        ([((500, 333), (16, 11))], 32),  # 32 and 33 fit
        ([((224, 224), (16, 16))], 14),
    ],
)
def test_the_stride_that_all_sizes_have_in_common(sizes, stride):
    assert common_stride(sizes) == stride
