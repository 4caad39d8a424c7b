"""What is made becomes visible as a whole, once everything has agreed; else nothing has changed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segplug import ModelMeta, SegmentationModel, Segplug
from segplug.cli.root import run_command_line
from segplug.errors import ArtifactError, PluginError, RefusedError, UsageError
from tests.api.toys import install_signer, install_toys

MODEL = SegmentationModel(
    module=SimpleNamespace(state_dict=dict),  # type: ignore[arg-type]
    meta=ModelMeta(name="m", classes=("a", "b"), out_channels=2),
    exportable=lambda: None,
)

Make = Callable[..., Any]
MAKERS: dict[str, Make] = {
    "export": lambda sp, work, **given: sp.export("toy", MODEL, output=work / "m.toy", **given),
    "build_engine": lambda sp, work, **given: sp.build_engine(
        "toyengine", work / "in.toy", output=work / "m.eng", **given
    ),
    "pack": lambda sp, work, **given: sp.pack("shelf", work / "in.toy", folder=work / "store", **given),
    "convert_weights": lambda sp, work, **given: sp.convert_weights(
        "toyweights", work / "in.pth", work / "out.pth", **given
    ),
}

each = pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))


@pytest.fixture(autouse=True)
def toys(install_plugin) -> Any:
    return install_toys(install_plugin)


@pytest.fixture
def signer(install_plugin) -> Any:
    return install_signer(install_plugin)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with inputs."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "in.toy").write_text("1.0")
    (folder / "in.pth").write_text("weights")
    return folder


def content(folder: Path) -> dict[str, str | None]:
    """Every file and folder in it, hidden ones included, with the text of the files."""
    return {
        path.relative_to(folder).as_posix(): path.read_text() if path.is_file() else None
        for path in folder.rglob("*")
    }


def using(**options: Any) -> Segplug:
    return Segplug(addon_options={"signer": options})


@each
def test_what_an_add_on_refuses_leaves_the_older_one_as_it_was(make: Make, signer, work) -> None:
    make(Segplug(), work, data=True)
    before = content(work)
    assert any(name.endswith(".sig") for name in before)
    assert any(name.endswith(".data") for name in before)
    with pytest.raises(RefusedError, match="not this one"):
        make(using(refuse=True), work, text="2.0", force=True)
    (first, second) = signer.seen
    assert first[0].name == second[0].name, "it was made before it was refused"
    assert content(work) == before


@each
def test_what_an_add_on_refuses_leaves_nothing(make: Make, signer, work) -> None:
    before = content(work)
    with pytest.raises(RefusedError, match="not this one"):
        make(using(refuse=True), work, data=True)
    assert content(work) == before


@each
@pytest.mark.parametrize(("fail", "error"), [("bug", KeyError), ("the disk is gone", ArtifactError)])
@pytest.mark.parametrize("older", [True, False])
def test_what_fails_midway_changes_nothing(make: Make, signer, work, fail, error, older) -> None:
    if older:
        make(Segplug(), work, data=True)
    before = content(work)
    with pytest.raises(error, match=fail):
        make(Segplug(), work, text="2.0", data=True, force=True, fail=fail)
    assert content(work) == before


@each
def test_without_force_the_older_one_stays(make: Make, work, toys) -> None:
    make(Segplug(), work)
    before = content(work)
    with pytest.raises(UsageError, match="already exists"):
        make(Segplug(), work, text="2.0")
    assert content(work) == before
    assert [request.options.text for request in toys.requests] == ["1.0"], "refused before the work"


@pytest.mark.parametrize("name", MAKERS)
def test_with_force_all_parts_are_replaced_together(name: str, signer, work, tmp_path) -> None:
    make = MAKERS[name]
    fresh = Path(shutil.copytree(work, tmp_path / "fresh"))
    make(using(sign=False), fresh, text="2.0")
    # Nothing tells which files an older checkpoint has beside it: a converter makes one.
    make(Segplug(), work, data=name != "convert_weights")
    assert len(content(work)) > len(content(fresh))
    make(using(sign=False), work, text="2.0", force=True)
    assert content(work) == content(fresh), "neither the older data nor the older signature is left"


@each
def test_a_hook_writes_out_of_sight(make: Make, signer, toys, work) -> None:
    made = make(Segplug(), work)
    (request,) = toys.requests
    ((staged, _, _),) = signer.seen
    final = made.path if hasattr(made, "path") else made.destination
    assert staged.name == final.name
    assert staged != final
    assert not staged.exists()
    assert final.exists()
    assert request.destination in (final, final.parent)
    assert request.output.is_absolute()


def hashed(folder: Path, *names: str) -> str:
    lines = [
        f"{name}\0{hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n" for name in sorted(names)
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_one_file_has_its_own_hash(work) -> None:
    made = Segplug().export("plain", MODEL, output=work / "m.plain")
    assert made.path == work / "m.plain"
    assert (made.files, made.attached, made.size) == (("m.plain",), (), 5)
    assert made.sha256 == hashlib.sha256(b"plain").hexdigest()
    assert (made.format, made.meta) == ("plain", MODEL.meta)
    assert made.call is not None
    assert (made.call.hook, made.call.target, made.call.distribution) == ("export", "plain", "toys")


def test_all_parts_are_counted_the_main_file_first(work) -> None:
    made = Segplug().export("toy", MODEL, output=work / "z.toy", data=True)
    assert made.files == ("z.toy", "z.toy.data", "z.toy.json")
    assert made.size == sum((work / name).stat().st_size for name in made.files)
    assert made.sha256 == hashed(work, *made.files)


def test_the_parts_of_a_package_are_the_files_in_it(work) -> None:
    made = Segplug().pack("shelf", work / "in.toy", folder=work / "store", data=True)
    assert made.path == work / "store" / "toy"
    assert made.files == ("toy/model", "toy/model.data")
    assert made.sha256 == hashed(work / "store", *made.files)


@each
def test_a_signature_beside_it_goes_with_it(make: Make, signer, work) -> None:
    plain = make(using(sign=False), work)
    signed = make(Segplug(), work, force=True)
    final = signed.path if hasattr(signed, "path") else signed.destination
    assert final.with_name(final.name + ".sig").read_text() == f"signed {final.name}"
    if hasattr(signed, "attached"):
        assert (plain.attached, signed.attached) == ((), (f"{final.name}.sig",))
        assert (signed.files, signed.size, signed.sha256) == (plain.files, plain.size, plain.sha256)
        assert signer.seen[1][1] == signed.sha256, "what an add-on signs is the hash in the end"


def test_an_add_on_that_changes_the_file_changes_its_hash(signer, work) -> None:
    made = using(tamper=True, sign=False).export("plain", MODEL, output=work / "m.plain")
    assert (work / "m.plain").read_text() == "plain "
    assert (made.size, made.sha256) == (6, hashlib.sha256(b"plain ").hexdigest())


@pytest.mark.parametrize("name", ["export", "build_engine", "pack"])
def test_discard_removes_all_of_it(name: str, signer, work) -> None:
    before = content(work)
    made = MAKERS[name](Segplug(), work, data=True)
    if name == "pack":
        (work / "store" / "other").write_text("another model")
        before |= {"store": None, "store/other": "another model"}
    made.discard()
    assert content(work) == before
    made.discard()  # what is not there is no error


def test_an_exporter_that_writes_nothing_is_an_error(work) -> None:
    before = content(work)
    with pytest.raises(ArtifactError, match=r"nothing was written for .*m\.nothing"):
        Segplug().export("nothing", MODEL, output=work / "m.nothing")
    with pytest.raises(PluginError, match=r"export elsewhere .*not at request\.output"):
        Segplug().export("elsewhere", MODEL, output=work / "m.elsewhere")
    assert content(work) == before


def test_another_file_at_the_place_of_a_part_needs_force(work) -> None:
    (work / "m.toy.data").write_text("mine")
    before = content(work)
    with pytest.raises(UsageError, match=r"m\.toy\.data already exists"):
        Segplug().export("toy", MODEL, output=work / "m.toy", data=True)
    assert content(work) == before
    Segplug().export("toy", MODEL, output=work / "m.toy", data=True, force=True)
    assert (work / "m.toy.data").read_text() == "data of 1.0"


def test_a_converter_that_adds_to_the_name(signer, work) -> None:
    (work / "out.pth").write_text("mine")
    report = Segplug().convert_weights("published", work / "in.pth", work / "out.pth", text="a1")
    assert report.destination == work / "out-a1.pth"
    assert (work / "out-a1.pth.sig").exists()
    before = content(work)
    assert before["out.pth"] == "mine"
    with pytest.raises(UsageError, match=r"out-a1\.pth already exists"):
        Segplug().convert_weights("published", work / "in.pth", work / "out.pth", text="a1")
    with pytest.raises(RefusedError):
        using(refuse=True).convert_weights("published", work / "in.pth", work / "out.pth", text="b2")
    assert content(work) == before
    using(sign=False).convert_weights("published", work / "in.pth", work / "out.pth", text="a1", force=True)
    assert content(work).keys() == before.keys() - {"out-a1.pth.sig"}


def test_the_command_line_reports_the_final_place(signer, work, capsys) -> None:
    command = ["run", "export", "toy", "toys:m", "--output", str(work / "m.toy")]
    assert run_command_line([*command, "--json"]) == 0
    printed = capsys.readouterr()
    assert f"wrote {work / 'm.toy'} (" in printed.err
    shown = json.loads(printed.out)["artifact"]
    assert shown["path"] == str(work / "m.toy")
    assert (shown["files"], shown["attached"]) == (["m.toy", "m.toy.json"], ["m.toy.sig"])
    assert shown["sha256"] == hashed(work, *shown["files"])
    assert (shown["call"]["hook"], shown["call"]["target"], shown["call"]["parent"]) == (
        "export",
        "toy",
        None,
    )
    before = content(work)
    refused = [*command, "--force", "--text", "2.0", "--addon-options", "signer.refuse=true"]
    assert run_command_line(refused) == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err.splitlines()[-1]) == ("", "error: not this one")
    assert content(work) == before
