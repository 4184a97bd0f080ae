"""What a script and the modules of its folder say, as far as DDP is concerned. Pure.

Guarantees: never imported or run; facts are of all files together, so that it does not matter which
of them calls what; a framework counts only where it is used to train, not where it is imported for
a helper.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .fixed_ports import FixedPort, find_ports
from .rank_guards import CallSite, is_rank, loggers_of_all_ranks, saves_of_all_ranks
from .script_names import File, constant, dotted, last_name, words

# These set up the process group, the device and the sampler themselves, ...
FRAMEWORKS = frozenset(
    {
        "accelerate",
        "colossalai",
        "composer",
        "deepspeed",
        "fairscale",
        "fastai",
        "horovod",
        "ignite",
        "lightning",
        "lightning_fabric",
        "mmengine",
        "pytorch_lightning",
        "sentence_transformers",
        "transformers",
        "trl",
        "ultralytics",
    }
)
# ... and of these a script may use other parts and train by itself.
_BY_CLASS = frozenset(
    {
        "accelerate",
        "lightning",
        "lightning_fabric",
        "pytorch_lightning",
        "sentence_transformers",
        "transformers",
        "trl",
    }
)
_CLASSES = re.compile(r"\w*(Trainer|Fabric|Accelerator|LightningCLI|LightningLite|PartialState)")

_HARMLESS_CUDA = frozenset(
    {"is_available", "manual_seed", "manual_seed_all", "device_count", "is_bf16_supported"}
)
_SHARDING = frozenset({"shard", "split_dataset_by_node", "split_by_node", "IterableDataset"})
_SETTING_UP = frozenset({"ddp", "dist", "distributed"})
_PLACING = frozenset({"set_device", "set_device_index", "cuda", "to", "device"})
_SPAWNING = frozenset({"torch.multiprocessing.spawn", "torch.multiprocessing.start_processes"})
_WRAPPING = frozenset({"DistributedDataParallel", "DDP", "FullyShardedDataParallel", "FSDP"})
_BY_NAME = frozenset({"import_module", "__import__", "run_path", "run_module", "instantiate"})


@dataclass(frozen=True)
class Facts:
    """names, texts: that are used anywhere; framework: that trains for the script, or "".

    foreign: whether something of a module that was not read may set up DDP; spawns: whether it
    starts processes of its own; saves: torch.save of all ranks; loggers: logs of Weights & Biases
    and TensorBoard that all ranks open; ports: with the number of the file.
    """

    names: frozenset[str]
    texts: frozenset[str]
    framework: str
    foreign: bool
    cuda: bool
    device_by_rank: bool
    shuffles: bool
    sets_epoch: bool
    shards: bool
    spawns: bool
    saves: tuple[CallSite, ...]
    loggers: tuple[CallSite, ...]
    ports: tuple[tuple[int, FixedPort], ...]


def read_facts(trees: Sequence[ast.Module], local: frozenset[str] = frozenset()) -> Facts:
    """The facts of files that import each other, the script first. local: the names of the modules
    that were read.
    """
    names: set[str] = set()
    texts: set[str] = set()
    calls: list[tuple[ast.Call, str, bool]] = []
    bases: set[str] = set()
    ports: list[tuple[int, FixedPort]] = []
    imported: set[str] = set()
    every: list[ast.AST] = []
    cuda, framework = False, ""
    files = [File.of(tree) for tree in trees]
    for number, file in enumerate(files):
        origins = file.origins
        every.extend(file.nodes)
        imported |= {_top(origin) for origin in origins.values()}
        for node in file.nodes:
            if isinstance(node, (ast.Name, ast.Attribute)):
                name = dotted(node, origins)
                # by the name that it has here, and by the one that it was imported by
                names |= {last_name(node), _last(name)}
                framework = framework or _framework_of(name)
                cuda = cuda or _is_cuda(name)
            elif isinstance(node, ast.keyword) and node.arg:
                names.add(node.arg)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
            elif isinstance(node, ast.Call):
                calls.append((node, dotted(node.func, origins), _root(node.func) in origins))
            elif isinstance(node, ast.ClassDef):
                bases |= {_last(dotted(base, origins)) for base in node.bases}
        ports.extend((number, port) for port in find_ports(file))
    return Facts(
        names=frozenset(names),
        texts=frozenset(texts),
        framework=framework or _handed_over(imported, names),
        foreign=any(is_import and _may_set_up(name, local) for _, name, is_import in calls)
        or any(_is_by_name(call) for call, _, _ in calls),
        cuda=cuda
        or any(text.startswith("cuda") for text in texts)
        or any(last_name(call) == "cuda" for call, _, _ in calls),
        device_by_rank=any(_is_device_by_rank(node) for node in every),
        shuffles=any(
            _is_sampler(last_name(call)) and not _keeps_order(call) for call, _, _ in calls
        ),
        sets_epoch="set_epoch" in texts
        or any(last_name(call) == "set_epoch" and not _is_fixed(call) for call, _, _ in calls),
        shards=bool(names & _SHARDING)
        or any(_is_sampler(name) for name in names)
        or any(base.endswith("Sampler") for base in bases)
        or any(_is_slice_by_rank(node) for node in every),
        spawns=any(name in _SPAWNING for _, name, _ in calls),
        saves=tuple(saves_of_all_ranks(files)),
        loggers=tuple(loggers_of_all_ranks(files)),
        ports=tuple(ports),
    )


def _top(origin: str) -> str:
    return origin.split(".")[0]


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _root(node: ast.AST) -> str:
    """The name that an attribute of an attribute begins with."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _framework_of(name: str) -> str:
    """The framework that a name belongs to, if what it names trains for the script; else ""."""
    top = _top(name)
    if top in _BY_CLASS:
        return top if _CLASSES.fullmatch(_last(name)) else ""
    return top if top in FRAMEWORKS else ""


def _handed_over(imported: set[str], names: set[str]) -> str:
    """One that was made elsewhere: accelerator.prepare(...), fabric.setup(...)."""
    if "accelerate" in imported and {"accelerator", "prepare"} <= names:
        return "accelerate"
    return "lightning" if "lightning" in imported and {"fabric", "setup"} <= names else ""


def _may_set_up(name: str, local: frozenset[str]) -> bool:
    """Whether a module that was not read is called, by a name that sounds like DDP's start."""
    top = _top(name)
    if top in local or top in ("", "torch") or top in sys.stdlib_module_names:
        return False
    return bool(_SETTING_UP & set(words(name))) or "process_group" in name


def _is_by_name(call: ast.Call) -> bool:
    """Whether it imports or runs what the text does not name."""
    return last_name(call) in _BY_NAME and not (
        call.args and isinstance(constant(call.args[0]), str)
    )


def _is_cuda(name: str) -> bool:
    parts = name.split(".")
    if parts[0] != "torch" or len(parts) < 3:
        return False
    return parts[1] == "accelerator" or (parts[1] == "cuda" and parts[2] not in _HARMLESS_CUDA)


def _is_device_by_rank(node: ast.AST) -> bool:
    """`set_device(rank)`, `.to(rank)`, `f"cuda:{rank}"`, `rank % torch.cuda.device_count()`."""
    if isinstance(node, ast.Call) and last_name(node) in _PLACING | _WRAPPING:
        given = [*node.args, *(word.value for word in node.keywords)]
        return any(_has_rank(part) for part in given)
    if isinstance(node, ast.JoinedStr):
        first = constant(node.values[0]) if node.values else None
        return isinstance(first, str) and first.startswith("cuda:") and _has_rank(node)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return any(last_name(part) == "device_count" for part in ast.walk(node.right))
    return False


def _has_rank(node: ast.AST) -> bool:
    return any(is_rank(part) for part in ast.walk(node))


def _is_sampler(name: str) -> bool:
    parts = words(name)
    return "distributed" in parts and "sampler" in parts and name[:1].isupper()


def _keeps_order(call: ast.Call) -> bool:
    given = {word.arg: constant(word.value) for word in call.keywords}
    return given.get("shuffle") is False or (len(call.args) > 3 and constant(call.args[3]) is False)


def _is_fixed(call: ast.Call) -> bool:
    return bool(call.args) and constant(call.args[0]) is not None


def _is_slice_by_rank(node: ast.AST) -> bool:
    """`data[rank::world_size]`, `range(rank, n, world_size)`."""
    if isinstance(node, ast.Slice):
        return node.lower is not None and _has_rank(node.lower)
    return isinstance(node, ast.Call) and last_name(node) == "range" and _has_rank(node)


def imports_of(tree: ast.Module) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """(level, module, names) of each import: level 0 is absolute, names follow `import`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield 0, alias.name, ()
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", tuple(alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and last_name(node) == "import_module" and node.args:
            name = constant(node.args[0])
            if isinstance(name, str) and name and not name.startswith("."):
                yield 0, name, ()
