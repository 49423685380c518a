"""The contract type `allowed` that pyproject.toml's import rules are written in."""

from __future__ import annotations

from grimp import ImportGraph

from tools.import_rules import AllowedContract


def graph(*imports: tuple[str, str]) -> ImportGraph:
    """A graph of the modules of a package `app`, and of what is outside, with these imports."""
    built = ImportGraph()
    for module in ("app", "app.core", "app.core.rules", "app.edge"):
        built.add_module(module)
    for line, (importer, imported) in enumerate(imports, start=1):
        if imported not in built.modules:
            built.add_module(imported, is_squashed=True)
        built.add_import(
            importer=importer, imported=imported, line_number=line, line_contents="import"
        )
    return built


def illegal(checked: ImportGraph, package: str, may_import: list[str]) -> list[str]:
    contract = AllowedContract(
        name="rule",
        session_options={"root_packages": ["app"]},
        contract_options={"packages": [package], "may_import": may_import},
    )
    check = contract.check(checked, verbose=False)
    lines: list[str] = check.metadata["illegal"]
    assert check.kept is (not lines)
    return lines


def test_itself_its_root_the_standard_library_and_the_list_are_allowed() -> None:
    checked = graph(
        ("app.core", "app.core.rules"),
        ("app.core.rules", "app"),
        ("app.core.rules", "hashlib"),
        ("app.core.rules", "numpy"),
    )
    assert illegal(checked, "app.core", ["numpy"]) == []


def test_any_other_import_is_named_with_its_line() -> None:
    checked = graph(("app.core", "numpy"), ("app.core.rules", "app.edge"))
    assert illegal(checked, "app.core", []) == [
        "app.core imports numpy (line 1)",
        "app.core.rules imports app.edge (line 2)",
    ]


def test_a_name_that_merely_begins_alike_is_another_package() -> None:
    checked = graph(("app.core", "numpydoc"))
    assert illegal(checked, "app.core", ["numpy"]) == ["app.core imports numpydoc (line 1)"]


def test_what_other_packages_import_is_their_own_matter() -> None:
    checked = graph(("app.edge", "torch"), ("app.core", "app.edge"))
    assert illegal(checked, "app.core", ["app.edge"]) == []


def test_a_rule_for_a_package_that_is_gone_is_broken() -> None:
    [line] = illegal(graph(), "app.cores", [])
    assert line.startswith("app.cores does not exist")
