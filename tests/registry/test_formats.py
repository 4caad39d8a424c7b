"""Which backends open a file, and what leads from a model to a file that a backend opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from segplug.errors import UsageError
from segplug.registry.formats import backends_for, route_to
from segplug.registry.registry import Registry

ACME = """
    from segplug import hookimpl

    class Compiler:
        api_version = 1
        takes = "artifact"
        reads = ("onnx",)
        suffix = ".npu"

        @hookimpl
        def build_engine(self, request): ...

    class Engine:
        api_version = 1
        takes = "artifact"
        reads = ("acme",)

        @hookimpl
        def infer(self, request): ...

    class Other:
        api_version = 1
        takes = "artifact"

        @hookimpl
        def infer(self, request): ...

    class Server:
        api_version = 1
        takes = "url"

        @hookimpl
        def infer(self, request): ...

    compiler, engine, other, server = Compiler(), Engine(), Other(), Server()
"""


@pytest.fixture
def registry(install_plugin) -> Registry:
    groups = {
        "segplug.build_engine": {"acme": "acme:compiler"},
        "segplug.infer": {"npu": "acme:engine", "other": "acme:other", "acme-server": "acme:server"},
    }
    install_plugin("acme", groups, acme=ACME)
    install_plugin("ill", {"segplug.infer": {"ill": "ill:provider"}}, ill="raise OSError")
    return Registry()


def names(route: tuple) -> list[tuple[str, str]]:
    return [(maker.entry.hook, maker.entry.target) for maker in route]


def route(registry: Registry, backend: str) -> tuple:
    return route_to(registry, registry.provider("infer", backend))


def opened_by(registry: Registry, path: Path) -> tuple[str, ...]:
    return tuple(backend.entry.target for backend in backends_for(registry, path))


def test_a_backend_that_runs_models_needs_nothing_made(registry) -> None:
    assert route(registry, "pytorch") == ()


def test_an_export_is_a_route_and_so_is_an_export_that_is_compiled(registry) -> None:
    assert names(route(registry, "onnxruntime")) == [("export", "onnx")]
    assert names(route(registry, "npu")) == [
        ("export", "onnx"),
        ("build_engine", "acme"),
    ]


def test_what_nobody_makes_is_said(registry) -> None:
    with pytest.raises(UsageError, match="infer other opens other files, and nothing"):
        route(registry, "other")


def test_a_file_is_known_by_its_suffix(registry) -> None:
    assert "onnxruntime" in opened_by(registry, Path("m.ONNX"))
    assert opened_by(registry, Path("m.npu")) == ("npu",)
    assert opened_by(registry, Path("m.other")) == ("other",)
    assert opened_by(registry, Path("m.jpg")) == ()


def test_a_server_has_its_model(registry) -> None:
    with pytest.raises(UsageError, match="has a model already"):
        route(registry, "acme-server")
