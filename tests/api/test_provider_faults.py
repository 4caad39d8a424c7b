"""Faults of a provider that would only show later are named at once, and so are those of a caller."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from segplug import ModelMeta, SegmentationModel, Segplug
from segplug.cli.root import run_command_line
from segplug.errors import PluginError, UsageError
from segplug.preprocessing import usual_steps

META = ModelMeta("m", preprocessing=usual_steps((1, 2, 3), (1, 1, 1)))
NETWORK = SimpleNamespace(state_dict=dict)
MODEL = SegmentationModel(module=NETWORK, meta=META, exportable=lambda: None)  # type: ignore[arg-type,return-value]

EXPORTER = """
    from dataclasses import dataclass
    from segplug import hookimpl, option
    from segplug.providers import Exporter

    @dataclass(frozen=True)
    class Options:
        writes: bool = option(True, help="Write metadata.")
        other: bool = option(False, help="Write other metadata than is returned.")

    class Toy(Exporter[Options]):
        hook_version = 2
        %s

        @hookimpl
        def export(self, request):
            request.output.write_text("model")
            meta = request.model.meta
            if request.options.writes:
                written = meta.replace(preprocessing=()) if request.options.other else meta
                self.write_meta(request.output, written)
            return request.made(meta)

    provider = Toy()
"""


@pytest.fixture
def install(install_plugin):
    def install(line: str = "options = Options") -> Segplug:
        install_plugin("acme", {"segplug.export": {"toy": "acme:provider"}}, acme=EXPORTER % line)
        return Segplug()

    return install


@pytest.mark.parametrize("options", [{"writes": False}, {"other": True}], ids=["none", "other"])
def test_metadata_that_is_not_in_the_artifact(install, tmp_path: Path, options: dict[str, bool]) -> None:
    with pytest.raises(PluginError, match=r"export toy .* returned metadata that it did not write") as raised:
        install().export("toy", MODEL, output=tmp_path / "m.toy", **options)
    assert raised.value.hint == "self.write_meta(request.output, meta)"
    assert not (tmp_path / "m.toy").exists()


def test_options_that_the_class_names_and_does_not_declare(install, tmp_path: Path) -> None:
    with pytest.raises(
        PluginError, match="names Options as its options, and does not say 'options = Options'"
    ):
        install("").export("toy", MODEL, output=tmp_path / "m.toy")


def test_a_flag_that_segplug_has_itself(install, capsys) -> None:
    install("options = Options; output_flags = ('--force',)")
    assert run_command_line(["run", "export", "toy", "--help"]) == 1
    assert "is broken: it declares a flag of segplug's own: --force" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [64, (64,), (0, 64), (64.0, 64), (64, 64, 64), "64"])
def test_a_shape_is_two_sizes(install, tmp_path: Path, shape: object) -> None:
    with pytest.raises(UsageError, match=r"a shape is \(height, width\) in pixels, not "):
        install().export("toy", MODEL, output=tmp_path / "m.toy", shape=shape)


def test_a_manifest_is_written_for_a_named_distribution(capsys) -> None:
    assert run_command_line(["plugins", "manifest"]) == 2
    assert "name the distribution that you develop" in capsys.readouterr().err
