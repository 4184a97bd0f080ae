"""Which calls (torch.save, wandb.init) every rank of a script makes. Pure: reads the syntax trees
of several files.

Guarantees: what may be run by one rank only is not named: the condition may stand around the call,
before it (`if rank != 0: return`), in a decorator, or around every call of the function that saves;
it may be a flag or a function of the script's own. The depth of a tree is not trusted: the walk
has a stack of its own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from .script_names import File, constant, dotted, last_name, words

_DEEPEST = 30  # of a condition; what is deeper is taken for one that guards
_FIRST_WORDS = frozenset({"main", "master", "primary", "leader", "chief", "coordinator", "zero"})
_OTHER_WORDS = frozenset({"not", "non", "other", "others", "secondary"})
_WIDE = frozenset({"gpu", "device", "proc", "process"})  # `gpu == 0` is the rank on one machine
_CASTS = frozenset({"int", "str", "bool"})
_ENDS_PROCESS = frozenset({"exit", "quit", "_exit"})


class Who(Enum):
    """For which ranks a condition holds."""

    ALL = "all"  # it says nothing of ranks
    ONE = "one"
    OTHERS = "others"
    SOME = "some"  # it speaks of ranks, in a way that is not understood

    @property
    def opposite(self) -> Who:
        """Of the opposite condition."""
        return {Who.ONE: Who.OTHERS, Who.OTHERS: Who.ONE}.get(self, self)


Flags = dict[str, Who]
Wanted = Callable[[ast.Call, dict[str, str]], bool]


@dataclass(frozen=True)
class CallSite:
    """A call that every rank reaches. file: the place of its module in what was asked."""

    file: int
    line: int


@dataclass(frozen=True)
class _Call:
    name: str
    function: str  # that it stands in; "" for none
    guarded: bool


def unguarded_saves(tree: ast.Module) -> Iterator[int]:
    """Lines of torch.save(...) that every rank reaches, of one file."""
    return (save.line for save in saves_of_all_ranks([File.of(tree)]))


def saves_of_all_ranks(files: Sequence[File]) -> list[CallSite]:
    """torch.save of all ranks into the same file, for files that import each other, in order."""
    return _of_all_ranks(files, _is_save)


def loggers_of_all_ranks(files: Sequence[File]) -> list[CallSite]:
    """The same for what opens a log of Weights & Biases or TensorBoard."""
    return _of_all_ranks(files, _opens_log)


def _of_all_ranks(files: Sequence[File], wanted: Wanted) -> list[CallSite]:
    having = [number for number, file in enumerate(files) if _calls_one(file, wanted)]
    if not having:
        return []
    flags: Flags = {}
    for file in files:
        flags = rank_flags(file.nodes, flags)
    calls: list[_Call] = []
    sites: list[tuple[CallSite, str]] = []
    for number, file in enumerate(files):
        elsewhere = _not_shared(file.nodes) if number in having else set()
        for call, function, guarded in _calls(file.tree, flags):
            calls.append(_Call(last_name(call), function, guarded))
            if not guarded and wanted(call, file.origins) and not _to(call, elsewhere):
                sites.append((CallSite(number, call.lineno), function))
    guarded_functions = _called_by_one({function for _, function in sites}, calls)
    return [site for site, function in sites if function not in guarded_functions]


def _calls_one(file: File, wanted: Wanted) -> bool:
    return any(isinstance(node, ast.Call) and wanted(node, file.origins) for node in file.nodes)


def _called_by_one(saving: set[str], calls: Sequence[_Call]) -> set[str]:
    """The functions that one rank calls: with callers, each guarded or such a function."""
    callers: dict[str, list[_Call]] = {}
    for call in calls:
        callers.setdefault(call.name, []).append(call)
    found = {name for name in callers if name}
    while True:
        left = {
            name
            for name in found
            if all(
                call.guarded or (call.function != name and call.function in found)
                for call in callers[name]
                if call.function != name  # a recursion begins somewhere
            )
            and any(call.function != name for call in callers[name])
        }
        if left == found:
            return left & saving
        found = left


def _is_save(call: ast.Call, origins: dict[str, str]) -> bool:
    return dotted(call.func, origins) == "torch.save"


def _opens_log(call: ast.Call, origins: dict[str, str]) -> bool:
    """`group=`, `mode=` and what is made with the rank say that each rank has a log of its own."""
    name = dotted(call.func, origins)
    if name != "wandb.init" and not name.endswith("tensorboard.SummaryWriter"):
        return False
    if any(word.arg in ("group", "mode", None) for word in call.keywords):
        return False
    given = [*call.args, *(word.value for word in call.keywords)]
    return not any(is_rank(part) for value in given for part in ast.walk(value))


def _not_shared(nodes: Iterable[ast.AST]) -> set[str]:
    """Names of what is no file, or another one in each rank: a buffer, `f"model_{rank}.pt"`."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            buffer = isinstance(node.value, ast.Call) and last_name(node.value) == "BytesIO"
            if buffer or _is_path_by_rank(node.value):
                found.update(last_name(target) for target in targets)
    return found - {""}


def _is_path_by_rank(node: ast.AST) -> bool:
    """Whether it is a text, or a path, that is made with the rank."""
    kinds = (ast.JoinedStr, ast.BinOp, ast.Call)
    if not isinstance(node, kinds):
        return False
    if isinstance(node, ast.Call) and last_name(node) not in ("format", "join", "joinpath", "Path"):
        return False
    texts = any(
        isinstance(part, ast.Constant) and isinstance(part.value, str) for part in ast.walk(node)
    )
    return texts and any(is_rank(part) for part in ast.walk(node))


def _to(call: ast.Call, elsewhere: set[str]) -> bool:
    """Whether what is written is no file that the ranks share."""
    given = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "f")]
    return any(_is_path_by_rank(node) or last_name(node) in elsewhere for node in given)


# ---- conditions


def is_rank(node: ast.AST) -> bool:
    """Whether an expression is the number of a rank."""
    while isinstance(node, ast.Call) and last_name(node) in _CASTS and node.args:
        node = node.args[0]
    if isinstance(node, ast.Subscript):
        return _names_rank(constant(node.slice))
    if isinstance(node, ast.Call) and last_name(node) in ("get", "getenv", "pop"):
        return bool(node.args) and _names_rank(constant(node.args[0]))
    name = words(last_name(node))
    return name[-1:] == ("rank",) or name[-2:] == ("process", "index")


def _names_rank(value: object) -> bool:
    return isinstance(value, str) and words(value)[-1:] == ("rank",)


def who(test: ast.AST, flags: Mapping[str, Who], depth: int = 0) -> Who:
    """For which ranks a condition holds. flags: what the script's own names say of it."""
    if depth > _DEEPEST:
        return Who.SOME
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return who(test.operand, flags, depth + 1).opposite
    if isinstance(test, ast.NamedExpr):
        return who(test.value, flags, depth + 1)
    if isinstance(test, ast.BoolOp):
        parts = {who(part, flags, depth + 1) for part in test.values}
        return next((one for one in (Who.ONE, Who.SOME, Who.OTHERS) if one in parts), Who.ALL)
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        return _compared(test, flags, depth)
    if is_rank(test):
        return Who.OTHERS  # true where it is not 0
    if isinstance(test, (ast.Name, ast.Attribute, ast.Call)):
        return _named(test, flags)
    return Who.SOME if _speaks_of_rank(test) else Who.ALL


def _compared(test: ast.Compare, flags: Mapping[str, Who], depth: int) -> Who:
    left, operator, right = test.left, test.ops[0], test.comparators[0]
    if is_rank(right) and not is_rank(left):
        left, right = right, left
        turned = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE}
        operator = turned.get(type(operator), type(operator))()
    if isinstance(right, (ast.Tuple, ast.List, ast.Set)):
        values = [constant(item) for item in right.elts]
    else:
        values = [constant(right)]
    texts = {str(value) for value in values if value is not None}
    numbers = {int(text) for text in texts if re.fullmatch("-?[0-9]{1,9}", text)}
    if isinstance(constant(right), bool):
        told = who(left, flags, depth + 1)
        same = isinstance(operator, (ast.Eq, ast.Is)) == bool(constant(right))
        return told if same else told.opposite
    if not is_rank(left):
        near = set(words(last_name(left))) & _WIDE
        if not (near and numbers == {0}):
            return Who.SOME if _speaks_of_rank(test) else Who.ALL
    if numbers == {-1} or (0 in numbers and isinstance(operator, ast.GtE)):
        return Who.ALL  # whether it is a distributed run at all
    if isinstance(operator, (ast.Eq, ast.Is, ast.In, ast.Lt, ast.LtE)):
        return Who.ONE
    return Who.OTHERS


def _named(test: ast.AST, flags: Mapping[str, Who]) -> Who:
    name = last_name(test)
    if name in flags:
        return flags[name]
    parts = set(words(name))
    if parts & _FIRST_WORDS or ("rank" in parts and "0" in parts) or "rank0" in name.lower():
        return Who.OTHERS if parts & _OTHER_WORDS else Who.ONE
    if "rank" in parts or any(_speaks_of_rank(part) for part in getattr(test, "args", ())):
        return Who.SOME
    return Who.ALL


def _speaks_of_rank(node: ast.AST) -> bool:
    return any(
        is_rank(part)
        or (isinstance(part, (ast.Name, ast.Attribute)) and "rank" in words(last_name(part)))
        for part in ast.walk(node)
    )


def rank_flags(nodes: Iterable[ast.AST], known: Mapping[str, Who]) -> Flags:
    """Names that stand for a condition on the rank: variables, and functions that give one."""
    flags: Flags = dict(known)
    for node in nodes:
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
            if is_rank(node.value) or not _is_condition(node.value):
                continue
            told = who(node.value, flags)
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if told in (Who.ONE, Who.OTHERS) and last_name(target):
                    flags[last_name(target)] = told
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            told = _given(node, flags)
            if told in (Who.ONE, Who.OTHERS):
                flags[node.name] = told
            elif _is_guarding_decorator(node, flags):
                flags[node.name] = Who.ONE
    return flags


def _is_condition(node: ast.AST) -> bool:
    named = isinstance(node, (ast.Name, ast.Attribute, ast.Call))
    return named or isinstance(node, (ast.Compare, ast.BoolOp, ast.UnaryOp))


def _given(function: ast.FunctionDef | ast.AsyncFunctionDef, flags: Mapping[str, Who]) -> Who:
    """What a function's value says of the rank: `return rank == 0`, `if rank == 0: return True`."""
    for node in function.body:
        if isinstance(node, ast.If) and isinstance(node.body[-1], ast.Return):
            value = constant(node.body[-1].value)
            told = who(node.test, flags)
            if isinstance(value, bool) and told in (Who.ONE, Who.OTHERS):
                return told if value else told.opposite
        if isinstance(node, (ast.If, ast.Try)):
            returns = [part for part in ast.walk(node) if isinstance(part, ast.Return)]
        else:
            returns = [node] if isinstance(node, ast.Return) else []
        for one in returns:
            if one.value is None or is_rank(one.value) or not _is_condition(one.value):
                continue
            if (told := who(one.value, flags)) in (Who.ONE, Who.OTHERS):
                return told
    return Who.ALL


def _is_guarding_decorator(
    function: ast.FunctionDef | ast.AsyncFunctionDef, flags: Mapping[str, Who]
) -> bool:
    """Whether it gives a function that calls its argument in one rank only."""
    inner = [part for part in function.body if isinstance(part, ast.FunctionDef)]
    taken = {argument.arg for argument in function.args.args}
    for part in (part for one in inner for part in ast.walk(one)):
        if isinstance(part, ast.If) and who(part.test, flags) is not Who.ALL:
            calls = {last_name(call) for call in ast.walk(part) if isinstance(call, ast.Call)}
            ends = isinstance(part.body[-1], ast.Return)
            if calls & taken or ends:
                return True
    return False


# ---- the walk


def _calls(tree: ast.Module, flags: Mapping[str, Who]) -> Iterator[tuple[ast.Call, str, bool]]:
    """Every call, the function that it stands in, and whether only some ranks reach it."""
    stack: list[tuple[ast.AST, str, bool]] = [(tree, "", False)]
    while stack:
        node, function, guarded = stack.pop()
        if isinstance(node, ast.Call):
            yield node, function, guarded
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            function = node.name
            for decorator in node.decorator_list:
                guarded = guarded or _named(decorator, flags) is not Who.ALL
        for child, more in _children(node, flags):
            stack.append((child, function, guarded or more))


def _children(node: ast.AST, flags: Mapping[str, Who]) -> Iterator[tuple[ast.AST, bool]]:
    """Its parts, and whether the node keeps some ranks from them."""
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):
        told = who(node.test, flags)
        yield node.test, False
        body = node.body if isinstance(node.body, list) else [node.body]
        orelse = node.orelse if isinstance(node.orelse, list) else [node.orelse]
        yield from _in_order(body, told in (Who.ONE, Who.SOME), flags)
        yield from _in_order(orelse, told in (Who.OTHERS, Who.SOME), flags)
    elif isinstance(node, ast.BoolOp):
        kept = False
        needed = Who.ONE if isinstance(node.op, ast.And) else Who.OTHERS
        for part in node.values:
            yield part, kept
            kept = kept or who(part, flags) in (needed, Who.SOME)
    elif isinstance(node, ast.Match):
        by_rank = _speaks_of_rank(node.subject)
        for case in node.cases:
            yield case, by_rank
    else:
        for _, value in ast.iter_fields(node):
            if isinstance(value, list):
                yield from _in_order(value, False, flags)
            elif isinstance(value, ast.AST):
                yield value, False


def _in_order(
    parts: Sequence[object], kept: bool, flags: Mapping[str, Who]
) -> Iterator[tuple[ast.AST, bool]]:
    """Parts one after the other: after `if rank != 0: return` only one rank is left."""
    for part in parts:
        if not isinstance(part, ast.AST):
            continue
        yield part, kept
        if isinstance(part, ast.If) and _leaves(part.body[-1]):
            kept = kept or who(part.test, flags) in (Who.OTHERS, Who.SOME)
        elif isinstance(part, ast.If) and part.orelse and _leaves(part.orelse[-1]):
            kept = kept or who(part.test, flags) in (Who.ONE, Who.SOME)


def _leaves(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        return last_name(statement.value) in _ENDS_PROCESS
    return isinstance(statement, (ast.Return, ast.Continue, ast.Break, ast.Raise))
