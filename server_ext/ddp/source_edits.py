"""Changes to the text of a Python script at the places of its syntax tree.

Guarantees: what is not changed stays to the character; changes are collected and made at once, so
that places stay those of the tree, which was parsed from the same text.
"""

from __future__ import annotations

import ast
import re


class SourceEdits:
    """A text (lines end with a newline only) and what will be changed in it."""

    def __init__(self, source: str) -> None:
        """source: what the tree was parsed from."""
        self.source = source
        self.lines = source.split("\n")
        self._starts = [0]
        for line in self.lines:
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._edits: list[tuple[int, int, int, str]] = []  # start, end, order, text

    def text_of(self, node: ast.AST) -> str:
        """As it is written."""
        return ast.get_source_segment(self.source, node) or ast.unparse(node)

    def indent_of(self, statement: ast.stmt) -> str:
        """The blanks before its line."""
        found = re.match(r"\s*", self.lines[statement.lineno - 1])
        return found[0] if found else ""

    def begins_its_line(self, node: ast.stmt) -> bool:
        """Whether nothing but blanks precedes it."""
        return not self.lines[node.lineno - 1].encode()[: node.col_offset].strip()

    def ends_its_line(self, node: ast.stmt) -> bool:
        """Whether nothing but blanks follows it."""
        line = self.lines[(node.end_lineno or node.lineno) - 1].encode()
        return not line[node.end_col_offset :].strip()

    def replace(self, node: ast.expr | ast.stmt | ast.keyword, text: str) -> None:
        """Puts another text in its place."""
        start = self._at(node.lineno, node.col_offset)
        self._edits.append((start, self._end(node), 0, text))

    def insert_after(self, node: ast.expr, text: str) -> None:
        """Adds a text right behind it."""
        end = self._end(node)
        self._edits.append((end, end, 0, text))

    def insert_lines(self, line: int, new: list[str], indent: str = "", *, order: int = 3) -> None:
        """Adds lines behind this one (0: at the top). order: of what is added at one place,
        the larger comes later.
        """
        text = "".join(f"{indent}{one}\n" if one else "\n" for one in new)
        at = min(self._starts[line], len(self.source))
        if line and at == len(self.source) and not self.source.endswith("\n"):
            text = "\n" + text
        self._edits.append((at, at, order, text))

    def indent_lines(self, node: ast.stmt, *, order: int) -> None:
        """Moves a statement that has lines of its own one step in. order: as of insert_lines."""
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
            at = self._starts[line - 1]
            self._edits.append((at, at, order, "    "))

    def applied(self) -> str:
        """The text with all changes."""
        text = self.source
        for start, end, _, new in sorted(self._edits, reverse=True):
            text = text[:start] + new + text[end:]
        return text

    def _at(self, line: int, column: int) -> int:
        """Position in the text; ast counts columns in bytes of UTF-8."""
        return self._starts[line - 1] + len(self.lines[line - 1].encode()[:column].decode())

    def _end(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        return self._at(node.end_lineno or node.lineno, node.end_col_offset or 0)
