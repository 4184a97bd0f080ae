"""What will be run for a launch: request + machine -> argv, environment, warnings. Pure.

Guarantees:
- The command shown (`Plan.command`) is `shlex.join` of the argv that runs: there is no shell, so
  nothing in a script's name or its arguments can be read as one.
- What was asked for by name (a variable, OMP_NUM_THREADS, NCCL_DEBUG) wins over the defaults.
- More than one process on MIG instances is refused: a process can use one instance only, and NCCL
  does not connect them.
- The environment handed to a run holds no secret of the server: not the hub's token, not the
  server's, not a key of the cookie.
- `--standalone --local-addr 127.0.0.1`: two runs never fight for a port, and a host name that
  does not resolve does not hang the rendezvous (pytorch#150532).
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import BadRequest
from ..i18n import N_, Gettext
from .fixed_ports import ports_of_arguments
from .launch_request import LaunchRequest, is_torchruns
from .trackers.choice import Tracker

HARD_MAXIMUM = 64  # processes on one machine, whatever its cores
RUN_MARK = "GPUCAMP_RUN_ID"  # carried by every process of a run, so that it can be found again
AT_EXIT = os.path.join(os.path.dirname(__file__), "at_exit")  # its sitecustomize says why
EXIT_CODE = "exit-code"  # the file in which the agent leaves its own, in the folder of the run
RANKS = "ranks"  # the folder of torchrun's own files, in that of the run

# Whole names and beginnings of names that never reach a user's script by way of a run.
_SECRET_NAMES = frozenset({"CONFIGPROXY_AUTH_TOKEN", "JUPYTER_TOKEN"})
_SECRET_PREFIXES = ("JUPYTERHUB_", "JPY_")


@dataclass(frozen=True)
class Machine:
    """What the server knows about where it runs. Sizes in bytes."""

    cpus: int  # the CPU quota, whole cores, at least 1
    devices: tuple[str, ...]  # UUIDs of the lease
    simulated: bool  # practice devices: there is no CUDA behind them
    launcher: tuple[str, ...]  # ("torchrun",) or (python, "-m", "torch.distributed.run")
    python: str  # of the kernel, absolute
    runs_folder: str  # absolute
    shm_free_bytes: int | None = None
    disk_free_bytes: int | None = None
    mig: bool = False  # the devices are MIG instances
    shared: bool = False  # other servers use the devices too

    @property
    def real_devices(self) -> int:
        """Number of devices that CUDA can use."""
        return 0 if self.simulated else len(self.devices)

    @property
    def backend(self) -> str:
        """The process group backend that fits: "nccl" or "gloo"."""
        return "nccl" if self.real_devices else "gloo"

    @property
    def default_processes(self) -> int:
        """One per real device; else two to four, within the CPU quota where it allows two. MIG
        instances serve one.
        """
        if self.mig:
            return 1
        return self.real_devices or max(2, min(self.cpus, 4))

    @property
    def max_processes(self) -> int:
        """At least 2, so that DDP can be tried on one core."""
        return min(HARD_MAXIMUM, max(2, self.cpus, self.real_devices))


@dataclass(frozen=True)
class Advice:
    """A warning; never a block. `message` is a msgid, `params` fill its placeholders."""

    code: str
    message: str
    params: Mapping[str, object] = field(default_factory=dict)

    def render(self, gettext: Gettext) -> str:
        """The message in a language."""
        return gettext(self.message).format(**self.params)


@dataclass(frozen=True)
class Script:
    """A script or module that was found, is allowed and is readable."""

    path: str  # absolute; of a module its name: what torchrun gets
    shown: str  # relative to the Jupyter root, what people see
    working_directory: str  # absolute
    advice: tuple[Advice, ...] = ()  # what reading it told
    is_module: bool = False
    trackers: frozenset[str] = frozenset()  # that it logs to itself


@dataclass(frozen=True)
class Plan:
    """Everything that a start needs."""

    run_id: str
    script: str  # as people know it, or a module's name
    arguments: tuple[str, ...]
    processes: int
    argv: tuple[str, ...]
    env: dict[str, str]  # what is set on top of the server's own environment
    working_directory: str
    folder: str  # of this run
    advice: tuple[Advice, ...]
    is_module: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)  # what was asked for of `env`
    max_restarts: int = 0
    hidden_ranks: tuple[int, ...] = ()  # whose output is not in the log, but in files of theirs
    python: str = ""  # of the kernel, absolute
    trackers: tuple[Tracker, ...] = ()  # that get the numbers of the lowest rank in the log
    asked_trackers: tuple[str, ...] | None = None  # None: those that are set up

    @property
    def command(self) -> str:
        """The command, as it is run and as it can be pasted into a terminal."""
        return shlex.join(self.argv)

    @property
    def terminal_command(self) -> str:
        """The same with its folder and its environment, for a terminal anywhere."""
        settings = " ".join(
            f"{name}={shlex.quote(value)}"
            for name, value in self.env.items()
            if name != RUN_MARK  # a terminal's processes are not this server's to end
        )
        return f"cd {shlex.quote(self.working_directory)} && {settings} {self.command}"


def make_plan(
    request: LaunchRequest,
    script: Script,
    machine: Machine,
    run_id: str,
    *,
    other_runs: int = 0,
    trackers: tuple[Tracker, ...] = (),
) -> Plan:
    """Decide what is run. `other_runs`: how many are going on already; trackers: see choice.py.

    Raises BadRequest for more than one process on MIG instances.
    """
    processes = request.processes or machine.default_processes
    if machine.mig and processes > 1:
        raise BadRequest(
            N_(
                "DDP does not work over MIG instances: a process can use one instance only, and "
                "NCCL does not connect them. Use 1 process, or start your server again with whole "
                "GPUs."
            )
        )
    folder = f"{machine.runs_folder}/{run_id}"
    hides = bool(request.shown_ranks) and len(request.shown_ranks) < processes
    argv = (
        *machine.launcher,
        "--standalone",
        "--local-addr",
        "127.0.0.1",
        "--nproc-per-node",
        str(processes),
        "--log-dir",
        f"{folder}/{RANKS}",
        "--redirects",
        "3",
        "--tee",
        "3",
        *(("--max-restarts", str(request.max_restarts)) if request.max_restarts else ()),
        *(("--local-ranks-filter", ",".join(map(str, request.shown_ranks))) if hides else ()),
        *(("--module",) if script.is_module else ()),
        # What follows the script is the script's. Its path is absolute, so it never looks like
        # an option itself, and neither does a module's name.
        script.path,
        *request.arguments,
    )
    return Plan(
        run_id=run_id,
        script=script.shown,
        is_module=script.is_module,
        arguments=request.arguments,
        processes=processes,
        environment=dict(request.environment),
        max_restarts=request.max_restarts,
        hidden_ranks=tuple(set(range(processes)) - set(request.shown_ranks)) if hides else (),
        argv=argv,
        env={
            **_environment(run_id, folder, processes, machine),
            **request.environment,
            "PYTHONPATH": os.pathsep.join(
                [AT_EXIT, *filter(None, [request.environment.get("PYTHONPATH")])]
            ),
        },
        working_directory=script.working_directory,
        folder=folder,
        python=machine.python,
        trackers=trackers,
        asked_trackers=request.trackers,
        advice=(
            *_warnings(processes, machine, other_runs),
            *_ports(request.arguments),
            *script.advice,
        ),
    )


def child_environment(server: Mapping[str, str], plan: Plan) -> dict[str, str]:
    """The whole environment of a run: the server's without its secrets, then the plan's."""
    merged = {**servers_environment(server), **plan.env}
    if server.get("PYTHONPATH") and "PYTHONPATH" not in plan.environment:
        merged["PYTHONPATH"] += os.pathsep + server["PYTHONPATH"]
    merged["GPUCAMP_DDP_EXIT_CODE"] = f"{plan.folder}/{EXIT_CODE}"  # at_exit writes it
    return merged


def servers_environment(server: Mapping[str, str]) -> dict[str, str]:
    """What of the server's own environment a run may have."""
    return {
        name: value
        for name, value in server.items()
        if name not in _SECRET_NAMES
        and not name.startswith(_SECRET_PREFIXES)
        # a kernel or a terminal may have left an agent's variables of another launch
        and not is_torchruns(name)
    }


def _environment(run_id: str, folder: str, processes: int, machine: Machine) -> dict[str, str]:
    return {
        RUN_MARK: run_id,
        # Without it a rank's output stays in its buffer until 8 KiB are full.
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(max(1, machine.cpus // processes)),
        "NCCL_DEBUG": "WARN",
        "NCCL_SOCKET_IFNAME": "lo",
        "GLOO_SOCKET_IFNAME": "lo",
        # Without it Accelerate, and so Transformers' Trainer, would not see the other processes
        # where there is no GPU: each would train alone, and nothing would say so.
        **({} if machine.real_devices else {"ACCELERATE_USE_CPU": "true"}),
        # Lightning and Accelerate ask NVML whether there is CUDA, and that of practice says yes.
        **({"CUDA_VISIBLE_DEVICES": ""} if machine.simulated else {}),
        # INFO names unused parameters; DETAIL would check every collective and cost time.
        "TORCH_DISTRIBUTED_DEBUG": "INFO",
        "TORCH_NCCL_DUMP_ON_TIMEOUT": "1",
        "TORCH_FR_BUFFER_SIZE": "2000",
        "TORCH_FR_DUMP_TEMP_FILE": f"{folder}/flight_recorder_",
        "TORCH_NCCL_DEBUG_INFO_TEMP_FILE": f"{folder}/flight_recorder_",
    }


def _ports(arguments: Sequence[str]) -> list[Advice]:
    return [
        Advice(
            "fixed-port",
            N_(
                "The arguments fix port {port}: torchrun chooses a free one itself, and the "
                "processes would wait for this one until they time out. Leave the address away, "
                "or use env://."
            ),
            {"port": one.port},
        )
        for one in ports_of_arguments(arguments)[:1]
    ]


def _warnings(processes: int, machine: Machine, other_runs: int) -> list[Advice]:
    found = []
    if machine.real_devices and processes > machine.real_devices:
        found.append(
            Advice(
                "more-processes-than-gpus",
                N_(
                    "{processes} processes but {gpus} GPU(s): NCCL refuses two processes on one "
                    "GPU. Use {gpus}."
                ),
                {"processes": processes, "gpus": machine.real_devices},
            )
        )
    if not machine.real_devices and processes > machine.cpus:
        found.append(
            Advice(
                "more-processes-than-cpus",
                N_(
                    "{processes} processes share {cpus} CPU core(s): good for trying out, not "
                    "faster."
                ),
                {"processes": processes, "cpus": machine.cpus},
            )
        )
    if machine.mig and len(machine.devices) > 1:
        found.append(
            Advice(
                "mig",
                N_(
                    "The process uses one of your {count} MIG instances; the others do nothing. "
                    "One whole GPU would be faster."
                ),
                {"count": len(machine.devices)},
            )
        )
    if machine.shared:
        found.append(
            Advice(
                "shared",
                N_(
                    "Your GPU is shared with others, and its memory is not protected: leave some "
                    "free for them, and expect 'out of memory' when they need much."
                ),
            )
        )
    if other_runs:
        found.append(
            Advice(
                "other-runs",
                N_("{count} other run(s) of yours are going on and share the GPUs and cores."),
                {"count": other_runs},
            )
        )
    if machine.shm_free_bytes is not None and machine.shm_free_bytes < 64 * 2**20 * processes:
        found.append(
            Advice(
                "shm",
                N_(
                    "Shared memory (/dev/shm) has {free} MB free: DataLoader workers and NCCL may "
                    "fail with 'Bus error'. Stop old runs, or ask for a larger shm_size."
                ),
                {"free": machine.shm_free_bytes // 2**20},
            )
        )
    if machine.disk_free_bytes is not None and machine.disk_free_bytes < 512 * 2**20:
        found.append(
            Advice(
                "disk",
                N_("Your work volume has only {free} MB free for logs and checkpoints."),
                {"free": machine.disk_free_bytes // 2**20},
            )
        )
    return found
