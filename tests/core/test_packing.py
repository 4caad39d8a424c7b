"""Exporters that pack what is there for a server, and commands that plugins bring."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segplug import Segplug
from segplug.cli.root import run_command_line as main
from segplug.errors import PluginError, UsageError
from segplug.installed import Entry
from segplug.registry.loading import load_command

PACKER = """
    from dataclasses import dataclass
    from segplug import ModelMeta, hookimpl, option
    from segplug.errors import UsageError
    from segplug.providers import Packer

    @dataclass(frozen=True)
    class Options:
        model_name: str = option("m", help="Its name.")

    class Shelf(Packer[Options]):
        '''Packs.'''
        hook_version = 2
        options = Options
        takes = "{takes}"

        @hookimpl
        def export(self, request):
            name = request.options.model_name
            if (request.destination / name).exists() and not request.force:
                raise UsageError(f"{{request.destination / name}} already exists", hint="--force replaces it")
            path = request.output / name
            path.mkdir()
            (path / "model").write_bytes(request.file.read_bytes())
            return request.made(path, ModelMeta(name="m"))

    provider = Shelf()
"""


@pytest.fixture
def shelf(install_plugin):
    install_plugin(
        "shelf",
        {"segplug.export": {"shelf": "shelf_mod:provider"}},
        shelf_mod=PACKER.format(takes="artifact"),
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"weights")
    return path


def test_an_artifact_is_packed_into_a_folder_that_is_made(shelf, model, tmp_path, capsys) -> None:
    store = tmp_path / "store"
    assert (
        main(["run", "export", "shelf", str(model), "--output-folder", str(store), "--model-name", "fcn"])
        == 0
    )
    assert (store / "fcn" / "model").read_bytes() == b"weights"
    assert f"wrote {store / 'fcn'}" in capsys.readouterr().out
    again = ["run", "export", "shelf", str(model), "--output-folder", str(store), "--model-name", "fcn"]
    assert main(again) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*again, "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["artifact"]["size"] == 7


def test_a_failed_pack_leaves_no_folder(shelf, model, tmp_path, capsys) -> None:
    assert (
        main(["run", "export", "shelf", str(tmp_path / "gone.onnx"), "--output", str(tmp_path / "store")])
        == 2
    )
    assert "there is no file" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_a_packer_has_no_flags_of_tracing(shelf, model, tmp_path, capsys) -> None:
    for flag in (["--shape", "64", "64"], ["--verify"], ["--checkpoint", "x.pth"]):
        arguments = ["run", "export", "shelf", str(model), "--output-folder", str(tmp_path / "s"), *flag]
        assert main(arguments) == 2, flag
        assert "No such option" in capsys.readouterr().err


def test_a_packer_and_an_exporter_are_not_taken_for_each_other(shelf, model, tmp_path) -> None:
    session = Segplug()
    with pytest.raises(UsageError, match="pack"):
        session.export("shelf", None, output=tmp_path / "x")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="does not pack"):
        session.pack("onnx", model, folder=tmp_path / "x")


def test_weights_go_with_a_config_only(install_plugin, model, tmp_path, capsys) -> None:
    install_plugin(
        "shelf",
        {"segplug.export": {"shelf": "shelf_mod:provider"}},
        shelf_mod=PACKER.format(takes="either"),
    )
    arguments = [
        "run",
        "export",
        "shelf",
        str(model),
        "--output-folder",
        str(tmp_path / "s"),
        "--checkpoint",
        "w",
    ]
    assert main(arguments) == 2
    assert "are for a config" in capsys.readouterr().err


COMMAND = """
    import click

    @click.command()
    @click.argument("word")
    def command(word):
        '''Says a word.'''
        click.echo(f"said {word}")
        return 3
"""


def test_a_plugin_brings_a_command_of_its_own(install_plugin, capsys) -> None:
    install_plugin("say", {"segplug.command": {"say": "say_mod:command"}}, say_mod=COMMAND)
    assert main(["say", "hello"]) == 3
    assert "said hello" in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert "say" in capsys.readouterr().out
    assert main(["say"]) == 2
    assert "WORD" in capsys.readouterr().err
    assert main(["plugins", "list", "--check", "--json"]) in (0, 1)
    listed = {entry["target"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert listed["say"]["status"] == "available"
    assert main(["plugins", "show", "say"]) == 0
    assert "Says a word" in capsys.readouterr().out


def test_a_broken_command_breaks_nothing_else(install_plugin, capsys) -> None:
    install_plugin("say", {"segplug.command": {"say": "say_mod:command"}}, say_mod="import nowhere_at_all")
    assert main(["--help"]) == 0
    capsys.readouterr()
    assert main(["say"]) == 1
    assert "nowhere_at_all" in capsys.readouterr().err


def test_a_command_is_a_click_command(install_plugin) -> None:
    install_plugin("say", {"segplug.command": {"say": "say_mod:command"}}, say_mod="command = 3")
    entry = Entry("command", "say", "say_mod:command", "say", "1.0", "")
    with pytest.raises(PluginError, match="no click command"):
        load_command(entry)


def test_two_plugins_do_not_share_a_command(install_plugin, capsys) -> None:
    for name in ("one", "two"):
        install_plugin(name, {"segplug.command": {"say": f"{name}_mod:command"}}, **{f"{name}_mod": COMMAND})
    assert main(["say", "x"]) == 1
    assert "claimed by one:say and two:say" in capsys.readouterr().err


def test_an_unknown_command_is_named(capsys) -> None:
    assert main(["srve"]) == 2
    assert "no command 'srve'" in capsys.readouterr().err
