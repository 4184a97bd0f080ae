"""Network ports that a script or its arguments fix, and whether one is free.

Guarantees: finding is pure, and a value that is not written in the script is never guessed; a port
is tried by binding it for an instant, on this machine only, and nothing is ever connected to.

With torchrun's own store (it sets TORCHELASTIC_USE_AGENT_STORE) every process joins as a client: a
`tcp://` address or a MASTER_PORT of the script's own has no server, and the start times out, free
port or not.
"""

from __future__ import annotations

import ast
import errno
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .script_names import File, constant, last_name, words

_TCP = re.compile(r"tcp://(?:\[[^\]/]*\]|[^/:\[\]]*):([0-9]{1,5})(?:[/?].*)?", re.DOTALL)
_OPTION = re.compile(r"dist|init|master|rdzv|rendezvous|url", re.IGNORECASE)
# with one of these the script has taken the store into its own hands
_OWN_STORE = frozenset({"TORCHELASTIC_USE_AGENT_STORE", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"})


@dataclass(frozen=True)
class FixedPort:
    """A port that is written down. line: of the script; 0: in the arguments. served: whether the
    script itself opens it (a TCPStore of its own); else it only waits for it.
    """

    port: int
    line: int
    served: bool = False


def find_ports(file: File) -> list[FixedPort]:
    """The ports that a script fixes for its process group, whatever its environment says."""
    nodes = file.nodes
    if not any(True for node in nodes for _ in _places(node)):
        return []
    known = _constants(nodes)
    texts = {constant(node) for node in nodes if isinstance(node, ast.Constant)}
    own_store = bool(texts & _OWN_STORE)
    found = set()
    stack: list[tuple[ast.AST, bool]] = [(file.tree, False)]
    while stack:
        node, depends = stack.pop()
        for part, served in _places(node):
            value = _value(part, known)
            port = value if type(value) is int else port_of(value, master=not served)
            if port is not None and 0 < port < 2**16 and (served or not depends):
                found.add(FixedPort(port, getattr(node, "lineno", 0), served or own_store))
        stack.extend(_children(node, depends))
    return sorted(found, key=lambda one: (one.line, one.port))


def _children(node: ast.AST, depends: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Its parts, and whether they run only where the environment or a setting says so."""
    depends = depends or (isinstance(node, (ast.If, ast.IfExp)) and _asks(node.test))
    for _, value in ast.iter_fields(node):
        later = depends
        for part in value if isinstance(value, list) else [value]:
            if not isinstance(part, ast.AST):
                continue
            yield part, later
            if isinstance(part, ast.If) and isinstance(part.body[-1], (ast.Return, ast.Raise)):
                later = later or _asks(part.test)


def _asks(test: ast.AST) -> bool:
    """Whether a condition asks for a variable, a setting's text, or who started the script."""
    if isinstance(test, ast.Compare) and last_name(test.left) == "__name__":
        return False
    return any(
        isinstance(constant(part), str)
        or last_name(part) in ("environ", "getenv", "is_torchelastic_launched", "is_initialized")
        for part in ast.walk(test)
    )


def ports_of_arguments(arguments: Sequence[str]) -> list[FixedPort]:
    """The ports of `--dist-url tcp://…:PORT` and the like."""
    found, option = [], ""
    for word in arguments:
        name, sign, value = word.partition("=")
        named = name if sign else option
        port = port_of(value if sign else word) if _OPTION.search(named) else None
        if port is not None:
            found.append(FixedPort(port, 0))
        option = word if word.startswith("-") and not sign else ""
    return found


def port_of(value: object, *, master: bool = False) -> int | None:
    """The port of `tcp://host:port`; with `master`, also of a port that is a text."""
    if not isinstance(value, str):
        return None
    if master and value.isascii() and value.isdecimal() and len(value) <= 5:
        return int(value)
    told = _TCP.fullmatch(value.strip())
    return int(told[1]) if told and 0 < int(told[1]) < 2**16 else None


def is_free(port: int) -> bool:
    """Whether a server could listen on it now, on all addresses, as TCPStore does. Blocking,
    microseconds. A port that may not be tried (below 1024) counts as free.
    """
    for family, address in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):  # noqa: S104 - for an instant, never listening
        try:
            with socket.socket(family, socket.SOCK_STREAM) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
    return True


def _places(node: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """Expressions that fix a port, and whether the script serves it."""
    if isinstance(node, ast.Call):
        name = last_name(node)
        words_given = {word.arg: word.value for word in node.keywords if word.arg}
        if name == "init_process_group":
            yield from ((part, False) for part in node.args[1:2])
            if "init_method" in words_given:
                yield words_given["init_method"], False
        elif name == "TCPStore":
            yield from ((part, True) for part in node.args[1:2])
            if "port" in words_given:
                yield words_given["port"], True
        elif name == "add_argument" and "default" in words_given:
            if any(_OPTION.search(str(constant(part))) for part in node.args):
                if str(constant(words_given["default"])).startswith("tcp://"):
                    yield words_given["default"], False
        elif name in ("putenv", "__setitem__") and len(node.args) == 2:
            if constant(node.args[0]) == "MASTER_PORT":
                yield node.args[1], False
        elif name == "update" and "MASTER_PORT" in words_given:
            yield words_given["MASTER_PORT"], False
    elif isinstance(node, ast.Assign):
        if any(_is_master_port(target) for target in node.targets):
            yield node.value, False
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if constant(key) == "MASTER_PORT":
                yield value, False


def _is_master_port(target: ast.AST) -> bool:
    return (
        isinstance(target, ast.Subscript)
        and constant(target.slice) == "MASTER_PORT"
        and words(last_name(target.value))[-1:] in (("environ",), ("env",))
    )


def _constants(nodes: Sequence[ast.AST]) -> dict[str, object]:
    """Names that are given one constant, once."""
    found: dict[str, object] = {}
    often: set[str] = set()
    for node in nodes:
        if isinstance(node, (ast.Name, ast.arg)):
            name = node.id if isinstance(node, ast.Name) else node.arg
            if isinstance(node, ast.arg) or isinstance(node.ctx, ast.Store):
                if name in found:
                    often.add(name)
                found.setdefault(name, None)
    for node in nodes:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            value = constant(node.value)
            for target in targets:
                if isinstance(target, ast.Name) and target.id not in often and value is not None:
                    found[target.id] = value
    return found


def _value(node: ast.AST, known: Mapping[str, object]) -> object:
    """What an expression is, where the script says it plainly; else None."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Call) and last_name(node) in ("str", "int") and len(node.args) == 1:
        value = constant(node.args[0])
        if value is None and isinstance(node.args[0], ast.Name):
            value = known.get(node.args[0].id)
        return None if value is None else str(value)
    if isinstance(node, ast.JoinedStr):
        parts = []
        for part in node.values:
            inner = part.value if isinstance(part, ast.FormattedValue) else part
            value = known.get(inner.id) if isinstance(inner, ast.Name) else constant(inner)
            if value is None:
                return None
            parts.append(str(value))
        return "".join(parts)
    return constant(node)
