"""How DDP runs fail: what to look for, why it happens, what to do. Data, no decisions.

`weight` orders explanations: the lowest wins, so a cause (10) comes before a signal (40), before
an exception that the catalogue does not know (50), before what a script only printed (55), before
an exception that it printed and survived (65), before a time-out that is somebody else's fault
(70), before the victims of a rank that has gone (90). A `pattern` is looked for in the exception
that ended a rank; a script may print and survive what looks like a failure, so `anywhere`, looked
for in all of a rank's output, counts less, unless it has the form that only a library writes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..i18n import N_

CAUSE, LINE, GENERAL, SIGNAL, EXCEPTION, PRINTED, SILENT_EXIT = 10, 20, 30, 40, 50, 55, 60
LAUNCHER, SURVIVED, DERIVED, VICTIM = 62, 65, 70, 90

# Raised for what a script does wrong; PyTorch and NCCL tell of devices and peers by others, so in
# these the words of a cause are the script's own, unless a signature says `logic_error`.
LOGIC_ERRORS = frozenset(
    {
        *("ArithmeticError", "AssertionError", "AttributeError", "IndexError", "KeyError"),
        *("LookupError", "NameError", "NotImplementedError", "StopIteration", "TypeError"),
        *("UnboundLocalError", "UnicodeDecodeError", "ValueError", "ZeroDivisionError"),
    }
)


@dataclass(frozen=True)
class Signature:
    """One way to fail. Named groups of the patterns fill placeholders in `cause` and `fix`.

    with_frames: another pattern, for the traceback together with its exception. of_torchrun:
    `anywhere` counts in torchrun's own lines only; exit_code: in a rank that ended so only.
    """

    code: str
    pattern: re.Pattern[str]
    cause: str
    fix: str
    weight: int = CAUSE
    anywhere: re.Pattern[str] | None = None
    printed_weight: int = PRINTED
    with_frames: re.Pattern[str] | None = None
    logic_error: bool = False
    of_torchrun: bool = False
    exit_code: int | None = None


def _signature(
    code: str,
    pattern: str,
    cause: str,
    fix: str,
    weight: int = CAUSE,
    *,
    anywhere: str = "",
    printed_weight: int = PRINTED,
    with_frames: str = "",
    logic_error: bool = False,
    of_torchrun: bool = False,
    exit_code: int | None = None,
) -> Signature:
    return Signature(
        code,
        re.compile(pattern),
        cause,
        fix,
        weight,
        re.compile(anywhere) if anywhere else None,
        printed_weight,
        re.compile(with_frames) if with_frames else None,
        logic_error,
        of_torchrun,
        exit_code,
    )


# The first pattern that matches an exception names it, so the special come before the general.
SIGNATURES: tuple[Signature, ...] = (
    _signature(
        "lightning-devices",
        r"You set `devices=(?P<devices>\d+)`[^\n]*"
        r" does not match the world size \((?P<world>\d+)\)",
        N_("Lightning's Trainer expects {devices} process(es), and {world} were started."),
        N_(
            "Start {devices} process(es), or say Trainer(devices={world}, num_nodes=1). "
            'devices="auto" is the number of GPUs, and 1 without a GPU.'
        ),
        logic_error=True,
    ),
    _signature(
        "port-in-use",
        r"EADDRINUSE|[Aa]ddress already in use",
        N_("A network port that the run wants is in use, by an older run or another process."),
        N_("Stop your older runs. Do not set MASTER_PORT or a port in init_process_group()."),
    ),
    _signature(
        "master-unreachable",
        r"client socket has timed out.*?connect to \((?P<host>[^,]*), (?P<port>\d+)\)",
        N_("The process could not reach the meeting point at {host}:{port}."),
        N_(
            "Do not set MASTER_ADDR or MASTER_PORT in the script: torchrun sets them. On one "
            "machine it is 127.0.0.1."
        ),
    ),
    _signature(
        "rank-missing",
        r"clients joined|wait timeout after \d+ ?ms, keys: \S*default_pg"
        r"|connectFullMesh failed",
        N_("Not all processes came to the start; the others ended or hang."),
        N_("Look at the log of the other ranks: they ended before init_process_group()."),
        weight=DERIVED,
    ),
    _signature(
        "not-by-torchrun",
        r"environment variable (?:RANK|WORLD_SIZE|MASTER_ADDR|MASTER_PORT|LOCAL_RANK) expected",
        N_(
            "The script was not started by torchrun, or it removed the variables that "
            "torchrun sets."
        ),
        N_("Start it with Launch DDP or torchrun, and leave RANK, LOCAL_RANK and MASTER_* alone."),
        # os.environ's own frame: a dictionary of the script may have such keys, too
        with_frames=r"in __getitem__\n(?: [^\n]*\n)*KeyError: '(?:(?:LOCAL_)?RANK|WORLD_SIZE)'",
        logic_error=True,
    ),
    _signature(
        "no-process-group",
        r"Default process group has not been initialized",
        N_("The script uses torch.distributed before it has called init_process_group()."),
        N_("Call torch.distributed.init_process_group() at the start of the script."),
        logic_error=True,
    ),
    _signature(
        "process-group-twice",
        r"initialize the default process group twice",
        N_("init_process_group() is called twice."),
        N_("Call it once; a library such as Lightning or Accelerate calls it for you."),
        logic_error=True,
    ),
    _signature(
        "nccl-without-gpu",
        r"ProcessGroupNCCL is only supported with GPUs",
        N_("The script asks for the NCCL backend, and there is no GPU that it can use."),
        N_(
            'Use backend="nccl" if torch.cuda.is_available() else "gloo". If you were promised a '
            "GPU, run the GPU doctor."
        ),
        logic_error=True,
    ),
    _signature(
        "tensor-off-backend",
        r"No backend type associated with device type (?P<device>\w+)"
        r"|Tensors must be (?P<wanted>CUDA) and dense",
        N_("A tensor is on a device that the process group's backend cannot send."),
        N_("Move the tensor first: NCCL sends tensors on the GPU, gloo those on the CPU."),
    ),
    _signature(
        "duplicate-gpu",
        r"Duplicate GPU detected",
        N_("Two processes use the same GPU."),
        N_(
            'Call torch.cuda.set_device(int(os.environ["LOCAL_RANK"])) before anything else on the '
            "GPU, and start no more processes than you have GPUs."
        ),
        anywhere=r"NCCL WARN [^\n]*Duplicate GPU detected",
        printed_weight=LINE,
    ),
    _signature(
        "device-ordinal",
        r"invalid device ordinal",
        N_("The script names a GPU that is not there: there are more processes than GPUs."),
        N_("Start as many processes as you have GPUs; GPU numbers start at 0 in your container."),
    ),
    _signature(
        "unused-parameters",
        r"Expected to have finished reduction in the prior iteration",
        N_(
            "Some parameters of the model took no part in the loss, so DDP waited for their "
            "gradients."
        ),
        N_(
            "Use every layer in forward(), or remove the unused ones. If the unused ones change "
            "from step to step: DistributedDataParallel(..., find_unused_parameters=True)."
        ),
    ),
    _signature(
        "ready-twice",
        r"mark a variable ready only once|marked (?:as )?ready twice",
        N_("A parameter was used twice in one backward pass, often by activation checkpointing."),
        N_("Use torch.utils.checkpoint.checkpoint(..., use_reentrant=False)."),
    ),
    _signature(
        "collective-mismatch",
        r"Detected mismatch between collectives",
        N_("The ranks called different collective operations at the same time."),
        N_(
            "A collective (all_reduce, barrier, the backward pass, ...) must be reached by "
            "all ranks: "
            "take it out of `if rank == 0:`."
        ),
    ),
    _signature(
        "models-differ",
        r"DDP expects same model across all ranks|appears not to match (?:sizes|strides)",
        N_("The ranks built different models."),
        N_("Build the model the same way in every process; nothing of it may depend on the rank."),
        logic_error=True,
    ),
    _signature(
        "no-gradients",
        r"DistributedDataParallel is not needed when a module doesn't have any param",
        N_("The model given to DistributedDataParallel has no parameter to train."),
        N_("Give DDP the model that is trained, with requires_grad left on."),
        logic_error=True,
    ),
    _signature(
        "cuda-in-fork",
        r"Cannot re-initialize CUDA in forked subprocess",
        N_("A forked child process uses CUDA after its parent did."),
        N_(
            "Do not touch CUDA in a Dataset's workers, or use "
            'DataLoader(..., multiprocessing_context="spawn").'
        ),
    ),
    _signature(
        "cuda-out-of-memory",
        r"CUDA out of memory|^(?:torch\.)?(?:cuda\.)?OutOfMemoryError|CUDA error: out of memory"
        r"|CUBLAS_STATUS_ALLOC_FAILED",
        N_("The GPU has no memory left for this process."),
        N_(
            "Use a smaller batch, and shut down notebooks that hold GPU memory (the running "
            "kernels' list). If only one rank fails: do not gather everything on rank 0."
        ),
    ),
    _signature(
        "host-memory",
        r"can't allocate memory|^MemoryError|Cannot allocate memory"
        r"|Unable to allocate [\d.]+ \w+ for",
        N_("The memory of the container has no room for what this process asks for."),
        N_("Use a smaller batch, fewer DataLoader workers or fewer processes, and load less data."),
    ),
    _signature(
        "device-assert",
        r"device-side assert triggered",
        N_("A GPU kernel met a value out of range, most often a class label or an index."),
        N_(
            "Check labels and embedding indices. Run it on the CPU, or with "
            "CUDA_LAUNCH_BLOCKING=1, "
            "to see the line."
        ),
    ),
    _signature(
        "no-gpu",
        r"Found no NVIDIA driver|No CUDA GPUs are available|Torch not compiled with CUDA enabled",
        N_("The script wants CUDA, and this server has no GPU that PyTorch can use."),
        N_("Run the GPU doctor: it says why, and what to do."),
        logic_error=True,
    ),
    _signature(
        "mixed-devices",
        r"Expected all tensors to be on the same device",
        N_("Tensors of one operation are on different devices."),
        N_("Move model and batch to the same device, the one from LOCAL_RANK."),
    ),
    _signature(
        "shared-memory",
        r"creating shared memory segment|unable to (?:open|write|mmap|allocate) .*shared memory"
        r"|insufficient shared memory|killed by signal: Bus error",
        N_("Shared memory (/dev/shm) is full."),
        N_(
            "Use fewer DataLoader workers, stop old runs, or ask the instructor for a larger "
            "shm_size."
        ),
        anywhere=r"NCCL WARN [^\n]*shared memory segment"
        r"|^ERROR: Unexpected bus error encountered in worker",
        printed_weight=LINE,
    ),
    _signature(
        "worker-killed",
        r"DataLoader worker .*(?:killed by signal: Killed|exited unexpectedly)",
        N_(
            "A DataLoader worker was killed, most often because the memory of the container "
            "is full."
        ),
        N_("Use fewer workers or a smaller batch."),
    ),
    _signature(
        "nccl-error",
        r"unhandled (?P<kind>system|cuda) error|ncclSystemError|ncclUnhandledCudaError",
        N_("NCCL could not set up or use the connection between the GPUs."),
        N_(
            "Read the NCCL WARN lines above it. Run again with NCCL_DEBUG=INFO; if it names P2P, "
            "try NCCL_P2P_DISABLE=1, and run the GPU doctor."
        ),
        weight=GENERAL,  # what NCCL itself said before it (LINE) is nearer to the cause
    ),
    _signature(
        "module-prefix",
        r"(?:Missing|Unexpected) key\(s\) in state_dict:[^\n]*[\"']module\.",
        N_(
            "The checkpoint was saved from the DDP wrapper, or is loaded into it: its names "
            "differ by 'module.'."
        ),
        N_("Save and load model.module.state_dict() when the model is wrapped."),
    ),
    _signature(
        "checkpoint-broken",
        r"PytorchStreamReader failed|failed finding central directory|pickle data was truncated"
        r"|Ran out of input",
        N_(
            "A checkpoint file is incomplete: it was read while it was written, or by "
            "several ranks."
        ),
        N_("Save on rank 0 only, call torch.distributed.barrier() after it, and only then load."),
    ),
    _signature(
        "pickling",
        r"Can't (?:get attribute|get local object|pickle)|can't pickle|cannot pickle",
        N_("An object is sent to another process that cannot be pickled."),
        N_("Define functions and classes at the top of the script, not inside others, no lambda."),
        logic_error=True,
    ),
    _signature(
        "torch-missing",
        r"No module named '?torch'?(?:$|\n|\.)",
        N_("The environment's Python does not find PyTorch."),
        N_("Run the GPU doctor; Reset environment brings PyTorch back."),
        anywhere=r"No module named '?torch'?(?:$|\n|\.)",
        of_torchrun=True,
    ),
    _signature(
        "module-missing",
        r"No module named '(?P<name>[\w.]+)'",
        N_("The Python package {name} is not installed."),
        N_("Install it in a terminal or a notebook cell: pip install {name}"),
    ),
    _signature(
        "broken-library",
        r"undefined symbol|cannot open shared object file|cuDNN version incompatibility"
        r"|operator torchvision::nms does not exist",
        N_("A compiled package does not fit the installed PyTorch."),
        N_("Run the GPU doctor; Reset environment brings the matching versions back."),
    ),
    _signature(
        "disk-full",
        r"No space left on device|Disk quota exceeded",
        N_("The disk is full."),
        N_("Delete old checkpoints, data sets and caches, then start again."),
        anywhere=r"No space left on device|Disk quota exceeded",
    ),
    _signature(
        "file-missing",
        r"^FileNotFoundError: [^\n]*No such file or directory: b?'(?P<name>[^'\n]{1,300})'",
        N_("There is no file {name}."),
        N_(
            "A relative path begins at the working directory of the run, which is the script's "
            "folder if you choose none: correct the path, or put the file there."
        ),
    ),
    _signature(
        "syntax-error",
        r"(?m)^(?P<error>(?:SyntaxError|IndentationError|TabError): .*)$",
        N_("Python cannot read the script: {error}"),
        N_("Correct the line that is shown."),
    ),
    _signature(
        "script-gone",
        r"can't open file '(?P<name>[^']*)'",
        N_("The script {name} was not there any more."),
        N_("Save the script and start again."),
        anywhere=r"can't open file '(?P<name>[^']*)'",
        exit_code=2,
    ),
    _signature(
        "bad-arguments",
        r"(?m)^\S+: error: (?P<error>.*)$",
        N_("The script did not accept its arguments: {error}"),
        N_("Correct the arguments. Options of your script come after its name."),
        anywhere=r"(?m)^(?:\S+: error|Error|ERROR): (?P<error>.*)$",
        exit_code=2,
    ),
    _signature(
        "collective-timeout",
        r"Watchdog caught collective operation timeout"
        r"|Timed out waiting \d+ms for (?:recv|send)|Wait timeout after \d+ms",
        N_("A rank waited too long for the others: they are slower, hang, or took another way."),
        N_(
            "Every rank must make the same calls and the same number of steps. For long work on "
            "rank 0: init_process_group(timeout=...)."
        ),
        weight=DERIVED,
        anywhere=r"Watchdog caught collective operation timeout"
        r"|Timed out waiting \d+ms for (?:recv|send)|Wait timeout after \d+ms",
        printed_weight=DERIVED,
    ),
    _signature(
        "peer-left",
        r"[Cc]onnection closed by peer|[Cc]onnection reset by peer|Broken pipe"
        r"|ncclRemoteError|remote process exited|failed to recv, got 0 bytes"
        r"|recvValue failed|Socket closed|sendBytes failed|recvBytes failed"
        r"|Connection was likely closed|NCCL communicator was aborted",
        N_("Another rank ended while this one still waited for it."),
        N_(
            "If no other rank shows an error, it left the loop earlier: give all ranks the same "
            "number of batches (DistributedSampler with drop_last=True) and no early return."
        ),
        weight=VICTIM,
    ),
)

# Signals that end a rank: exit code -> (code, cause, fix, weight).
SIGNALS: dict[int, tuple[str, str, str, int]] = {
    -9: (
        "killed",
        N_("Rank {rank} was killed (SIGKILL), most often because the container's memory is full."),
        N_("Use a smaller batch, fewer DataLoader workers or fewer processes, and load less data."),
        SIGNAL,
    ),
    -11: (
        "segmentation-fault",
        N_("Rank {rank} crashed in compiled code (SIGSEGV)."),
        N_(
            "Run with PYTHONFAULTHANDLER=1 to see where. A package built for another PyTorch does "
            "this: run the GPU doctor."
        ),
        SIGNAL,
    ),
    -7: (
        "bus-error",
        N_("Rank {rank} ended with a bus error (SIGBUS): shared memory (/dev/shm) is full."),
        N_(
            "Use fewer DataLoader workers, stop old runs, or ask the instructor for a larger "
            "shm_size."
        ),
        SIGNAL,
    ),
    -2: (
        "interrupted",
        N_("Rank {rank} was interrupted (SIGINT, as by Ctrl+C)."),
        N_("Start it again if that was not you."),
        SIGNAL,
    ),
    -15: (
        "terminated",
        N_("Rank {rank} was asked to end (SIGTERM), by another process or by hand."),
        N_("Start it again if that was not you: no error of the script is known."),
        DERIVED + 2,
    ),
    -4: (
        "illegal-instruction",
        N_("Rank {rank} met an instruction that this CPU does not have (SIGILL)."),
        N_("A package was built for another CPU: reinstall it, or reset the environment."),
        SIGNAL,
    ),
    -6: (
        "aborted",
        N_("Rank {rank} aborted itself (SIGABRT)."),
        N_("The lines before the end say why; with NCCL it is a collective that timed out."),
        DERIVED + 1,
    ),
}
