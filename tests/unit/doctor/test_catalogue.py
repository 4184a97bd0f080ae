"""Codes are stable, documented, translated and well put."""

from __future__ import annotations

import re
import shlex
import string

import pytest

from server_ext.doctor import pages
from server_ext.doctor.checks import ALL_CHECKS, CATALOGUE, ON_DEMAND
from server_ext.doctor.findings import LAYERS, SEVERITIES, Code, Finding

EVERY = (*ALL_CHECKS, *ON_DEMAND)
CODES = sorted(CATALOGUE.values(), key=lambda code: code.code)


def test_codes_and_checks_are_unique() -> None:
    codes = [code.code for check in EVERY for code in check.codes]
    assert len(codes) == len(set(codes))
    names = [check.name for check in EVERY]
    assert len(names) == len(set(names))
    assert all(code.layer == check.layer for check in EVERY for code in check.codes)


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.code)
def test_a_code_is_well_put(code: Code) -> None:
    assert re.fullmatch(r"GC\d{3}", code.code)
    assert code.layer in LAYERS and code.severity in SEVERITIES
    assert code.who in {"you", "instructor"}
    for text in (code.title, code.fix):
        assert text[0].isupper() or text.startswith(("{", "/", "torch", "libcuda", "cuDNN"))
        assert text.endswith(".") and "  " not in text
    fields = {
        name
        for text in (code.title, code.fix, code.command)
        for _, name, _, _ in string.Formatter().parse(text)
        if name is not None
    }
    assert all(re.fullmatch(r"\w+", field) for field in fields)


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.code)
def test_a_code_has_a_page_that_says_what_why_and_how(code: Code) -> None:
    page = pages.page(code.code)
    assert page is not None
    for part in ("**What it means.**", "**Why it happens.**", "**How to mend it.**"):
        assert part in page


@pytest.mark.parametrize("path", ["/home/jovyan/my own", "/tmp/$(id)", "/tmp/a;b'c", "/plain"])
def test_a_path_is_one_word_of_a_command(path: str) -> None:
    """It is typed, or copied, into a shell; whose name it is, the user's files decide."""
    placeholder = re.compile(r"\{(python|directory|path|folder|home)\}")
    codes = [code for code in CODES if placeholder.search(code.command)]
    assert len(codes) > 3
    for code in codes:
        params = {name: path for name in placeholder.findall(code.command)}
        plain = placeholder.sub("/x", code.command)
        typed = [word.replace("/x", path) for word in shlex.split(plain)]
        assert shlex.split(Finding(code, params=params).command) == typed


def test_the_pages_have_no_code_that_does_not_exist() -> None:
    assert set(pages._sections()) == set(CATALOGUE)


def test_pages_are_split_at_their_headings() -> None:
    sections = pages.split("# x\n\n## GC101 One\n\na\n\n# y\n\n## GC102 Two\n\nb ## GC103 c\n")
    assert set(sections) == {"GC101", "GC102"}
    assert sections["GC102"].endswith("b ## GC103 c")
    assert sections["GC101"] == "## GC101 One\n\na"
