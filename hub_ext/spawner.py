"""GPUDockerSpawner: the settings of a start and the order of its calls, nothing else.

What this module guarantees:

- Waiting for a GPU happens in `run_pre_spawn_hook`, which JupyterHub gives no time limit; `start`
  only creates, starts and waits for the answer.
- Options are checked before anything is leased, whatever way they came.
- A server counts as stopped only when the Engine says so, and as ready only when it is routed.

lifecycle.py does the work, asking.py checks what is asked for, failures.py words what goes wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from inspect import isawaitable
from typing import Any

from dockerspawner import DockerSpawner
from jupyterhub.traitlets import ByteSpecification
from traitlets import Bool, Dict, Enum, Float, Int, List, TraitError, Unicode, default, validate

from . import container_args, failed_starts, failures, internet, volumes
from .asking import Asking
from .container_args import DeviceInjection
from .container_context import context_of, memory_bytes
from .engine import ContainerState, EngineClient, Presence
from .errors import EngineRefused, GpucampError
from .hub_priority import NICENESS
from .hub_side import HubSide, open_hub_side, opened_hub_side
from .i18n import _
from .inventory import scan
from .lifecycle import Lifecycle, resume_clean_ups
from .models import Device, Lease, Request
from .options import user_options_of
from .progress import Progress
from .readiness import ServerStopped, wait_until_ready
from .space import limit_bytes
from .spawn_metrics import Stage, timed
from .start_slots import usual_count


class GPUDockerSpawner(DockerSpawner):
    """A container per server from one pinned image, with the GPUs that the ledger leased to it."""

    ledger_url = Unicode(
        help="""Where the ledger of GPU leases is: an SQLAlchemy URL, such as
        `sqlite:////srv/gpucamp/ledger.sqlite` or `postgresql+psycopg://…`. One hub per ledger.
        The gpucamp service must be given the same one."""
    ).tag(config=True)

    max_gpus = Int(
        8,
        min=0,
        max=1024,
        help="""The largest number of GPUs that one server may ask for. 0: none, and no form.
        May be set per group with `group_overrides`.""",
    ).tag(config=True)

    default_gpus = Int(
        1, min=0, help="""How many GPUs a server gets that does not say how many it wants."""
    ).tag(config=True)

    practice_devices = Int(
        0,
        min=0,
        max=64,
        help="""How many simulated devices there are on a host without an NVIDIA GPU. Leases, the
        queue, doctor, reset and DDP (on processors) work with them, and every page says that they
        are simulated. 0: a host without a GPU has none.""",
    ).tag(config=True)

    device_injection = Enum(
        ["auto", *DeviceInjection],
        "auto",
        help="""How devices get into the container. `auto`: `practice` for simulated devices and
        `device_request` for real ones. `device_request`: the Engine's nvidia driver, as
        `docker run --gpus device=UUID`. `cdi`: names of a CDI specification (Docker 28.2 or newer,
        see `nvidia-ctk cdi generate`). `practice`: nothing but the stand-in library in the
        image.""",
    ).tag(config=True)

    queue_timeout = Float(
        4 * 3600,
        min=1,
        help="""Seconds that a start may wait for GPUs before it is given up with status 503.""",
    ).tag(config=True)

    service_url = Unicode(
        help="""The address of the gpucamp service as containers reach it, for example
        `http://172.18.0.1:8083/services/gpucamp/`. The server extension asks it for a reset."""
    ).tag(config=True)

    internet_proxy = Unicode(
        help="""The proxy by which containers reach the internet, such as
        `http://proxy.school.example:3128`, without a password: everybody could read it. The hub and
        the service are reached directly. Empty: no proxy."""
    ).tag(config=True)

    internet_direct = List(
        Unicode(),
        help="""Hosts, domains (`.school.example`) and networks that containers reach without
        `internet_proxy`, beside the hub, the service and themselves.""",
    ).tag(config=True)

    internet_mirrors = Dict(
        help="""Regional mirrors that containers use by default: a URL for any of `huggingface`
        (HF_ENDPOINT), `pip` (PIP_INDEX_URL; trusted also where it is plain http) and `wandb`
        (WANDB_BASE_URL, a server of your own)."""
    ).tag(config=True)

    offline = Bool(
        False,
        help="""Whether containers have no internet: then Hugging Face's libraries and pip use what
        is there instead of waiting for an answer, Weights & Biases writes to the work volume only,
        and the doctor does not advise against it. It does not cut the network.""",
    ).tag(config=True)

    shm_size = ByteSpecification(
        0,
        help="""Size of /dev/shm. 0: 1 GiB for each GPU and at least 1 GiB. DataLoader workers and
        NCCL need it; what is used of it counts as memory of the container.""",
    ).tag(config=True)

    tmp_size = ByteSpecification(
        "4G", help="""Size limit of /tmp, which is in memory; what is used counts as memory."""
    ).tag(config=True)

    pids_limit = Int(
        4096, min=64, help="""How many processes and threads a container may have."""
    ).tag(config=True)

    ulimits = Dict(
        {"memlock": -1, "nofile": 65536},
        help="""Resource limits of a container (-1: none). An Engine that may not raise them starts
        its containers without; the hub's log says so once.""",
    ).tag(config=True)

    limit_volumes = Bool(
        False,
        help="""Whether volumes are made with a size, so that nobody can write more than
        `GpuPolicy.work_gib` into their work and `GpuPolicy.environments_gib` into an environment.
        Needs an Engine whose data is on XFS mounted with `pquota`; another one refuses to make such
        volumes. A volume keeps the size that it was made with.""",
    ).tag(config=True)

    concurrent_starts = Int(
        0,
        min=0,
        help="""How many containers may be started at the same time; others follow in order. One
        that takes longer than two seconds does not keep the next from starting. 0: half as many as
        this host has cores, which leaves some of them to the hub while many people start
        servers.""",
    ).tag(config=True)

    hub_niceness = Int(
        NICENESS,
        min=-20,
        max=0,
        help="""The hub's priority on its host, as of `nice`, so that everybody gets an answer while
        containers start there. Needs root or CAP_SYS_NICE; without, the hub runs with the usual
        one and its log says so. 0: the usual one.""",
    ).tag(config=True)

    engine_threads = Int(
        8, min=1, help="""How many calls to the Docker Engine may run at once, for all users."""
    ).tag(config=True)

    engine_timeout = Float(
        60, min=1, help="""Seconds of silence after which a call to the Engine has failed."""
    ).tag(config=True)

    ready_interval = Float(
        0.05, min=0.01, help="""Seconds between two looks whether a new server answers."""
    ).tag(config=True)

    stop_grace = Int(
        5, min=0, help="""Seconds that a server may take to end by itself before it is killed."""
    ).tag(config=True)

    stop_patience = Float(
        30, min=0, help="""Seconds for which a stop tries an Engine that does not answer."""
    ).tag(config=True)

    @default("prefix")
    def _prefix_default(self) -> str:
        return volumes.PREFIX

    @validate("prefix")
    def _prefix_is_plain(self, proposal: Any) -> str:
        if not proposal.value or volumes.slug(proposal.value) != proposal.value:
            raise TraitError("prefix: lower-case letters, digits and single hyphens within")
        return str(proposal.value)

    @validate("internet_proxy")
    def _proxy_can_be_used(self, proposal: Any) -> str:
        try:
            return internet.check_proxy(proposal.value)
        except ValueError as error:
            raise TraitError(f"internet_proxy: {error}") from error

    @validate("internet_mirrors")
    def _mirrors_can_be_used(self, proposal: Any) -> dict[str, str]:
        try:
            return internet.check_mirrors(proposal.value)
        except ValueError as error:
            raise TraitError(f"internet_mirrors: {error}") from error

    @default("object_name")
    def _object_name_default(self) -> str:
        return volumes.container_name(self.user.name, self.name, prefix=self.prefix)

    @default("options_form")
    def _default_options_form(self) -> Any:
        return GPUDockerSpawner._render_form if self.max_gpus else ""

    @default("options_from_form")
    def _default_options_from_form(self) -> Any:
        return self._check_form

    @default("apply_user_options")
    def _default_apply_user_options(self) -> Any:
        return GPUDockerSpawner._check_options

    _life: Lifecycle | None = None
    _request: Request | None = None
    _spawning = False  # a start began in this process
    _routed = False
    _ended: str | None = None  # how the container ended, once that is known
    _address = ""
    _image = ""  # of this start: the configured one, or what is pinned in its place
    _generation = 0
    _devices: tuple[Device, ...] = ()  # of the lease
    _sizes: tuple[int | None, int | None] = (None, None)  # of new volumes: environment, work
    _asking: Asking
    progress_log: Progress

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.progress_log = Progress()
        self._asking = Asking(self)

    # -- the order of a start

    async def _check_options(self, user_options: object) -> None:
        """Refuse what is out of bounds with 400, and do not keep it for the next start."""
        self._asking.speak_as_asked()
        with failures.told(), timed(Stage.OPTIONS):
            self._request = await self._asking.check(await self._side(), user_options)

    async def _check_form(self, form: Mapping[str, Any]) -> dict[str, object]:
        """A submitted form as user_options; JupyterHub shows the form again if it is refused."""
        self._asking.speak_as_asked()
        with failures.told():
            return await self._asking.from_form(await self._side(), form)

    async def run_pre_spawn_hook(self) -> None:
        """The admin's hook, then all that must not be timed: room, image, the queue, the lease."""
        hook = super().run_pre_spawn_hook()
        if isawaitable(hook):
            await hook
        if self._request is None:  # the admin replaced apply_user_options
            await self._check_options(self.user_options)
        with failures.told():
            await self._prepare()

    async def _prepare(self) -> None:
        request = self._request
        assert request is not None  # noqa: S101  (checked above)
        side = await self._side()
        self._life = Lifecycle(side, self.user.name, self.name, self.object_name)
        self.progress_log.say(5, _("Looking for what is free"))
        with timed(Stage.ROOM):
            await self._life.make_room()
        with timed(Stage.PULL):
            self._image = await asyncio.to_thread(side.ledger.image_for, self.image)
            await self._life.pull_if_missing(self._image, self.progress_log.tell_pull)
        with timed(Stage.QUEUE):
            lease = await self._life.acquire(
                request,
                limit=self.queue_timeout,
                tell=self.progress_log.tell_place,
                user_options=user_options_of(request),
            )
        snapshot = (await side.line.look()).snapshot
        if self.limit_volumes:
            rule = snapshot.policy.rule_for(lease.groups)
            self._sizes = (limit_bytes(rule.environments_gib), limit_bytes(rule.work_gib))
        known = {each.device.uuid: each.device for each in snapshot.devices}
        self._devices = tuple(known[uuid] for uuid in lease.device_uuids)
        self.progress_log.tell_devices(self._devices, shared=lease.shared)

    async def start(self) -> tuple[str, int]:
        """Create and start the container, and return its address once the server answers."""
        deadline = asyncio.get_running_loop().time() + self.start_timeout - 1
        life = self._life
        assert life is not None and life.lease is not None  # noqa: S101  (the hook ran)
        lease = life.lease
        try:
            environment = await asyncio.to_thread(
                life.side.ledger.environment, self.user.name, self.name
            )
            self._generation = environment.generation
            self.progress_log.say(40, _("Creating your container"))
            state = await life.run(lambda raised: self._create_request(life, lease, raised))
            self.object_id = state.id
            self._address = state.addresses.get(self.network_name, "")
            if state.presence is Presence.RUNNING and not self._address:
                raise EngineRefused(f"The container has no address in network {self.network_name}.")
            self.progress_log.say(60, _("Starting JupyterLab"))
            with timed(Stage.READY):
                await wait_until_ready(
                    f"http://{self._address}:{self.port}{self.server.base_url}api",
                    life.state,
                    interval=self.ready_interval,
                    limit=deadline - asyncio.get_running_loop().time(),
                )
            await life.mark_running()
        except ServerStopped as stopped:
            tail = await life.log_tail()
            trouble = await self._count_failed(life)
            raise failures.server_stopped(
                stopped.state, tail, memory_bytes(self), trouble
            ) from stopped
        except TimeoutError as error:
            tail = await life.log_tail()
            trouble = await self._count_failed(life)
            raise failures.not_ready(self.start_timeout, tail, trouble) from error
        except GpucampError as error:
            raise failures.spawn_failure(error) from error
        self.progress_log.say(90, _("Your server answers"))
        return self._address, self.port

    async def _count_failed(self, life: Lifecycle) -> failures.Trouble:
        return await failed_starts.count(
            life.side.ledger, self.user.name, self.name, self._generation, self.hub.base_url
        )

    # -- while it runs

    async def poll(self) -> str | None:
        """None while the container runs or the Engine does not say; else how it ended."""
        if self._ended is not None:
            return self._ended
        try:
            life = await self._lifecycle()
        except GpucampError as error:
            self.log.error("Cannot tell whether %s runs: %s", self._log_name, error)
            return None
        if life is None or (self._spawning and not life.create_sent):
            return "not started"
        state = await life.state()
        if state.presence is Presence.UNKNOWN:
            self.log.warning("The Engine does not say how %s is: %s", self._log_name, state.error)
            return None
        if state.presence is Presence.RUNNING:
            await self._adopt(life, state)
            return None
        if state.presence is Presence.STOPPED:
            tail = await life.log_tail()
            self.log.warning("%s ended; the end of its log:\n%s", self._log_name, tail)
        self._ended = failures.describe_end(state)
        return self._ended

    async def _adopt(self, life: Lifecycle, state: ContainerState) -> None:
        """After a restart of the hub: know the container, its address and its lease again."""
        self._address = state.addresses.get(self.network_name, "")
        if life.lease is None and not self._spawning:
            self.object_id = state.id
            try:
                await life.adopt(state)
            except GpucampError as error:
                self.log.error("The lease of %s is not known: %s", self._log_name, error)

    async def get_url(self) -> str:
        """Where the server is; found anew after a hub was killed in the middle of a start."""
        if not self._address:
            return str(self.server.url)
        return f"http://{self._address}:{self.port}{self.server.base_url}"

    @property
    def ready(self) -> bool:
        """Whether people can be sent to the server.

        JupyterHub takes a cancelled start for a ready server until it has cleaned up, and sends
        the waiting page to a dead address. So ready means, too, that the hub has routed it.
        """
        return bool(super().ready) and self._routed

    def add_poll_callback(self, callback: Any, *args: Any, **kwargs: Any) -> None:
        """JupyterHub calls this last, once the server is routed (or was found after a restart)."""
        self._routed = True
        super().add_poll_callback(callback, *args, **kwargs)

    def clear_state(self) -> None:
        """Forget the last start; JupyterHub calls this before the next one and after a stop."""
        super().clear_state()
        self.object_id = ""
        self._spawning = True
        self._routed = False
        self._life = self._request = self._ended = None
        self._address = ""
        self.progress_log = Progress()

    def get_state(self) -> dict[str, Any]:
        """What a restarted hub must know; the lease itself is in the ledger."""
        state = dict(super().get_state())
        if self._life is not None and self._life.lease is not None:
            state["lease_id"] = self._life.lease.id
        return state

    # -- the order of a stop

    async def stop(self, now: bool = False) -> None:
        """End the container; returns when the Engine says that it is gone.

        After a start that failed nobody is made to wait for an Engine that does not answer: the
        clean-up goes on in the background.
        """
        life = await self._lifecycle()
        if life is not None:
            failed = self._spawning and not self._routed
            grace = 0 if now or failed else self.stop_grace
            await life.stop(grace, 0 if failed else self.stop_patience)

    async def run_post_stop_hook(self) -> None:
        """JupyterHub calls this after every stop, failure and cancellation."""
        hook = super().run_post_stop_hook()
        if isawaitable(hook):
            await hook
        life = await self._lifecycle()
        if life is not None:
            await life.tear_down(self._ended or "the server was stopped")

    # -- what people see

    async def progress(self) -> AsyncIterator[dict[str, object]]:
        """All messages of this start, from the first, for every viewer."""
        async for event in self.progress_log.follow():
            yield event

    async def _render_form(self) -> str:
        self._asking.speak_as_asked()
        with failures.told():
            return await self._asking.form(await self._side())

    # -- parts

    async def _side(self) -> HubSide:
        side = opened_hub_side(self.ledger_url)
        if side is not None:
            side.claim.require()
            return side
        side = await asyncio.to_thread(
            open_hub_side,
            self.ledger_url,
            self._make_engine,
            self._find_devices,
            self.concurrent_starts or usual_count(),
        )
        resume_clean_ups(side)
        return side

    def _make_engine(self) -> EngineClient:
        return EngineClient(threads=self.engine_threads, timeout=self.engine_timeout)

    def _find_devices(self) -> tuple[Device, ...]:
        return scan(self.practice_devices)

    async def _lifecycle(self) -> Lifecycle | None:
        """That of this start; after a restart of the hub one for what it may have left."""
        if self._life is None and not self._spawning:
            side = await self._side()
            self._life = Lifecycle(
                side, self.user.name, self.name, self.object_name, container_id=self.object_id
            )
        return self._life

    def _create_request(
        self, life: Lifecycle, lease: Lease, raise_limits: bool
    ) -> dict[str, object]:
        context = context_of(
            self,
            life.side.hub_id,
            self._devices,
            self._image,
            self._generation,
            self._sizes,
            raise_limits=raise_limits,
        )
        return container_args.create_request(lease, context)
