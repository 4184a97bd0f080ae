"""What jupyterhub_config.py works out from the host instead of asking for it, and what it checks.

What this module guarantees: a hub whose settings are wrong, or whose ledger is another hub's, does
not start and says why; what is checked here is checked only in a hub that starts.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from datetime import UTC, datetime
from pathlib import Path

from jupyterhub.app import JupyterHub
from traitlets.config import Config

from . import garbage, hub_database, hub_priority, i18n
from .errors import InventoryUnavailable, LedgerInUse, LedgerUnavailable
from .hub_side import claim_ledger
from .inventory import scan
from .ledger import Ledger
from .models import Device, DeviceRecord
from .policy import Policy
from .policy_settings import SPAWNER, GpuPolicy, policy_from, refusal
from .settings_in_force import Setting, settings_of
from .spawner import GPUDockerSpawner

GIB = 1024**3
CULLER = "gpucamp-idle-culler"
CULLER_SCOPES = ("list:users", "read:users:activity", "read:servers", "delete:servers")
SHORTEST_CULL_MINUTES = 10

_log = logging.getLogger("gpucamp.hub")


def fair_memory_limit(servers: int, *, total: int | None = None) -> int:
    """Bytes of memory for one server, if `servers` of them run at a time.

    An equal share of this host's memory (`total`, by default looked up) after a fifth is left to
    the host; never less than 2 GiB, without which torch does not load.
    """
    if total is None:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(2 * GIB, total * 4 // 5 // servers)


def text_in(message: str, language: str) -> str:
    """A message in a language, for the hub's templates (there as `gettext`)."""

    def translated() -> str:
        i18n.set_language(language)
        return i18n._(message)

    return copy_context().run(translated)


def idle_culler(c: Config, minutes: float) -> None:
    """Have jupyterhub-idle-culler stop servers that nobody used for so many minutes; 0: never.

    It may see who is active and stop servers, nothing else; no user is ever deleted. A server
    that waits for GPUs is left alone.
    """
    if minutes <= 0:
        return
    # JupyterHub learns of activity every five minutes: less would stop servers in use
    seconds = int(max(minutes, SHORTEST_CULL_MINUTES) * 60)
    c.JupyterHub.services.append(
        {
            "name": CULLER,
            "command": [
                *_ending_with_the_hub(),
                *(sys.executable, "-m", "jupyterhub_idle_culler"),
                *(f"--timeout={seconds}", f"--cull-every={max(60, seconds // 10)}"),
                "--cull-users=false",
            ],
        }
    )
    c.JupyterHub.load_roles.append(
        {"name": CULLER, "scopes": list(CULLER_SCOPES), "services": [CULLER]}
    )


def _ending_with_the_hub() -> tuple[str, ...]:
    """A hub that is killed must not leave its culler behind, with a token that is void soon."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "TERM") if setpriv else ()


def answer_promptly(c: Config) -> None:
    """Let the hub answer others while many people start servers.

    Call it when `c.JupyterHub.db_url` and `db_kwargs` are set, if they are. See hub_database.py,
    garbage.py and hub_priority.py.
    """
    if not _hub_starts():
        return
    config = _with_command_line(c)
    hub_database.share_the_interpreter()
    hub = config.JupyterHub
    c.JupyterHub.db_kwargs = hub_database.kwargs_for(hub.get("db_url"), hub.get("db_kwargs"))
    niceness = config[SPAWNER].get("hub_niceness", hub_priority.NICENESS)
    when_started(JupyterHub.instance(), garbage.pass_over_what_is_there)
    when_started(JupyterHub.instance(), lambda: hub_priority.raise_priority(niceness))


def when_started(hub: JupyterHub, do: Callable[[], None]) -> None:
    """Call it as soon as the hub has started, if it does; said while it reads its settings."""

    def ended(started: asyncio.Future[None]) -> None:
        if not started.cancelled() and started.exception() is None:
            do()

    start: asyncio.Future[None] = hub._start_future
    start.add_done_callback(ended)


def refuse_second_hub(ledger_url: str) -> None:
    """Claim the ledger for this hub, or exit with the reason.

    Only in a hub that starts: `jupyterhub token` and the like read the configuration, too.
    """
    if not _hub_starts():
        return
    try:
        claim_ledger(ledger_url)
    except (LedgerInUse, LedgerUnavailable) as error:
        raise SystemExit(f"gpucamp does not start. {error}") from error


def check_before_start(c: Config, files: Sequence[str | Path] = ()) -> None:
    """Write the policy that `c` says into the ledger, or exit with all that is wrong with it.

    Call it last in jupyterhub_config.py. `files` are the configuration files in the order in which
    they are read; the refusal names lines of them.
    """
    if not _hub_starts():
        return
    config = _with_command_line(c)
    spawner = config[SPAWNER]
    refuse_second_hub(spawner.ledger_url)
    try:
        ledger, _claim = claim_ledger(spawner.ledger_url)
        ledger.set_configured_image(str(spawner.get("image", "")))
        apply_policy(
            config, ledger, [Path(file) for file in files], lambda: scan(_devices_of(spawner))
        )
        ledger.set_settings(hub_settings(config, files), datetime.now(UTC))
    except LedgerUnavailable as error:
        raise SystemExit(f"gpucamp does not start. {error}") from error


def hub_settings(config: Config, files: Sequence[str | Path] = ()) -> tuple[Setting, ...]:
    """What spawner and policy work with in this configuration, for admins to see."""
    where = {
        "command_line": JupyterHub.instance().cli_config,
        "files": [Path(file) for file in files],
    }
    return (
        *settings_of(GpuPolicy, config, **where),
        *settings_of(GPUDockerSpawner, config, inherited=True, **where),
    )


def _with_command_line(c: Config) -> Config:
    config = Config()
    for part in (c, JupyterHub.instance().cli_config):
        for name, section in part.items():
            config[name] = Config({**config.get(name, {}), **section})
    return config


def apply_policy(
    config: Config,
    ledger: Ledger,
    files: Sequence[Path],
    find_devices: Callable[[], Iterable[Device]],
) -> None:
    """Write the policy into the ledger. Raises SystemExit with all that is wrong with it."""
    records = ledger.devices()
    policy, problems = policy_from(config, _known(records, find_devices))
    if problems:
        raise SystemExit(f"gpucamp does not start: {refusal(problems, files)}")
    for uuid in waiting_changes(policy, records):
        _log.warning(
            "The device %s is in use: it is shared, or not, as before until it is free", uuid
        )
    ledger.set_policy(policy)


def waiting_changes(policy: Policy, records: Iterable[DeviceRecord]) -> tuple[str, ...]:
    """Devices whose sharing a new policy changes only when the leases on them have ended."""
    changed = []
    for record in records:
        pool = policy.pool_of(record.device.uuid)
        if record.slots_set is not None:
            continue  # an admin's word, which a restart does not end
        if record.lease_ids and record.device.shared != (pool is not None and pool.shared):
            changed.append(record.device.uuid)
    return tuple(changed)


def _known(
    records: Iterable[DeviceRecord], find_devices: Callable[[], Iterable[Device]]
) -> tuple[Device, ...] | None:
    """The devices that this host has or had; None if there is no telling."""
    known = {record.device.uuid: record.device for record in records}
    try:
        known |= {device.uuid: device for device in find_devices()}
    except InventoryUnavailable as error:
        _log.warning("UUIDs of new devices are not checked. %s", error)
        return tuple(known.values()) or None
    return tuple(known.values())


def _devices_of(spawner: Config) -> int:
    return int(spawner.get("practice_devices", 0))


def _hub_starts() -> bool:
    return JupyterHub.initialized() and JupyterHub.instance().subapp is None
