"""A plain training script -> the same with the standard wrapping of DDP, as a proposal. Pure.

Covers the common shapes: a model whose parameters an optimizer gets, a DataLoader, a loop over
epochs; at the top level, in functions, with or without `if __name__ == "__main__"`. Guarantees: the
script is never run; only what DDP needs is changed, and every other character stays; what is
proposed is valid Python; where the shape is another, the reasons say so and nothing is proposed.
What a person should still look at is a remark.
"""

from __future__ import annotations

import ast
import difflib
import textwrap
from dataclasses import dataclass

from ..i18n import N_
from .rank_guards import unguarded_saves
from .source_edits import SourceEdits
from .training_shape import Note, TrainingShape, Wrap, last_name

# what a wrapped model has as the model itself has it
_OF_ANY_MODEL = frozenset(
    {"apply", "bfloat16", "buffers", "children", "compile", "cpu", "cuda", "double", "eval"}
    | {"float", "forward", "half", "modules", "module", "named_buffers", "named_children"}
    | {"named_modules", "named_parameters", "no_sync", "parameters", "requires_grad_", "to"}
    | {"train", "training", "type", "zero_grad"}
)


@dataclass(frozen=True)
class Proposal:
    """text: the whole script, "" where there is none; changes, remarks: in order of lines;
    reasons: why there is none.
    """

    text: str = ""
    changes: tuple[Note, ...] = ()
    remarks: tuple[Note, ...] = ()
    reasons: tuple[Note, ...] = ()


def propose(source: str) -> Proposal:
    """What would make a DDP script of it."""
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = error.lineno or 0 if isinstance(error, SyntaxError) else 0
        return Proposal(reasons=(Note(line, N_("Python cannot read the script.")),))
    shape = TrainingShape(tree)
    reasons = tuple(shape.reasons())
    if reasons:
        return Proposal(reasons=reasons)
    script = _Rewriting(source, shape)
    text = script.changed()
    try:
        compile(text, "proposal", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Proposal(reasons=(Note(0, N_("Its lines are written in a way that is not known.")),))
    by_line = sorted(script.changes, key=lambda note: note.line)
    remarks = sorted(script.remarks, key=lambda note: note.line)
    return Proposal(text, tuple(by_line), tuple(remarks))


def diff(source: str, proposal: str, name: str, new_name: str) -> str:
    """A unified diff."""
    lines = difflib.unified_diff(
        source.splitlines(keepends=True), proposal.splitlines(keepends=True), name, new_name
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


class _Rewriting:
    """The changes that make a DDP script of one for which there are no reasons against it."""

    def __init__(self, source: str, shape: TrainingShape) -> None:
        self.changes: list[Note] = []
        self.remarks: list[Note] = []
        self._shape = shape
        self._text = SourceEdits(source)

    def changed(self) -> str:
        """The whole text."""
        self._add_imports()
        self._add_setup()
        for wrap in self._shape.wraps:
            self._wrap(wrap)
        for loader in self._shape.training:
            self._sample(loader)
        self._set_epochs()
        self._guard_saves()
        self._free_devices()
        self._look_at_the_rest()
        return self._text.applied()

    def _add_imports(self) -> None:
        wanted = ["import os"] if not self._shape.binds("os") else []
        wanted += ["import torch"] if not self._shape.binds("torch") else []
        wanted += [
            "import torch.distributed as dist",
            "from torch.nn.parallel import DistributedDataParallel",
            "from torch.utils.data.distributed import DistributedSampler",
        ]
        after = 0
        for statement in self._shape.tree.body:
            is_import = isinstance(statement, (ast.Import, ast.ImportFrom))
            if is_import or (after == 0 and _is_docstring(statement)):
                after = statement.end_lineno or 0
            elif after:
                break
        self._text.insert_lines(after, wanted, "", order=0)
        self.changes.append(Note(after or 1, N_("imports what DDP needs")))

    def _add_setup(self) -> None:
        cuda = self._shape.uses_cuda
        backend = '"nccl" if torch.cuda.is_available() else "gloo"' if cuda else '"gloo"'
        lines = [
            "# torchrun starts this script once for each GPU and sets LOCAL_RANK",
            'local_rank = int(os.environ["LOCAL_RANK"])',
            *(["if torch.cuda.is_available():", "    torch.cuda.set_device(local_rank)"] * cuda),
            f"dist.init_process_group({backend})",
        ]
        guard = self._shape.main_guard()
        if guard is not None:
            first, last = guard.body[0], guard.body[-1]
            indent = self._text.indent_of(first)
            self._text.insert_lines(first.lineno - 1, lines, indent, order=1)
            self._text.insert_lines(
                last.end_lineno or last.lineno, ["dist.destroy_process_group()"], indent, order=9
            )
            self.changes.append(Note(first.lineno, N_("joins the other processes")))
            return
        first = next(
            (
                statement
                for statement in self._shape.tree.body
                if not isinstance(
                    statement,
                    (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef),
                )
                and not _is_docstring(statement)
            ),
            self._shape.tree.body[-1],
        )
        lead = [""] if first.lineno > 1 and self._text.lines[first.lineno - 2].strip() else []
        self._text.insert_lines(first.lineno - 1, [*lead, *lines, ""], "", order=1)
        end = max(number for number, line in enumerate(self._text.lines, 1) if line.strip())
        self._text.insert_lines(end, ["", "dist.destroy_process_group()"], "", order=9)
        self.changes.append(Note(first.lineno, N_("joins the other processes")))

    def _wrap(self, wrap: Wrap) -> None:
        line = wrap.statement.lineno
        indent = self._text.indent_of(wrap.statement)
        self._text.insert_lines(
            line - 1, [f"{wrap.model} = DistributedDataParallel({wrap.model})"], indent, order=2
        )
        self.changes.append(
            Note(line, N_("wraps {model}, so that gradients are averaged"), {"model": wrap.model})
        )
        for node in ast.walk(self._shape.tree):
            if not isinstance(node, ast.Attribute) or ast.unparse(node.value) != wrap.model:
                continue
            if node.attr in _OF_ANY_MODEL or isinstance(node.ctx, ast.Store):
                continue
            if self._shape.scope_of(node) is wrap.scope:
                if node.lineno < line:
                    continue
                self._text.replace(node.value, f"{wrap.model}.module")
            elif node.attr in ("state_dict", "load_state_dict") or (
                wrap.model.startswith("self.") and self._shape.are_of_one_class(node, wrap.scope)
            ):
                self._text.replace(node.value, f'getattr({wrap.model}, "module", {wrap.model})')
            else:
                continue
            self.changes.append(
                Note(
                    node.lineno,
                    N_("asks the model inside the wrapping for {name}"),
                    {"name": node.attr},
                )
            )

    def _sample(self, loader: ast.Call) -> None:
        data = self._shape.dataset_of(loader)
        assert data is not None  # noqa: S101 - reasons() has looked
        name = self._text.text_of(data)
        if not isinstance(data, (ast.Name, ast.Attribute)):
            statement = self._shape.statement_of(loader)
            name = self._new_name("train_dataset")
            text = textwrap.dedent(
                f"{self._text.indent_of(statement)}{name} = {self._text.text_of(data)}"
            )
            self._text.insert_lines(
                statement.lineno - 1, text.split("\n"), self._text.indent_of(statement)
            )
            self._text.replace(data, name)
        shuffle = next((word for word in loader.keywords if word.arg == "shuffle"), None)
        shuffled = shuffle.value if shuffle else loader.args[2] if len(loader.args) == 3 else None
        as_before = "False" if shuffled is None else self._text.text_of(shuffled)
        option = "" if _is_true(shuffled) else f", shuffle={as_before}"
        sampler = f"sampler=DistributedSampler({name}{option})"
        if shuffle is not None:
            self._text.replace(shuffle, sampler)
        else:
            if shuffled is not None:
                self._text.replace(shuffled, "False")
            last = [*loader.args, *(word.value for word in loader.keywords)][-1]
            self._text.insert_after(last, f", {sampler}")
        self.changes.append(Note(loader.lineno, N_("gives each process its own part of the data")))
        self.remarks.append(
            Note(
                loader.lineno,
                N_(
                    "Each process takes batches of this size: with N processes a step sees N times "
                    "as much. Divide it, or raise the learning rate."
                ),
            )
        )

    def _set_epochs(self) -> None:
        names = {name for loader in self._shape.training if (name := self._shape.target_of(loader))}
        done: set[str] = set()
        for loop in ast.walk(self._shape.tree):
            if not isinstance(loop, ast.For) or not isinstance(loop.target, ast.Name):
                continue
            used = {
                ast.unparse(node)
                for part in loop.body
                for node in ast.walk(part)
                if isinstance(node, (ast.Name, ast.Attribute))
            }
            is_range = isinstance(loop.iter, ast.Call) and "range" in ast.unparse(loop.iter.func)
            counts = is_range or "epoch" in loop.target.id.lower()
            for name in sorted((names & used) - done) if counts else ():
                done.add(name)
                self._text.insert_lines(
                    loop.body[0].lineno - 1,
                    [f"{name}.sampler.set_epoch({loop.target.id})"],
                    self._text.indent_of(loop.body[0]),
                )
                self.changes.append(
                    Note(loop.lineno, N_("shuffles the data differently in each epoch"))
                )
        if names - done or not names:
            self.remarks.append(
                Note(0, N_("Call sampler.set_epoch(epoch) at the start of each epoch."))
            )

    def _guard_saves(self) -> None:
        lines = set(unguarded_saves(self._shape.tree))
        for node in ast.walk(self._shape.tree):
            if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
                continue
            if node.lineno not in lines or ast.unparse(node.value.func) != "torch.save":
                continue
            indent = self._text.indent_of(node)
            if not (self._text.begins_its_line(node) and self._text.ends_its_line(node)):
                self.remarks.append(Note(node.lineno, N_("Save on rank 0 only.")))
                continue
            self._text.insert_lines(node.lineno - 1, ["if dist.get_rank() == 0:"], indent, order=5)
            self._text.indent_lines(node, order=6)
            self.changes.append(Note(node.lineno, N_("saves on rank 0 only")))

    def _free_devices(self) -> None:
        """The first GPU by number would be every process's."""
        for node in ast.walk(self._shape.tree):
            if isinstance(node, ast.Constant) and node.value == "cuda:0":
                self._text.replace(node, '"cuda"')
            elif (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) == "torch.device"
                and len(node.args) == 2
                and isinstance(node.args[1], ast.Constant)
            ):
                self._text.replace(node.args[1], "local_rank")
            elif (
                isinstance(node, ast.Call)
                and last_name(node.func) in ("cuda", "set_device")
                and [_constant(part) for part in node.args] == [0]
            ):
                self._text.replace(node.args[0], "local_rank")
            else:
                continue
            self.changes.append(Note(node.lineno, N_("uses the GPU of this process, not GPU 0")))

    def _look_at_the_rest(self) -> None:
        if (
            "random_split" in self._shape.names | self._shape.attributes
            and "manual_seed" not in self._shape.attributes
        ):
            self.remarks.append(
                Note(0, N_("Call torch.manual_seed() first: every process must split alike."))
            )
        for loop in ast.walk(self._shape.tree):
            if not isinstance(loop, (ast.For, ast.While)):
                continue
            trains = any(isinstance(n, ast.Attribute) and n.attr == "step" for n in ast.walk(loop))
            ends = [n for n in ast.walk(loop) if isinstance(n, ast.Break)]
            if trains and ends:
                self.remarks.append(
                    Note(
                        ends[0].lineno,
                        N_(
                            "If one process leaves the loop earlier, the others wait for ever: "
                            "let all decide by the same number."
                        ),
                    )
                )
                break
        for node in ast.walk(self._shape.tree):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if any(word.arg == "download" and _is_true(word.value) for word in node.keywords):
                message = N_("Every process would download it: download it once before.")
            elif name.endswith(("SummaryWriter", "wandb.init", "mlflow.start_run")):
                message = N_("Every process would log: do it on rank 0 only.")
            elif name.endswith((".save_pretrained", "np.save", "numpy.save", "pickle.dump")):
                message = N_("Every process would write this file: do it on rank 0 only.")
            else:
                continue
            self.remarks.append(Note(node.lineno, message))

    def _new_name(self, name: str) -> str:
        while name in self._shape.names:
            name += "_"
        self._shape.names.add(name)
        return name


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _constant(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def _is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True
