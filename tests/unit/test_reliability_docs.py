"""Each fault of docs/reliability.md has a test, and each such test its place on the page."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
FAULTS = range(1, 21)


def faults_in(source: str) -> set[int]:
    """Numbers of all `pytest.mark.fault(number)` in a module."""
    return {
        node.args[0].value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "pytest.mark.fault"
        and isinstance(node.args[0], ast.Constant)
    }


MODULES = {
    str(path.relative_to(ROOT)): faults_in(path.read_text())
    for folder in ("faults", "engine")
    for path in sorted((ROOT / "tests" / folder).glob("test_*.py"))
}


@pytest.mark.parametrize("number", FAULTS)
def test_each_fault_is_tested_and_its_row_names_the_module(number: int) -> None:
    modules = {name for name, numbers in MODULES.items() if number in numbers}
    assert modules
    row = re.search(rf"^\| {number} \|.*$", PAGE, re.MULTILINE)
    assert row is not None
    named = set(re.findall(r"tests/\w+/test_\w+\.py", row[0]))
    assert named == modules


def test_no_test_is_of_a_fault_that_the_page_does_not_have() -> None:
    assert set().union(*MODULES.values()) <= set(FAULTS)
