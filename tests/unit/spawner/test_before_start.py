"""Before the hub starts: the policy goes into the ledger, or the hub does not start."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jupyterhub_idle_culler import IdleCuller
from traitlets.config import Config

from hub_ext.defaults import CULLER, apply_policy, idle_culler, waiting_changes
from hub_ext.errors import InventoryUnavailable
from hub_ext.inventory import practice_devices
from hub_ext.ledger import Ledger
from hub_ext.models import Device, Request
from hub_ext.policy import Policy, Pool

REPOSITORY = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    made.migrate()
    return made


def away() -> tuple[Device, ...]:
    raise InventoryUnavailable("the driver is away")


def pools(*uuids: str, **more: Any) -> Config:
    return Config({"GpuPolicy": {"pools": {"class": {"devices": list(uuids), **more}}}})


def test_the_policy_is_written(ledger: Ledger) -> None:
    one, two = practice_devices(2)
    apply_policy(pools(one.uuid, slots=4), ledger, [], lambda: (one, two))
    assert ledger.policy() == Policy(pools=(Pool("class", (one.uuid,), 4),))
    ledger.record_inventory((one, two), NOW)
    found = {each.device.uuid: each.device for each in ledger.devices()}
    assert (found[one.uuid].slots, found[one.uuid].shared) == (4, True)
    assert (found[two.uuid].slots, found[two.uuid].shared) == (1, False)


def test_what_is_wrong_keeps_the_policy_of_before(ledger: Ledger) -> None:
    one, two = practice_devices(2)
    apply_policy(pools(one.uuid, slots=2), ledger, [], lambda: (one,))
    before = ledger.policy()
    with pytest.raises(SystemExit) as caught:
        apply_policy(pools(two.uuid, "GPU-x", slots=0), ledger, [], lambda: (one,))
    assert ledger.policy() == before
    words = str(caught.value)
    assert words.startswith("gpucamp does not start: 3 settings are wrong:")
    assert two.uuid in words and "GPU-x" in words and '["slots"]' in words


def test_devices_known_from_before_count_and_a_driver_that_is_away_does_not_matter(
    ledger: Ledger,
) -> None:
    one, two = practice_devices(2)
    apply_policy(pools("GPU-whatever"), ledger, [], away)  # nobody can say
    ledger.record_inventory((one,), NOW)
    apply_policy(pools(one.uuid), ledger, [], away)
    apply_policy(pools(one.uuid), ledger, [], tuple)  # MISSING now, and still a device
    with pytest.raises(SystemExit, match=two.uuid):
        apply_policy(pools(two.uuid), ledger, [], away)


def test_a_changed_policy_leaves_live_leases_alone(ledger: Ledger) -> None:
    one, two = practice_devices(2)
    ledger.record_inventory((one, two), NOW)
    lease = ledger.acquire(Request("ada", "", 1), lambda _seen: (one.uuid,), NOW)
    assert lease is not None
    apply_policy(pools(one.uuid, two.uuid, slots=4), ledger, [], lambda: (one, two))
    assert waiting_changes(ledger.policy(), ledger.devices()) == (one.uuid,)
    ledger.record_inventory((one, two), NOW)
    shared = {each.device.uuid: each.device.shared for each in ledger.devices()}
    assert shared == {one.uuid: False, two.uuid: True}
    assert ledger.leases() == (lease,)
    ledger.end(lease.id, "stopped", NOW)
    ledger.record_inventory((one, two), NOW)
    assert all(each.device.shared for each in ledger.devices())
    assert waiting_changes(ledger.policy(), ledger.devices()) == ()


def test_the_culler_may_stop_servers_and_no_more() -> None:
    c = Config()
    c.JupyterHub.services, c.JupyterHub.load_roles = [], []
    idle_culler(c, minutes=0)
    assert c.JupyterHub.services == []
    idle_culler(c, minutes=1)  # less than JupyterHub can tell
    (service,), (role,) = c.JupyterHub.services, c.JupyterHub.load_roles
    assert "--timeout=600" in service["command"] and "--cull-users=false" in service["command"]
    assert role["services"] == [service["name"]] == [CULLER]
    assert not any("admin" in scope or scope == "servers" for scope in role["scopes"])


def test_the_culler_knows_its_options() -> None:
    c = Config()
    c.JupyterHub.services, c.JupyterHub.load_roles = [], []
    idle_culler(c, minutes=240)
    command = c.JupyterHub.services[0]["command"]
    start = command.index("jupyterhub_idle_culler")
    assert command[start - 2 : start] == [sys.executable, "-m"]
    culler = IdleCuller()
    culler.parse_command_line(command[start + 1 :])
    assert (culler.timeout, culler.cull_every, culler.cull_users) == (14400, 1440, False)


def test_the_culler_ends_with_a_hub_that_is_killed(tmp_path: Path) -> None:
    c = Config()
    c.JupyterHub.services, c.JupyterHub.load_roles = [], []
    idle_culler(c, minutes=240)
    command = c.JupyterHub.services[0]["command"]
    stand_in = [*command[: command.index(sys.executable)], "sleep", "60"]
    hub = subprocess.Popen(
        [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])", *stand_in]
    )

    def children() -> list[str]:
        return Path(f"/proc/{hub.pid}/task/{hub.pid}/children").read_text().split()

    wait_for(lambda: children() and Path(f"/proc/{children()[0]}/comm").read_text() == "sleep\n")
    (child,) = children()
    hub.kill()
    hub.wait()
    wait_for(lambda: not Path(f"/proc/{child}").exists())


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.timeout(180)
def test_a_hub_with_wrong_settings_does_not_start(tmp_path: Path) -> None:
    """The real configuration file, read by a real hub."""
    own = tmp_path / "jupyterhub_config.py"
    own.write_text("c.GpuPolicy.lease_hours = -1\n\nc.GpuPolicy.lease_hour = 2\n")
    (tmp_path / "hub").mkdir()
    environ = {
        **os.environ,
        "GPUCAMP_STATE_DIR": str(tmp_path),
        "GPUCAMP_INVENTORY": "practice",
        "GPUCAMP_PROXY_COMMAND": "false",
    }
    command = [sys.executable, "-m", "jupyterhub", "-f", str(REPOSITORY / "jupyterhub_config.py")]
    hub = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120
    )
    assert hub.returncode != 0
    assert "gpucamp does not start: 2 settings are wrong:" in hub.stderr
    assert f"{own}:1: c.GpuPolicy.lease_hours: -1 is no number" in hub.stderr
    assert f"{own}:3: c.GpuPolicy.lease_hour: there is no setting" in hub.stderr
