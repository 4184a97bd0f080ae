"""A script's syntax tree, and its names: what they are made of and where they come from. Pure.

Guarantees: bounded work and no recursion for any tree; a name that is not told by an import of the
same file keeps its own spelling.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass

_DEEPEST = 20  # of a.b.c

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


@dataclass(frozen=True)
class File:
    """A file's tree, all nodes of it, and what its imports bind (see origins_of)."""

    tree: ast.Module
    nodes: list[ast.AST]
    origins: dict[str, str]

    @classmethod
    def of(cls, tree: ast.Module) -> File:
        """Walks the tree once, for all who ask."""
        nodes = list(ast.walk(tree))
        return cls(tree, nodes, origins_of(nodes))


def words(name: str) -> tuple[str, ...]:
    """A name's words in small letters: "isMainProcess", "is_main_process" -> is, main, process."""
    return tuple(word.lower() for word in _WORD.findall(name))


def last_name(node: ast.AST) -> str:
    """The last part of a name, an attribute or what is called; "" for all else."""
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def origins_of(nodes: Iterable[ast.AST]) -> dict[str, str]:
    """What imports bind: the name here -> its dotted name there."""
    found: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                found[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                module = "." * node.level + (node.module or "")
                found[alias.asname or alias.name] = f"{module}.{alias.name}"
    return found


def dotted(node: ast.AST, origins: dict[str, str]) -> str:
    """The dotted name that an expression stands for, by the imports; "" where it is none."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute) and len(parts) < _DEEPEST:
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    parts.append(origins.get(node.id, node.id))
    return ".".join(reversed(parts))


def constant(node: ast.AST | None) -> object:
    """The value of a constant, a negative number's, too; None for all else."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = node.operand.value if isinstance(node.operand, ast.Constant) else None
        return -value if isinstance(value, int) else None
    return None
