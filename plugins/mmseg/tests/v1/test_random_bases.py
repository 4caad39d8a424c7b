"""SegNeXt's bases: fixed, the same for each image of a batch, and those that mmseg could draw."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmseg_support.comparing import randomised
from mmseg_support.families_v1 import NEW
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.loader import provider
from segplug_mmseg.random_bases import fix_random_bases

from segplug.progress import QuietReporter
from segplug.requests import LoadModelRequest
from segplug.testing import make_request


def head(**options: object) -> torch.nn.Module:
    import_mmseg()
    from mmseg.models.decode_heads.ham_head import LightHamHead

    settings = {"MD_S": 2, "MD_R": 4, "eval_steps": 7, "rand_init": True, **options}
    norm = {"type": "GN", "num_groups": 4}
    made = LightHamHead(
        ham_channels=16, ham_kwargs=settings, in_channels=[4, 6], in_index=[0, 1], channels=8,
        num_classes=3, norm_cfg=norm,
    )  # fmt: skip
    return randomised(made)


def maps(batch: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch, c, 9 // s, 14 // s, generator=generator) for c, s in [(4, 1), (6, 2)]]


@torch.no_grad()
def test_mmseg_itself_gives_another_answer_each_time():
    network = head()
    assert not torch.equal(network(maps()), network(maps()))


@torch.no_grad()
def test_fixed_bases_give_one_answer_for_any_batch():
    network = head()
    names = list(network.state_dict())
    assert fix_random_bases(network)
    assert list(network.state_dict()) == names
    first = network(maps())
    assert torch.equal(network(maps()), first)
    for index in range(3):
        alone = network([x[index : index + 1] for x in maps()])
        assert (alone[0] - first[index]).abs().max() < 1e-6
    other = head()
    fix_random_bases(other)
    assert torch.equal(other(maps()), first), "drawn with a fixed seed"


@torch.no_grad()
def test_the_answer_is_one_that_mmseg_could_give(monkeypatch):
    fixed = head()
    fix_random_bases(fixed)
    bases = fixed.hamburger.ham.bases
    drawn = head()
    monkeypatch.setattr(
        drawn.hamburger.ham, "_build_bases", lambda batch, *_, **__: bases.repeat(batch, 1, 1)
    )
    assert torch.equal(drawn(maps()), fixed(maps()))


def test_the_state_of_the_random_numbers_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    network = head()
    torch.manual_seed(5)
    fix_random_bases(network)
    assert torch.equal(torch.rand(3), expected)


@torch.no_grad()
def test_bases_that_a_checkpoint_has_are_loaded():
    trained = head(rand_init=False)
    expected = trained(maps())  # the first pass draws the bases that are kept
    state = trained.state_dict()
    assert "hamburger.ham.bases" in state
    network = head(rand_init=False)
    assert not fix_random_bases(network, state)
    network.load_state_dict(state, strict=True)
    assert torch.equal(network(maps()), expected)


class Notes(QuietReporter):
    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_the_user_is_told():
    config, reduced = NEW["segnext"]
    configs = Path(str(import_mmseg().__file__)).parent / ".mim" / "configs"
    reporter = Notes()
    request = make_request(
        LoadModelRequest,
        config=str(configs / config),
        cfg_options=reduced,
        reporter=reporter,
        options=provider.options(),
    )
    model = provider.load_model(request)
    assert len([note for note in reporter.notes if "random bases" in note]) == 1
    assert model.meta.extra["mmseg"]["fixed_bases"] is True


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
