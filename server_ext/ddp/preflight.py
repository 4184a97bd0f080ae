"""Advice about a script before it runs, read from its syntax tree. Pure.

Guarantees: advice only, never a block; the script is never imported or run; any bytes are an
acceptable input. Only this one file is read, so the texts speak of "this file".
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..i18n import N_
from .launch_plan import Advice

# These set up the process group, the device and the sampler themselves.
FRAMEWORKS = frozenset(
    {
        "accelerate",
        "colossalai",
        "composer",
        "deepspeed",
        "fairscale",
        "horovod",
        "ignite",
        "lightning",
        "lightning_fabric",
        "mmengine",
        "pytorch_lightning",
        "transformers",
        "ultralytics",
    }
)


def unread() -> tuple[Advice, ...]:
    """For a script that is too long to be read."""
    return (Advice("not-read", N_("The script is too long to be checked before the start.")),)


def advise(source: bytes) -> tuple[Advice, ...]:
    """What would go wrong with DDP, as far as the text of the script tells."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        return (
            Advice(
                "syntax-error",
                N_("Python cannot read the script: {reason} (line {line})."),
                {"reason": error.msg, "line": error.lineno or 0},
            ),
        )
    except (ValueError, RecursionError, MemoryError):
        return unread()
    facts = _Facts(tree)
    if facts.imports & FRAMEWORKS:
        return ()
    return tuple(_advice(facts))


class _Facts:
    """The names that a script uses."""

    def __init__(self, tree: ast.Module) -> None:
        self.imports: set[str] = set()
        self.names: set[str] = set()
        self.texts: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                self.imports.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                self.imports.add((node.module or "").split(".")[0])
                self.names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.Attribute):
                self.names.add(node.attr)
            elif isinstance(node, ast.Name):
                self.names.add(node.id)
            elif isinstance(node, ast.keyword) and node.arg:
                self.names.add(node.arg)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                self.texts.add(node.value)
        self.unguarded_saves = list(_unguarded_saves(tree))

    @property
    def cuda(self) -> bool:
        return "cuda" in self.names or any(text.startswith("cuda") for text in self.texts)


def _advice(facts: _Facts) -> Iterator[Advice]:
    if "init_process_group" not in facts.names:
        yield Advice(
            "no-process-group",
            N_(
                "This file does not call torch.distributed.init_process_group(): every process "
                "would train a model of its own. See examples/train_ddp.py."
            ),
        )
        return
    if "DataLoader" in facts.names and "DistributedSampler" not in facts.names:
        yield Advice(
            "no-distributed-sampler",
            N_(
                "This file loads data without a DistributedSampler: every process would see all "
                "of it, and more GPUs would not be faster."
            ),
        )
    if "DistributedSampler" in facts.names and "set_epoch" not in facts.names:
        yield Advice(
            "no-set-epoch",
            N_(
                "Call sampler.set_epoch(epoch) at the start of each epoch, or the data comes in "
                "the same order every time."
            ),
        )
    if facts.cuda and "LOCAL_RANK" not in facts.texts and "get_node_local_rank" not in facts.names:
        yield Advice(
            "no-local-rank",
            N_(
                "This file uses CUDA but never reads LOCAL_RANK: all processes would use GPU 0. "
                'Call torch.cuda.set_device(int(os.environ["LOCAL_RANK"])) first.'
            ),
        )
    if facts.unguarded_saves:
        yield Advice(
            "all-ranks-save",
            N_(
                "torch.save in line {line} runs in every process, and they overwrite each other: "
                "put it under `if rank == 0:`."
            ),
            {"line": facts.unguarded_saves[0]},
        )
    if "destroy_process_group" not in facts.names:
        yield Advice(
            "no-destroy",
            N_("Call torch.distributed.destroy_process_group() at the end."),
        )


def _speaks_of_rank(node: ast.AST) -> bool:
    for part in ast.walk(node):
        name = ""
        if isinstance(part, ast.Name):
            name = part.id
        elif isinstance(part, ast.Attribute):
            name = part.attr
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            name = part.value
        if any(word in name.lower() for word in ("rank", "main", "master", "primary", "leader")):
            return True
    return False


def _unguarded_saves(tree: ast.AST) -> Iterator[int]:
    """Lines of torch.save(...) that no condition on the rank surrounds or precedes.

    Walks with a stack of its own: the depth of a script's tree is not ours to trust.
    """
    stack: list[tuple[ast.AST, bool]] = [(tree, False)]
    while stack:
        node, guarded = stack.pop()
        if isinstance(node, (ast.If, ast.IfExp)) and _speaks_of_rank(node.test):
            guarded = True
        if isinstance(node, ast.BoolOp) and _speaks_of_rank(node):
            guarded = True
        if isinstance(node, ast.FunctionDef):
            # `if rank != 0: return` at the top, or a function named for one rank
            first = [part for part in node.body if isinstance(part, ast.If)]
            guarded = guarded or any(
                _speaks_of_rank(part.test) and isinstance(part.body[-1], ast.Return)
                for part in first
            )
        if (
            not guarded
            and isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "save"
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "torch"
        ):
            yield node.lineno
        stack.extend((child, guarded) for child in ast.iter_child_nodes(node))
