"""mmseg's upsampling by a factor, which has to follow the size."""

from __future__ import annotations

import pytest
import torch
from segplug_mmseg.exportable import make_exportable

SIZES = [(8, 8), (5, 7), (1, 12), (33, 2)]


@pytest.fixture(scope="module")
def upsample(wrappers):
    return wrappers.Upsample


@pytest.mark.parametrize(
    "options",
    [
        {"scale_factor": 2},
        {"scale_factor": 4.0, "mode": "bilinear", "align_corners": False},
        {"scale_factor": 1.5, "mode": "bilinear", "align_corners": True},
        {"scale_factor": 1.1},
        {"size": (9, 10), "mode": "bilinear"},
    ],
)
@pytest.mark.parametrize("size", SIZES)
def test_gives_mmsegs_numbers(size, options, upsample):
    module, x = upsample(**options), torch.randn(2, 3, *size)
    torch.testing.assert_close(make_exportable(module)(x), module(x), rtol=0, atol=0)


@pytest.mark.parametrize("factor", [2, 0.5, 1.5])
def test_one_exported_program_follows_the_size(factor, upsample):
    module = upsample(scale_factor=factor, mode="bilinear", align_corners=False)
    any_size = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        make_exportable(module),
        (torch.zeros(2, 3, 20, 26),),
        dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},),
    ).module()
    for shape in [(2, 3, 20, 26), (1, 3, 33, 9)]:
        x = torch.randn(shape)
        torch.testing.assert_close(program(x), module(x), rtol=1e-5, atol=1e-6)


def test_a_factor_that_no_formula_gives_is_refused_where_the_size_is_free(upsample):
    any_size = torch.export.Dim.DYNAMIC
    with pytest.raises(Exception, match=r"enlarged by 1\.1"):
        torch.export.export(
            make_exportable(upsample(scale_factor=1.1)),
            (torch.zeros(2, 3, 20, 26),),
            dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},),
        )
