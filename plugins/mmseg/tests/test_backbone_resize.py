"""Tables of positions of another size, against mmseg's own loading of pretrained weights."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmseg_support.small_backbones import backbone_of, weights_of, write_config
from scipy.interpolate import make_interp_spline
from scipy.optimize import brentq
from segplug_mmseg.backbone.geometric import stretch
from segplug_mmseg.backbone.resize import resize
from segplug_mmseg.installed import installed_mmseg

from segplug import Segplug
from segplug.errors import MissingDependencyError

BIAS = "relative_position_bias_table"
INDEX = "w_msa.relative_position_index"

# family, what the pretrained network had, what the config has, the tables' sizes
CASES = {
    "vit up": ("vit", {"img_size": (64, 64)}, {"img_size": (160, 160)}, "bicubic, 4x4 to 10x10"),
    "vit down": ("vit", {"img_size": (128, 128)}, {"img_size": (64, 64)}, "bicubic, 8x8 to 4x4"),
    "vit wide": ("vit", {"img_size": (64, 64)}, {"img_size": (48, 112)}, "bicubic, 4x4 to 3x7"),
    "vit bilinear": (
        "vit",
        {"img_size": (64, 64)},
        {"img_size": (96, 80), "interpolate_mode": "bilinear"},
        "bilinear, 4x4 to 6x5",
    ),
    "swin up": ("swin", {"window_size": 7}, {"window_size": 12}, "bicubic, 13x13 to 23x23"),
    "swin down": ("swin", {"window_size": 8}, {"window_size": 5}, "bicubic, 15x15 to 9x9"),
    "beit up": ("beit", {"img_size": (96, 96)}, {"img_size": (160, 160)}, "11x11 to 19x19"),
    "beit far up": ("beit", {"img_size": (48, 48)}, {"img_size": (224, 224)}, "5x5 to 27x27"),
    "beit down": ("beit", {"img_size": (160, 160)}, {"img_size": (64, 64)}, "19x19 to 7x7"),
    "mae up": ("mae", {"img_size": (96, 96)}, {"img_size": (128, 128)}, "11x11 to 15x15"),
}


class Interp2d:
    """What mmseg asks of SciPy's removed ``interp2d``, on a regular grid, from splines of one dimension."""

    def __init__(self, x, y, z, kind):
        assert kind == "cubic"
        self.x, self.y, self.z = x, y, z

    def __call__(self, x, y):
        """Along x, then along y; beyond the grid its edge, as interp2d had it."""
        rows = make_interp_spline(self.x, self.z, k=3, axis=1)(np.clip(x, self.x[0], self.x[-1]))
        return make_interp_spline(self.y, rows, k=3, axis=0)(np.clip(y, self.y[0], self.y[-1]))


@pytest.fixture
def loaded_by_mmseg(tmp_path, monkeypatch):
    """What a config's backbone holds after mmseg has loaded a file of ``state`` into it."""

    def load(config, state):
        network = backbone_of(config)
        from mmseg.models.backbones import beit

        monkeypatch.setattr(beit, "interpolate", SimpleNamespace(interp2d=Interp2d))
        if installed_mmseg().generation == "1.x":  # it fails where it finds an index of another window
            state = {name: tensor for name, tensor in state.items() if not name.endswith(INDEX)}
        torch.save(state, tmp_path / "pretrained.pth")
        network = backbone_of(
            config, init_cfg={"type": "Pretrained", "checkpoint": str(tmp_path / "pretrained.pth")}
        )
        network.init_weights()
        return network.state_dict()

    return load


@pytest.fixture
def pretrained(tmp_path):
    """Seeded weights of a network of ``family``, and the config of another that is to take them."""

    def pretrained(family, before, after):
        state = weights_of(backbone_of(write_config(tmp_path, family, **before)))
        return state, write_config(tmp_path, family, **after)

    return pretrained


@pytest.mark.parametrize("case", CASES)
def test_what_is_loaded_is_what_mmseg_loads(case, pretrained, loaded_by_mmseg):
    family, before, after, how = CASES[case]
    state, config = pretrained(family, before, after)
    given = dict(state)
    result = Segplug().fit_backbone(config, state)
    expected = loaded_by_mmseg(config, state)
    assert result.fits, result
    assert result.state.keys() == expected.keys()
    is_spline = {name: family in ("beit", "mae") and name.endswith(BIAS) for name in expected}
    for name, tensor in expected.items():
        if is_spline[name]:  # FITPACK against other splines: the last digits of float64, rounded to float32
            torch.testing.assert_close(result.state[name], tensor, rtol=1e-6, atol=1e-6)
        else:
            assert torch.equal(result.state[name], tensor), name
    tables = {item.name: item for item in result.resized}
    assert set(tables) == {name for name in state if state[name].shape != expected[name].shape}
    assert any(item.how.endswith(how) for item in tables.values())
    for name, item in tables.items():
        assert (item.before, item.after) == (tuple(state[name].shape), tuple(expected[name].shape))
    assert list(state) == list(given)
    assert all(state[name] is tensor for name, tensor in given.items())
    assert all(result.state[name] is given[name] for name in given if name not in tables)


def test_how_each_is_resized_is_said(pretrained):
    state, config = pretrained("mae", {"img_size": (96, 96)}, {"img_size": (128, 128)})
    said = {item.name: item.how for item in Segplug().fit_backbone(config, state).resized}
    assert said["pos_embed"] == "bicubic, 6x6 to 8x8"
    assert said[f"layers.1.attn.{BIAS}"] == "cubic on a geometric progression, 11x11 to 15x15"
    assert said["layers.1.attn.relative_position_index"] == "the network's own"


def test_the_tokens_of_no_position_are_kept(pretrained):
    for family, name, kept in (
        ("vit", "pos_embed", (slice(None), slice(0, 1))),
        ("mae", "pos_embed", (slice(None), slice(0, 1))),
        ("beit", f"layers.0.attn.{BIAS}", (slice(-3, None),)),
    ):
        state, config = pretrained(family, {"img_size": (96, 96)}, {"img_size": (128, 128)})
        resized = Segplug().fit_backbone(config, state).state
        assert torch.equal(resized[name][kept], state[name][kept]), family


@pytest.mark.parametrize("case", ["vit up", "swin up", "beit up", "mae up"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_resized_in_float32_and_rounded_once(case, dtype, pretrained):
    family, before, after, _ = CASES[case]
    state, config = pretrained(family, before, after)
    half = {name: t.to(dtype) if t.is_floating_point() else t for name, t in state.items()}
    full = {name: t.float() if t.is_floating_point() else t for name, t in half.items()}
    result, expected = Segplug().fit_backbone(config, half), Segplug().fit_backbone(config, full)
    assert result.fits
    assert result.resized == expected.resized
    for name, tensor in expected.state.items():
        assert torch.equal(result.state[name], tensor.to(half[name].dtype)), name


def progression(count, reach):
    """Distances whose steps grow by one ratio and that end at ``reach``, by a root finder."""
    ratio = brentq(lambda r: sum(r**k for k in range(count)) - reach, 1.01, 1.5, xtol=1e-12)
    outwards = np.cumsum(ratio ** np.arange(count))
    return np.concatenate([-outwards[::-1], [0], outwards])


def test_a_bicubic_polynomial_on_the_progression_is_read_at_whole_distances():
    edge, new_edge = 11, 23

    def surface(rows, columns):  # neither symmetric nor separable
        y, x = np.meshgrid(rows / 10, columns / 10, indexing="ij")
        return 1 + x - 2 * y + x**3 * y - 0.5 * x**2 * y**3 + x * y**2

    distances = progression(edge // 2, new_edge // 2)
    heads = [surface(distances, distances), surface(distances, distances).T]
    table = torch.tensor(np.stack([head.ravel() for head in heads], axis=1))
    resized = stretch(table, edge, new_edge).reshape(new_edge, new_edge, 2).numpy()
    whole = np.arange(new_edge) - new_edge // 2
    # The ratio is found to 1e-6, which is what the values at the edge may be off by, and a few times that.
    np.testing.assert_allclose(resized[..., 0], surface(whole, whole), atol=5e-5)
    np.testing.assert_allclose(resized[..., 1], surface(whole, whole).T, atol=5e-5)


def test_an_equal_size_is_left_alone(pretrained, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.interpolate", None)
    for family in ("vit", "swin", "beit", "mae"):
        state, config = pretrained(family, {}, {})
        result = Segplug().fit_backbone(config, state)
        assert result.fits
        assert not result.resized
        assert all(result.state[name] is tensor for name, tensor in state.items())


def test_without_scipy(pretrained, monkeypatch):
    state, config = pretrained("beit", {"img_size": (96, 96)}, {"img_size": (160, 160)})
    monkeypatch.setitem(sys.modules, "scipy.interpolate", None)
    with pytest.raises(MissingDependencyError, match=re.escape('pip install "segplug-mmseg[resize]"')):
        Segplug().fit_backbone(config, state)


@pytest.mark.parametrize(
    ("family", "config", "name", "table"),
    [
        ("vit", {}, "pos_embed", (1, 31, 8)),  # no square and a class token
        ("vit", {}, "pos_embed", (1, 26, 9)),  # another width
        ("vit", {}, "pos_embed", (26, 8)),
        ("vit", {}, "pos_embed", (2, 26, 8)),
        ("vit", {}, "pos_embed", (1, 1, 8)),  # no positions at all
        ("mae", {}, "pos_embed", (1, 31, 8)),
        ("mae", {"img_size": (64, 144)}, "pos_embed", (1, 26, 8)),  # 4x9: mmseg would make 6x6 of them
        ("swin", {}, f"stages.0.blocks.0.attn.w_msa.{BIAS}", (13 * 13, 3)),  # other heads
        ("swin", {}, f"stages.0.blocks.0.attn.w_msa.{BIAS}", (12 * 12, 1)),  # no middle
        ("beit", {}, f"layers.0.attn.{BIAS}", (13 * 13, 2)),  # without the class token's rows
        ("beit", {}, f"layers.0.attn.{BIAS}", (3 * 3 + 3, 2)),  # too small for a cubic
        ("beit", {"img_size": (96, 64)}, f"layers.0.attn.{BIAS}", (13 * 13 + 3, 2)),  # NotImplementedError
        ("mit", {}, "layers.0.0.projection.bias", (4,)),  # no table
    ],
)
def test_what_mmseg_has_no_way_to_resize_stays_of_another_shape(family, config, name, table, tmp_path):
    path = write_config(tmp_path, family, **config)
    state = weights_of(backbone_of(path))
    own = tuple(state[name].shape)
    state[name] = torch.zeros(table)
    result = Segplug().fit_backbone(path, state)
    assert result.misshaped == ((name, table, own),)
    assert not result.resized
    assert not result.fits


def test_a_table_of_integers_is_none(tmp_path):
    network = backbone_of(write_config(tmp_path, "vit"))
    table = torch.zeros(1, 26, 8)
    assert resize(network, "pos_embed", table, network.pos_embed.shape) is not None
    assert resize(network, "pos_embed", table.int(), network.pos_embed.shape) is None


def test_swins_absolute_positions_are_never_resized(pretrained, loaded_by_mmseg):
    """mmseg's own loading ends in an error even at the same size; what it says of another is 'pass'."""
    same, other = {"use_abs_pos_embed": True, "pretrain_img_size": 64}, {"pretrain_img_size": 128}
    state, config = pretrained("swin", same, same)
    assert Segplug().fit_backbone(config, state).fits
    with pytest.raises(ValueError, match="not enough values to unpack"):
        loaded_by_mmseg(config, state)
    state, config = pretrained("swin", same, same | other)
    assert Segplug().fit_backbone(config, state).misshaped == (
        ("absolute_pos_embed", (1, 256, 8), (1, 1024, 8)),
    )
