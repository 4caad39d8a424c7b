"""The exportable copy shares weights, leaves the original alone, and finds the form of each part."""

from __future__ import annotations

import copy
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from segplug_torch.exportable import make_exportable
from segplug_torch.exportable.registry import (
    CONTEXTS,
    METHOD_FORMS,
    PREPARATIONS,
    form_of,
    function_form,
    method_form,
    preparation,
    run_inside,
)
from torch import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.AdaptiveAvgPool2d(3)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.tied = self.conv

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.norm(self.conv(image))).flatten(2).transpose(1, 2)
        return self.attention(x, x, x)[0]


def test_weights_and_buffers_are_shared_under_their_names():
    net = Net()
    exportable = make_exportable(net)
    ours, theirs = exportable.state_dict(), net.state_dict()
    assert list(ours) == list(theirs)
    assert all(ours[name].data_ptr() == theirs[name].data_ptr() for name in theirs)
    assert exportable.tied is exportable.conv
    with torch.no_grad():
        net.conv.weight.add_(1)
    torch.testing.assert_close(exportable.conv.weight, net.conv.weight)


def test_the_original_is_left_as_it_was():
    net = Net().train()
    before = {name: set(part.__dict__) for name, part in net.named_modules()}
    weights = copy.deepcopy(net.state_dict())
    exportable = make_exportable(net)
    exportable(torch.randn(2, 3, 20, 21))
    assert {name: set(part.__dict__) for name, part in net.named_modules()} == before
    assert all(part.training for part in net.modules())
    assert not any(part.training for part in exportable.modules())
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert not any(parameter.requires_grad for parameter in exportable.parameters())
    torch.testing.assert_close(net.state_dict(), weights, rtol=0, atol=0)


def test_answers_are_equal_and_a_copy_of_a_copy_works():
    net = Net().eval()
    image = torch.randn(2, 3, 20, 21)
    expected = net(image)
    exportable = make_exportable(net)
    for candidate in (exportable, make_exportable(exportable), copy.deepcopy(exportable)):
        torch.testing.assert_close(candidate(image), expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(candidate(image=image), expected, rtol=1e-5, atol=1e-6)


class Doubling(nn.Module):
    def forward(self, x):
        return x * 2


def test_a_subclass_with_its_own_forward_keeps_it(monkeypatch):
    def doubled(self, x):
        return x + x

    monkeypatch.setitem(METHOD_FORMS, f"{Doubling.__module__}.{Doubling.__qualname__}", doubled)

    class Same(Doubling):
        pass

    class Other(Doubling):
        def forward(self, x):
            return x

    assert form_of(Same()) is form_of(Doubling()) is doubled
    assert form_of(Other()) is None
    assert form_of(nn.ReLU()) is None


def test_a_second_form_for_the_same_thing_is_refused(monkeypatch):
    monkeypatch.setitem(METHOD_FORMS, "package.module.Class", lambda self: None)
    with pytest.raises(ValueError, match=r"two exportable forms for package\.module\.Class"):
        method_form("package.module.Class")(lambda self, *args: None)
    with pytest.raises(ValueError, match="two exportable forms"):
        function_form(F.adaptive_avg_pool2d)(lambda *args: None)


class Switched(nn.Module):
    """Asks a buffer for its value, which an export does not know."""

    def __init__(self):
        super().__init__()
        self.switch = nn.Buffer(torch.tensor([0.0, 1.0]))

    def forward(self, x):
        return x * 2 if self.switch[1] > 0 else x


def test_a_preparation_reads_numbers_that_an_export_sees_only_as_tensors(monkeypatch):
    name = f"{Switched.__module__}.{Switched.__qualname__}"
    monkeypatch.delitem(PREPARATIONS, name, raising=False)

    @preparation(name)
    def read(self):
        vars(self)["switch"] = dict(self.named_buffers())["switch"].tolist()

    class Inherited(Switched):
        pass

    for network in (Switched(), nn.Sequential(Inherited())):
        exportable, x = make_exportable(network), torch.ones(2)
        program = torch.export.export(exportable, (x,)).module()
        for candidate in (exportable, program, make_exportable(exportable)):
            torch.testing.assert_close(candidate(x), 2 * x)
        assert list(exportable.state_dict()) == list(network.state_dict())
        assert not any("switch" in vars(part) for part in network.modules())
    with pytest.raises(ValueError, match="two preparations for"):
        preparation(name)(read)
    monkeypatch.delitem(PREPARATIONS, name)
    with pytest.raises(Exception, match="data-dependent"):
        torch.export.export(make_exportable(Switched()), (torch.ones(2),))


def test_an_exportable_network_runs_inside_the_registered_contexts():
    entered: list[str] = []

    @contextmanager
    def noted():
        entered.append("in")
        yield
        entered.append("out")

    run_inside(noted)
    try:
        exportable = make_exportable(Doubling())
        assert entered == []
        exportable(torch.ones(1))
        assert entered == ["in", "out"]
        Doubling()(torch.ones(1))
        assert entered == ["in", "out"]
    finally:
        CONTEXTS.remove(noted)
