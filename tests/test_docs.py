"""What the documents show works: every command parses, every link leads somewhere, every hook is told of."""

from __future__ import annotations

import json
import re
import shlex
import zipfile
from pathlib import Path

import click
import pytest

from segplug.cli.root import root
from segplug.groups import HOOKS
from segplug.versions import CHANGES_PAGE, HOOK_VERSIONS

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    path
    for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("plugins/*/README.md"))
    if path.is_file()
)
FOLDERS = {
    "segformer-b0": {"architectures": ["SegformerForSemanticSegmentation"], "model_type": "segformer"},
    "net": {"_model_class": "Unet"},
}
"""The folders of save_pretrained that the documents name, with their config.json."""

FILES = {"net.pt": ("constants.pkl", "code/net.py"), "net.pt2": ("archive_format", "models/model.json")}
"""The files of PyTorch that the documents name as models, with the entries that say what they are."""


def commands(document: Path) -> list[str]:
    """The ``segplug`` commands in a document's shell blocks and indented examples."""
    text = document.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```(?:shell|bash)\n(.*?)^```|((?:^    .*\n)+)", text, re.DOTALL | re.MULTILINE)
    lines = [line.strip().removeprefix("$ ") for pair in blocks for line in "".join(pair).splitlines()]
    found = [line.split(" # ")[0] for line in lines if line.startswith("segplug ")]
    return [line for line in found if "..." not in line]


SHOWN = [(document.relative_to(ROOT), command) for document in DOCUMENTS for command in commands(document)]


def test_there_are_commands_to_check() -> None:
    assert len(SHOWN) >= 5


@pytest.mark.parametrize(("document", "line"), SHOWN, ids=[command[:60] for _, command in SHOWN])
def test_a_shown_command_parses(
    document: Path, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A name without a suffix is a model only if it is a folder.
    for folder, config in FOLDERS.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for name, entries in FILES.items():
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for entry in entries:
                archive.writestr(f"net/{entry}", "")
    monkeypatch.chdir(tmp_path)
    command: click.Command = root
    arguments = shlex.split(line)[1:]
    context = click.Context(root, info_name="segplug")
    while isinstance(command, click.Group):
        name, found, arguments = command.resolve_command(context, arguments)
        assert found is not None, name
        command = found
        context = click.Context(command, parent=context, info_name=name)
    if "--help" not in arguments:
        command.make_context(command.name, arguments)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (document.parent / target).exists()]
    assert not missing


def test_every_hook_is_documented() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert all(f"`{hook}`" in text for hook in HOOKS)


def test_the_page_of_changes_has_every_hook_with_its_version() -> None:
    text = (ROOT / CHANGES_PAGE).read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", text, re.MULTILINE))
    assert rows == {hook: str(versions.current) for hook, versions in HOOK_VERSIONS.items()}
    for versions in HOOK_VERSIONS.values():
        assert set(versions.changes) == set(range(2, versions.current + 1))
        assert all(f"## Version {version} " in text for version in versions.changes)


def test_every_flag_is_explained() -> None:
    from segplug.cli.commands import target_command
    from segplug.registry.discovery import entries
    from segplug.registry.registry import Registry

    for hook in HOOKS:
        for entry in entries(hook):
            command = target_command(Registry().load(entry))
            options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
            silent = [option.name for option in options if not option.help]
            assert not silent, (hook, entry.target)
