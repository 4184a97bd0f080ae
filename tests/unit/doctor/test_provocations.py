"""docs/findings-proof.md says of each code how it is provoked and which test does it; here that
page is held against the catalogue and the tests.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from server_ext.doctor.checks import CATALOGUE
from server_ext.doctor.repairs.plan import repairable

TESTS = Path(__file__).resolve().parents[2]
PAGE = TESTS.parent / "docs" / "findings-proof.md"
HEADER = ("code", "how it is provoked", "with", "test", "what mends it", "test that mends it")
NONE = "–"


@dataclass(frozen=True)
class Row:
    """A line of the page's table. kind: "real", "stand-in" or "by hand"."""

    code: str
    provoked: str
    kind: str
    tests: tuple[str, ...]
    repair: str
    repaired_by: tuple[str, ...]


def rows_of(page: str) -> list[Row]:
    """The rows, in the page's order; text that breaks the table's form is an AssertionError."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert tuple(cells[0]) == HEADER
    for line in cells:
        assert len(line) == len(HEADER), line
    return [
        Row(code, provoked, kind.partition(":")[0], _named(tests), repair, _named(repaired_by))
        for code, provoked, kind, tests, repair, repaired_by in cells[2:]
    ]


def _named(cell: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`(\S+?\.py::\w+)`", cell))


ROWS = rows_of(PAGE.read_text())
by_code = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.code)


@cache
def parsed(file: str) -> tuple[str, ast.Module]:
    """Source and tree of a file below tests/."""
    source = (TESTS / file).read_text()
    return source, ast.parse(source)


def source_of(test: str) -> str:
    """A test with its decorators, and the tables of its file that it names; "" if there is no such
    test.
    """
    file, _, name = test.partition("::")
    if not (TESTS / file).is_file():
        return ""
    source, tree = parsed(file)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            used = {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}
            parts = [*node.decorator_list, node]
            parts += [other for other in tree.body if used & set(_assigned(other))]
            return "\n".join(ast.get_source_segment(source, part) or "" for part in parts)
    return ""


def _assigned(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    else:
        targets = node.targets if isinstance(node, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def test_every_code_has_one_row_and_no_other_has_one() -> None:
    codes = [row.code for row in ROWS]
    missing = sorted(set(CATALOGUE) - set(codes))
    assert not missing, f"say in docs/findings-proof.md how these are provoked: {missing}"
    assert codes == sorted(CATALOGUE), "in order, once each, and none that does not exist"


@by_code
def test_a_row_says_how_and_by_what(row: Row) -> None:
    assert row.provoked not in ("", NONE)
    assert row.kind in ("real", "stand-in", "by hand")
    assert row.repair
    assert row.tests
    assert not row.repaired_by or row.repair != NONE


@by_code
def test_the_tests_of_a_row_exist_and_are_about_its_code(row: Row) -> None:
    for test in (*row.tests, *row.repaired_by):
        assert source_of(test), f"there is no {test}"
        assert row.code in source_of(test), f"{test} does not name {row.code}"


@by_code
def test_what_is_said_to_be_provoked_is_not_only_facts(row: Row) -> None:
    """A unit test breaks nothing; and what is real is in a container of the image."""
    levels = {test.split("/")[0] for test in row.tests}
    assert levels <= {"engine", "server", "unit"}
    assert (levels == {"unit"}) == (row.kind == "by hand")
    assert "engine" in levels or row.kind != "real"


def said_by_hand(first: str) -> int:
    """How many codes the page's first line says are by hand only."""
    said = re.search(
        r"\b(none|\d+) of the codes (?:is|are) shown by facts made by hand only", first
    )
    assert said is not None, first
    return 0 if said[1] == "none" else int(said[1])


def test_the_page_says_how_many_are_only_by_hand() -> None:
    """In its first line; it is no more and no less than there are."""
    first = next(line for line in PAGE.read_text().splitlines() if line and line[0] != "#")
    assert sum(row.kind == "by hand" for row in ROWS) == said_by_hand(first)


def test_the_first_line_is_read_as_a_person_reads_it() -> None:
    assert said_by_hand("X; 12 of the codes are shown by facts made by hand only.") == 12
    with pytest.raises(AssertionError):
        said_by_hand("Some of the codes are shown by facts made by hand only.")


@by_code
def test_what_is_offered_is_applied_by_a_test(row: Row) -> None:
    """The name of the test is in the page's last column; it sees the finding go."""
    assert row.repaired_by or row.repair == NONE, f"which test applies what mends {row.code}?"


# commands that mend nothing by themselves
ONLY_SHOWN = {
    "GC425": "it shows whose a folder is",
    "GC503": "it asks for an account; the other way, WANDB_MODE=offline, is tested",
}


@by_code
def test_what_is_offered_is_on_the_page(row: Row) -> None:
    """A command that a finding shows, or a repair that it has, is what mends it."""
    offers = bool(CATALOGUE[row.code].command) or row.code in repairable()
    assert (row.repair == NONE) == (not offers or row.code in ONLY_SHOWN)


def test_a_test_that_is_gone_or_about_something_else_is_noticed() -> None:
    assert source_of("unit/doctor/gone.py::test_x") == ""
    assert source_of("unit/doctor/test_checks.py::test_gone") == ""
    about = source_of("unit/doctor/test_checks.py::test_packages")
    assert "GC306" in about and "GC316" not in about


@pytest.mark.parametrize("broken", ["| GC101 | x | real | t |", "| a | b | c | d | e | f | g |"])
def test_a_table_of_another_form_is_refused(broken: str) -> None:
    head = "| " + " | ".join(HEADER) + " |\n|---|---|---|---|---|---|\n"
    with pytest.raises(AssertionError):
        rows_of(head + broken)
