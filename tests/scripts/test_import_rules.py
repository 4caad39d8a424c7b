"""The linter refuses a plugin that imports a module of segplug which is not public."""

from __future__ import annotations

from pathlib import Path

import grimp
import pytest

from scripts.import_rules import PublicModulesContract, public_modules

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "public-api.md"


def check(graph: grimp.ImportGraph, page: Path) -> dict:
    contract = PublicModulesContract(
        name="public", session_options={}, contract_options={"page": str(page), "core": "segplug"}
    )
    found = contract.check(graph, verbose=False)
    assert found.kept == (not any(found.metadata.values()))
    return found.metadata


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "public.md"
    path.write_text("| module | what |\n| --- | --- |\n| `segplug` | all |\n| `segplug.engine` | engines |\n")
    return path


@pytest.fixture
def graph() -> grimp.ImportGraph:
    graph = grimp.ImportGraph()
    for module in ("segplug", "segplug.engine", "segplug.private", "segplug_acme", "segplug_acme.engine"):
        graph.add_module(module)
    graph.add_import(importer="segplug_acme.engine", imported="segplug.engine")
    graph.add_import(importer="segplug.engine", imported="segplug.private")
    return graph


def test_public_modules_may_be_imported(graph: grimp.ImportGraph, page: Path) -> None:
    assert check(graph, page) == {"missing": [], "private": []}


def test_other_modules_may_not(graph: grimp.ImportGraph, page: Path) -> None:
    graph.add_import(importer="segplug_acme.engine", imported="segplug.private")
    assert check(graph, page)["private"] == [("segplug_acme.engine", "segplug.private")]


def test_a_listed_module_must_exist(graph: grimp.ImportGraph, page: Path) -> None:
    graph.remove_module("segplug.engine")
    assert check(graph, page)["missing"] == ["segplug.engine"]


def test_a_page_without_a_list_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.md").write_text("nothing\n")
    with pytest.raises(ValueError, match="lists no modules"):
        public_modules(tmp_path / "empty.md")


def test_the_documents_list_the_contract() -> None:
    assert {"segplug.hookspecs", "segplug.requests", "segplug.results", "segplug.session"} <= public_modules(
        PAGE
    )
