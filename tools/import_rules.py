"""The contract type `allowed` of import-linter: the complete list of what a package may import.

import-linter's own `forbidden` names what is not allowed, so a dependency added later is allowed
everywhere until somebody remembers the lists. Here it is the other way round: apart from itself and
the standard library, a package imports what its list has and nothing else, directly. What those
import in turn is ruled by their own lists.
"""

from __future__ import annotations

import sys
from typing import cast

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


def within(module: str, package: str) -> bool:
    """Whether the dotted name `module` is `package` or lies inside it."""
    return module == package or module.startswith(f"{package}.")


class AllowedContract(Contract):
    """Options: `packages` (whom the rule is for), `may_import` (packages or modules; optional)."""

    type_name = "allowed"

    packages = fields.ListField(subfield=fields.StringField())
    may_import = fields.ListField(subfield=fields.StringField(), required=False, default=[])

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Broken by every direct import that is not on the list, and by a package that is gone."""
        # By now import-linter has put the configured values in the fields' places.
        packages = cast("list[str]", self.packages)
        illegal: list[str] = []
        for package in packages:
            if package not in graph.modules:
                illegal.append(f"{package} does not exist: take it out of the rule")
                continue
            for importer in sorted({package, *graph.find_descendants(package)}):
                for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                    if not self._is_allowed(package, imported):
                        lines = graph.get_import_details(importer=importer, imported=imported)
                        numbers = ", ".join(str(line["line_number"]) for line in lines)
                        illegal.append(f"{importer} imports {imported} (line {numbers})")
        return ContractCheck(kept=not illegal, metadata={"illegal": illegal})

    def _is_allowed(self, package: str, imported: str) -> bool:
        root = package.partition(".")[0]
        if imported == root or imported.partition(".")[0] in sys.stdlib_module_names:
            return True  # the root holds the version and is imported with any part of it
        may_import = cast("list[str]", self.may_import)
        return any(within(imported, name) for name in (package, *may_import))

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One line for each import."""
        for line in check.metadata["illegal"]:
            output.print_error(f"- {line}", bold=False)
        output.new_line()
