"""What a training script has that DDP has to do with: its model, optimizer, loaders, loops. Pure.

Guarantees: the script is never run; what cannot be told for certain is a reason against a proposal
(make_ddp.py), never a guess.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..i18n import N_, Gettext
from .script_facts import FRAMEWORKS

# functions that ask a person
_ASKING = ("input", "breakpoint")


@dataclass(frozen=True)
class Note:
    """Something about a line (from 1; 0: about the whole). message: a msgid."""

    line: int
    message: str
    params: Mapping[str, object] = field(default_factory=dict)

    def view(self, gettext: Gettext) -> dict[str, Any]:
        """As the REST interface shows it, in a language."""
        return {"line": self.line, "message": gettext(self.message).format(**self.params)}


@dataclass(frozen=True)
class Wrap:
    """A model that an optimizer gets in `statement`, in `scope`. model: its expression."""

    model: str
    statement: ast.stmt
    scope: ast.AST


class TrainingShape:
    """One script. tree: its syntax; names, attributes, texts: that it uses; wraps: its models;
    training: the DataLoaders that it trains with.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self._parents: dict[ast.AST, ast.AST] = {}
        for node in ast.walk(tree):
            for child in ast.iter_child_nodes(node):
                self._parents[child] = node
        self.names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        self.attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        self.texts = {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        self._imports = set(self._imported())
        self.wraps = list(self._find_wraps())
        self.training = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and last_name(node.func) == "DataLoader"
            and self._trains(node)
        ]

    @property
    def uses_cuda(self) -> bool:
        """Whether it names CUDA anywhere."""
        return "cuda" in self.attributes or any(text.startswith("cuda") for text in self.texts)

    def reasons(self) -> Iterator[Note]:
        """Why there is no proposal."""
        if frameworks := sorted(self._imports & FRAMEWORKS):
            yield Note(
                0, N_("{name} does it for you: launch it as it is."), {"name": frameworks[0]}
            )
            return
        if {"init_process_group", "DistributedDataParallel"} & (self.names | self.attributes):
            yield Note(0, N_("It uses torch.distributed already: launch it as it is."))
            return
        if "backward" not in self.attributes:
            yield Note(0, N_("Nothing in this file trains: there is no backward()."))
            return
        if not self.wraps:
            yield Note(0, N_("No optimizer in this file gets model.parameters() of a model."))
        if not self.training:
            yield Note(0, N_("No DataLoader in this file is what the training goes through."))
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and last_name(node.func) == "DataParallel":
                yield Note(node.lineno, N_("nn.DataParallel is another way: take it out first."))
            elif isinstance(node, ast.Call) and last_name(node.func) == "LBFGS":
                yield Note(node.lineno, N_("LBFGS calls the model several times in a step."))
            elif isinstance(node, ast.Call) and last_name(node.func) in _ASKING:
                yield Note(node.lineno, N_("It asks a person, and every process would."))
        if "CUDA_VISIBLE_DEVICES" in self.texts:
            yield Note(0, N_("It sets CUDA_VISIBLE_DEVICES: all processes would use that GPU."))
        for loader in self.training:
            yield from self._cannot_sample(loader)

    def _cannot_sample(self, loader: ast.Call) -> Iterator[Note]:
        words = {keyword.arg for keyword in loader.keywords}
        if {"sampler", "batch_sampler", None} & words or len(loader.args) > 3:
            yield Note(loader.lineno, N_("This DataLoader has a sampler, or options of its own."))
        elif any(isinstance(part, ast.Starred) for part in loader.args):
            yield Note(loader.lineno, N_("This DataLoader has a sampler, or options of its own."))
        elif self.dataset_of(loader) is None:
            yield Note(loader.lineno, N_("This DataLoader has no data set that can be named."))
        elif self._is_iterable(loader):
            yield Note(
                loader.lineno,
                N_("Its data set is an IterableDataset, which has to split the data itself."),
            )

    def binds(self, module: str) -> bool:
        """Whether the name is imported at the top."""
        return any(
            isinstance(node, ast.Import)
            and any(a.asname is None and a.name.split(".")[0] == module for a in node.names)
            for node in self.tree.body
        )

    def target_of(self, loader: ast.Call) -> str | None:
        """What the loader is assigned to."""
        parent = self._parents.get(loader)
        if isinstance(parent, ast.Assign) and len(parent.targets) == 1:
            target = parent.targets[0]
            return ast.unparse(target) if isinstance(target, (ast.Name, ast.Attribute)) else None
        return None

    def dataset_of(self, loader: ast.Call) -> ast.expr | None:
        """The data set, if it can be named: a name, or an expression that can get one first."""
        words = {word.arg: word.value for word in loader.keywords}
        data = loader.args[0] if loader.args else words.get("dataset")
        if isinstance(data, (ast.Name, ast.Attribute)):
            return data
        # another expression gets a name first, for which there must be a line
        statement = self.statement_of(loader)
        return data if isinstance(statement, ast.Assign) and statement.value is loader else None

    def main_guard(self) -> ast.If | None:
        """`if __name__ == "__main__":` with lines of its own."""
        for statement in self.tree.body:
            if isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test):
                on_one_line = statement.body[0].lineno == statement.test.lineno
                return None if on_one_line else statement
        return None

    def scope_of(self, node: ast.AST) -> ast.AST:
        """The function around it, or the module."""
        while node in self._parents:
            node = self._parents[node]
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                break
        return node

    def statement_of(self, node: ast.AST) -> ast.stmt:
        """The statement that it is in."""
        while not isinstance(node, ast.stmt):
            node = self._parents[node]
        return node

    def are_of_one_class(self, node: ast.AST, scope: ast.AST) -> bool:
        """Whether both are in methods of one class, so that `self` is the same."""
        return self._parents.get(self.scope_of(node)) is self._parents.get(scope)

    def _imported(self) -> Iterator[str]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield (node.module or "").split(".")[0]

    def _find_wraps(self) -> Iterator[Wrap]:
        seen = set()
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
                continue
            for part in ast.walk(node.value):
                if not (isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute)):
                    continue
                if part.func.attr != "parameters" or part.args:
                    continue
                model = part.func.value
                is_named = isinstance(model, (ast.Name, ast.Attribute))
                scope = self.scope_of(node)
                key = (ast.unparse(model), id(scope))
                if not is_named or key in seen or "sum" in ast.unparse(node.value.func):
                    continue
                seen.add(key)
                yield Wrap(key[0], node, scope)

    def _trains(self, loader: ast.Call) -> bool:
        words = {word.arg: word.value for word in loader.keywords}
        shuffle = words.get("shuffle") or (loader.args[2] if len(loader.args) > 2 else None)
        if shuffle is not None and not (isinstance(shuffle, ast.Constant) and not shuffle.value):
            return True
        name = self.target_of(loader)
        return any(
            isinstance(loop, ast.For)
            and name is not None
            and name in {ast.unparse(n) for n in ast.walk(loop.iter) if isinstance(n, ast.expr)}
            and any(isinstance(n, ast.Attribute) and n.attr == "backward" for n in ast.walk(loop))
            for loop in ast.walk(self.tree)
        )

    def _is_iterable(self, loader: ast.Call) -> bool:
        iterables = {
            node.name
            for node in ast.walk(self.tree)
            if isinstance(node, ast.ClassDef)
            and any("IterableDataset" in ast.unparse(base) for base in node.bases)
        }
        data = self.dataset_of(loader)
        makers = [data] if isinstance(data, ast.Call) else []
        makers += [
            node.value
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and data is not None
            and any(ast.unparse(target) == ast.unparse(data) for target in node.targets)
        ]
        return any(last_name(maker.func) in iterables for maker in makers)


def last_name(node: ast.expr) -> str:
    """`f` of f and of a.b.f; "" of anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
