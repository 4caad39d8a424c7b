"""An import-linter contract: a plugin imports public modules of segplug only.

The public modules are the ones that docs/public-api.md lists.
"""

from __future__ import annotations

import re
from pathlib import Path

import grimp
from importlinter import Contract, ContractCheck, fields, output

__all__ = ["PublicModulesContract", "public_modules"]

_LISTED = re.compile(r"^\| `(segplug[\w.]*)` \|", re.MULTILINE)


def public_modules(page: Path) -> frozenset[str]:
    """The modules in the first column of the page's tables."""
    found = frozenset(_LISTED.findall(page.read_text(encoding="utf-8")))
    if not found:
        raise ValueError(f"{page} lists no modules")
    return found


class PublicModulesContract(Contract):
    """Options: ``page``, the document that lists the modules; ``core``, the package that they belong to."""

    type_name = "public_modules"

    page = fields.StringField()
    core = fields.StringField()

    def check(self, graph: grimp.ImportGraph, verbose: bool) -> ContractCheck:
        core, listed = str(self.core), public_modules(Path(str(self.page)))
        missing = sorted(listed - graph.modules)
        private = sorted(
            (importer, imported)
            for imported in graph.modules
            if imported.split(".")[0] == core and imported not in listed
            for importer in graph.find_modules_that_directly_import(imported)
            if importer.split(".")[0] != core
        )
        return ContractCheck(kept=not (missing or private), metadata={"missing": missing, "private": private})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for module in check.metadata["missing"]:
            output.print_error(f"{self.page} lists {module}, which does not exist")
        for importer, imported in check.metadata["private"]:
            output.print_error(f"{importer} imports {imported}, which {self.page} does not list")
