"""Of torch.distributed, DDP and what is built on them. Data."""

from __future__ import annotations

from ...i18n import N_
from .model import DERIVED, LINE, Signature, signature

DISTRIBUTED: tuple[Signature, ...] = (
    signature(
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
    signature(
        "port-in-use",
        r"EADDRINUSE|[Aa]ddress already in use",
        N_("A network port that the run wants is in use, by an older run or another process."),
        N_("Stop your older runs. Do not set MASTER_PORT or a port in init_process_group()."),
    ),
    signature(
        "master-unreachable",
        r"client socket has timed out.*?connect to \((?P<host>[^,]*), (?P<port>\d+)\)",
        N_("The process could not reach the meeting point at {host}:{port}."),
        N_(
            "Do not set MASTER_ADDR or MASTER_PORT in the script: torchrun sets them. On one "
            "machine it is 127.0.0.1."
        ),
    ),
    signature(
        "rank-missing",
        r"clients joined|wait timeout after \d+ ?ms, keys: \S*default_pg"
        r"|connectFullMesh failed",
        N_("Not all processes came to the start; the others ended or hang."),
        N_("Look at the log of the other ranks: they ended before init_process_group()."),
        weight=DERIVED,
    ),
    signature(
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
    signature(
        "no-process-group",
        r"Default process group has not been initialized",
        N_("The script uses torch.distributed before it has called init_process_group()."),
        N_("Call torch.distributed.init_process_group() at the start of the script."),
        logic_error=True,
    ),
    signature(
        "process-group-twice",
        r"initialize the default process group twice",
        N_("init_process_group() is called twice."),
        N_("Call it once; a library such as Lightning or Accelerate calls it for you."),
        logic_error=True,
    ),
    signature(
        "nccl-without-gpu",
        r"ProcessGroupNCCL is only supported with GPUs",
        N_("The script asks for the NCCL backend, and there is no GPU that it can use."),
        N_(
            'Use backend="nccl" if torch.cuda.is_available() else "gloo". If you were promised a '
            "GPU, run the GPU doctor."
        ),
        logic_error=True,
    ),
    signature(
        "tensor-off-backend",
        r"No backend type associated with device type (?P<device>\w+)"
        r"|Tensors must be (?P<wanted>CUDA) and dense",
        N_("A tensor is on a device that the process group's backend cannot send."),
        N_("Move the tensor first: NCCL sends tensors on the GPU, gloo those on the CPU."),
    ),
    signature(
        "dtype-off-backend",
        r"^RuntimeError: Invalid scalar type",
        N_("A tensor has a type of numbers that the process group's backend cannot send."),
        N_("Convert it first, to float32 or int64 say: tensor.float(), tensor.long()."),
    ),
    signature(
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
    signature(
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
    signature(
        "ready-twice",
        r"mark a variable ready only once|marked (?:as )?ready twice",
        N_("A parameter was used twice in one backward pass, often by activation checkpointing."),
        N_("Use torch.utils.checkpoint.checkpoint(..., use_reentrant=False)."),
    ),
    signature(
        "collective-mismatch",
        r"Detected mismatch between collectives|op\.preamble\.length <= op\.nbytes",
        N_(
            "The ranks called different collective operations at the same time, or one with "
            "tensors of different sizes."
        ),
        N_(
            "A collective (all_reduce, barrier, the backward pass, ...) must be reached by "
            "all ranks, with tensors of one size: take it out of `if rank == 0:`, and mind the "
            "last batch."
        ),
        anywhere=r"gloo::EnforceNotMet'\n[^\n]*op\.preamble\.length <= op\.nbytes",
        printed_weight=LINE,
    ),
    signature(
        "models-differ",
        r"DDP expects same model across all ranks|appears not to match (?:sizes|strides)",
        N_("The ranks built different models."),
        N_("Build the model the same way in every process; nothing of it may depend on the rank."),
        logic_error=True,
    ),
    signature(
        "ddp-device-ids",
        r"device_ids and output_device arguments only work with",
        N_("DistributedDataParallel is given device_ids, and the model is not on one GPU."),
        N_("Move the model there first: model.to(local_rank). On the CPU leave device_ids away."),
        logic_error=True,
    ),
    signature(
        "wrapped-model",
        r"'(?P<wrapper>DistributedDataParallel|FullyShardedDataParallel|DataParallel)' object"
        r" has no attribute '(?P<name>\w+)'",
        N_("{wrapper} has no {name}: it wraps the model that may have it."),
        N_("Say model.module.{name}. The forward pass itself must go through the wrapper."),
        logic_error=True,
    ),
    signature(
        "modified-in-place",
        r"modified by an inplace operation",
        N_(
            "A tensor that the backward pass needs was changed in place. With DDP it is most often "
            "a second forward pass, before which it writes over the buffers of batch norm."
        ),
        N_(
            "One forward pass for each backward pass, or DistributedDataParallel(..., "
            "broadcast_buffers=False); and no x += y or relu(inplace=True) on such a tensor."
        ),
    ),
    signature(
        "no-gradients",
        r"DistributedDataParallel is not needed when a module doesn't have any param",
        N_("The model given to DistributedDataParallel has no parameter to train."),
        N_("Give DDP the model that is trained, with requires_grad left on."),
        logic_error=True,
    ),
)
