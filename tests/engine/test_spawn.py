"""Starts and stops on a real Docker Engine, seen from the hub's REST API and from inside."""

from __future__ import annotations

import asyncio
import html
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import aiohttp
import docker
import pytest
from hub_app import REPOSITORY, HubApp, until
from prometheus_client.parser import text_string_to_metric_families

from hub_ext.models import LeaseState
from hub_ext.service.api_queue import place_at
from hub_ext.spawn_metrics import Stage

FIRST, SECOND = (f"GPU-5ca1ab1e-0000-4000-8000-{number:012x}" for number in range(2))

pytestmark = pytest.mark.timeout(300)


def inside(engine: docker.DockerClient, name: str, *command: str) -> str:
    """What a command prints in a container."""
    code, output = engine.containers.get(name).exec_run(list(command))
    assert code == 0, output
    return str(output.decode())


def environ_inside(engine: docker.DockerClient, name: str) -> dict[str, str]:
    lines = inside(engine, name, "env").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def nothing_left(hub: HubApp, engine: docker.DockerClient) -> None:
    assert hub.ledger().leases() == ()
    assert hub.ledger().queue() == ()
    assert engine.containers.list(all=True, filters={"name": hub.prefix}) == []


async def test_two_users_get_a_device_each(hub: HubApp, engine: docker.DockerClient) -> None:
    await hub.start_server("ada", 1)
    await hub.start_server("bob", 1)
    ada, bob = (environ_inside(engine, hub.container(user)) for user in ("ada", "bob"))
    assert {ada["GPUCAMP_DEVICES"], bob["GPUCAMP_DEVICES"]} == {FIRST, SECOND}
    assert ada["NVIDIA_VISIBLE_DEVICES"] == ada["GPUCAMP_DEVICES"]
    assert ada["GPUCAMP_SIMULATED"] == "1"
    leases = hub.ledger().leases()
    assert [lease.state for lease in leases] == [LeaseState.RUNNING] * 2
    assert {lease.container_id for lease in leases} == {
        engine.containers.get(hub.container(user)).id for user in ("ada", "bob")
    }
    for user in ("ada", "bob"):
        await hub.stop_server(user)
    nothing_left(hub, engine)
    assert [hub.ledger().lease(lease.id).state for lease in leases] == [LeaseState.ENDED] * 2
    # work and environment outlive the container
    volumes = {volume.name for volume in engine.volumes.list(filters={"name": hub.prefix})}
    assert f"{hub.prefix}-work-ada" in volumes
    assert f"{hub.prefix}-env-ada-1" in volumes


async def test_real_device_requests_reach_the_containers(
    make_hub: Callable[..., HubApp], engine: docker.DockerClient
) -> None:
    """Through the Engine's nvidia driver and the stand-in hook, as on a host with cards."""
    hub = make_hub(extra='c.GPUDockerSpawner.device_injection = "device_request"\n')
    await hub.start()
    await hub.start_server("ada", 1)
    await hub.start_server("bob", 1)
    seen = [inside(engine, hub.container(user), "nvidia-smi", "-L") for user in ("ada", "bob")]
    uuids = [[uuid for uuid in (FIRST, SECOND) if uuid in text] for text in seen]
    assert sorted(uuids) == [[FIRST], [SECOND]]
    await hub.stop_server("bob")
    await hub.start_server("cleo", 0)
    assert environ_inside(engine, hub.container("cleo"))["NVIDIA_VISIBLE_DEVICES"] == "void"
    code, output = engine.containers.get(hub.container("cleo")).exec_run(["nvidia-smi", "-L"])
    assert FIRST not in output.decode() and SECOND not in output.decode(), (code, output)


async def test_without_a_gpu_nothing_is_visible(hub: HubApp, engine: docker.DockerClient) -> None:
    await hub.start_server("ada", 0)
    environ = environ_inside(engine, hub.container("ada"))
    assert environ["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert environ["GPUCAMP_DEVICES"] == ""
    assert environ["GPUCAMP_SIMULATED"] == "0"
    (lease,) = hub.ledger().leases()
    assert lease.device_uuids == ()


async def test_the_container_is_hardened(hub: HubApp, engine: docker.DockerClient) -> None:
    await hub.start_server("ada", 2)
    name = hub.container("ada")
    status = inside(engine, name, "cat", "/proc/self/status")
    facts = dict(line.split(":", 1) for line in status.splitlines())
    assert facts["CapBnd"].strip() == "0" * 16
    assert facts["NoNewPrivs"].strip() == "1"
    assert facts["Uid"].split() == ["1000"] * 4
    code, _output = engine.containers.get(name).exec_run(["touch", "/opt/gpucamp/x"])
    assert code != 0
    shm = inside(engine, name, "df", "--output=size", "-B1", "/dev/shm").split()[-1]
    assert int(shm) == 2 * 1024**3
    attrs = engine.containers.get(name).attrs
    assert attrs["HostConfig"]["PortBindings"] in (None, {})
    assert attrs["HostConfig"]["Memory"] == 3 * 1024**3
    assert not attrs["HostConfig"]["Privileged"]
    assert not any("docker.sock" in mount.get("Source", "") for mount in attrs["Mounts"])


@pytest.mark.fault(13)
@pytest.mark.parametrize(
    "options",
    [
        {"gpus": -1},
        {"gpus": 1.5},
        {"gpus": 1.0},
        {"gpus": "all"},
        {"gpus": "1"},
        {"gpus": "1 "},
        {"gpus": 10**9},
        {"gpus": 3},
        {"gpus": float("nan")},
        {"gpus": float("inf")},
        {"gpus": [1]},
        {"gpus": {}},
        {"gpus": None},
        {"gpus": True},
        {"gpus": 1, "model": "GPUs of another maker"},
        {"gpus": 2, "share": True},
        {"image": "debian"},
        {"gpus": 1, "environment": {"LD_PRELOAD": "/x"}},
        {"gpus": 1, "NVIDIA_VISIBLE_DEVICES": "all"},
        {"volumes": {"/": "/host"}},
    ],
    ids=repr,
)
@pytest.mark.parametrize("server", ["", "second"])
async def test_bad_options_are_refused(
    module_hub: HubApp, engine: docker.DockerClient, options: object, server: str
) -> None:
    before = module_hub.all_leases()
    status, body = await module_hub.request_server("mallory", options, server)
    assert status == 400, body
    assert "gpus" in body["message"] or "GPUs" in body["message"], body
    nothing_left(module_hub, engine)
    assert module_hub.all_leases() == before
    assert await module_hub.server("mallory", server) is None


async def test_the_form_says_what_is_free_and_refuses_politely(hub: HubApp) -> None:
    """As a browser sees it: cookies, XSRF, HTML."""
    await hub.start_server("ada", 1)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        async with browser.get(f"{hub.url}/hub/login") as page:
            xsrf = re.search(r'name="_xsrf" value="([^"]+)"', await page.text())
        assert xsrf is not None
        sign_in = {"username": "bob", "password": "x", "_xsrf": html.unescape(xsrf[1])}
        async with browser.post(f"{hub.url}/hub/login?next=/hub/spawn", data=sign_in) as page:
            form = await page.text()
        assert "1 of 2 GPUs free" in form and "simulated" in form
        action = re.search(r'action="(/hub/spawn[^"]*)"', form)
        assert action is not None
        target = hub.url + html.unescape(action[1])
        before = hub.all_leases()
        for data in ({"gpus": "3"}, {"gpus": "-1"}, {"gpus": "1", "image": "debian"}):
            async with browser.post(target, data=data) as page:
                assert page.status == 400
                answer = await page.text()
            assert "spawn-error-msg" in answer and "GPUs free" in answer
        assert hub.all_leases() == before
        async with browser.post(target, data={"gpus": "1"}, allow_redirects=False) as page:
            assert page.status == 302, await page.text()
    await hub.wait_ready("bob")


async def test_a_refused_request_does_not_spoil_the_next(
    hub: HubApp, engine: docker.DockerClient
) -> None:
    """JupyterHub keeps user_options for starts that name none; bad ones are not kept."""
    status, _body = await hub.request_server("ada", {"gpus": -1})
    assert status == 400
    status, body = await hub.api("POST", "/users/ada/server")
    assert status in (201, 202), body
    await hub.wait_ready("ada")
    assert environ_inside(engine, hub.container("ada"))["GPUCAMP_DEVICES"] == FIRST


async def test_who_is_moved_and_taken_out_of_the_line_reads_why(hub: HubApp) -> None:
    """People whom no other test knows: after a start that failed the hub says 201 at once."""
    await hub.start_server("ada", 1)
    await hub.start_server("bob", 1)
    for user in ("pia", "quin"):
        status, body = await hub.request_server(user, {"gpus": 1})
        assert status == 202, body
    ledger, now = hub.ledger(), datetime.now(UTC)
    async with hub.progress("quin") as progress:
        await progress.until(lambda event: "number 2 of 2" in event["message"])
        ledger.move_in_queue("quin", "", partial(place_at, 1), "the demo", now, actor="kim")
        told = await progress.until(lambda event: "number 1 of 2" in event["message"])
        assert "kim gave you this place: “the demo”." in told["message"]
        ledger.cancel_waiting("quin", "", "the <exam>", now, actor="kim")
        ended = await progress.until(lambda event: event.get("failed"))
    assert "kim took your server out of the line: “the <exam>”" in ended["message"]
    assert "“the &lt;exam&gt;”" in ended["html_message"]
    assert [entry.request.user for entry in ledger.queue()] == ["pia"]
    await hub.stop_server("ada")
    await hub.wait_ready("pia")


async def test_the_third_waits_in_line_and_goes_on(
    hub: HubApp, engine: docker.DockerClient
) -> None:
    await hub.start_server("ada", 1)
    await hub.start_server("bob", 1)
    for user in ("cleo", "dan"):
        status, body = await hub.request_server(user, {"gpus": 1})
        assert status == 202, body
    async with hub.progress("dan") as progress:
        await progress.until(lambda event: "number 2 of 2" in event["message"])
        async with hub.progress("dan") as late:  # each viewer gets it from the start
            await late.until(lambda event: "Looking for" in event["message"])
            await late.until(lambda event: "number 2 of 2" in event["message"])
        freed = environ_inside(engine, hub.container("ada"))["GPUCAMP_DEVICES"]
        await hub.stop_server("ada")
        await hub.wait_ready("cleo")
        await progress.until(lambda event: "number 1 of 1" in event["message"])
    assert environ_inside(engine, hub.container("cleo"))["GPUCAMP_DEVICES"] == freed
    await hub.stop_server("bob")
    await hub.wait_ready("dan")
    assert hub.ledger().queue() == ()


async def test_a_large_request_is_not_overtaken(hub: HubApp, engine: docker.DockerClient) -> None:
    """People whom no other test knows: whoever used less lately would go first."""
    await hub.start_server("lia", 1)
    assert (await hub.request_server("max", {"gpus": 2}))[0] == 202
    assert (await hub.request_server("noa", {"gpus": 1}))[0] == 202
    await asyncio.sleep(2)  # one device is free all the time, and kept for max
    assert [lease.user for lease in hub.ledger().leases()] == ["lia"]
    assert (await hub.request_server("oli", {"gpus": 0}))[0] in (201, 202)
    await hub.wait_ready("oli")  # takes no device, so it does not wait
    await hub.stop_server("lia")
    await hub.wait_ready("max")
    await hub.stop_server("max")
    await hub.wait_ready("noa")


@pytest.mark.parametrize("server", ["", "second"])
async def test_cancel_while_waiting_leaves_nothing(
    hub: HubApp, engine: docker.DockerClient, server: str
) -> None:
    await hub.start_server("ada", 2)
    assert (await hub.request_server("bob", {"gpus": 1}, server))[0] == 202
    async with hub.progress("bob", server) as progress:
        await progress.until(lambda event: "number 1 of 1" in event["message"])
        stop = asyncio.create_task(hub.stop_server("bob", server))
        last = await progress.until(lambda event: event.get("ready") or event.get("failed"))
        assert last.get("failed") and not last.get("ready")
        await stop
    assert hub.ledger().queue() == ()
    assert [lease.user for lease in hub.ledger().leases()] == ["ada"]
    assert len(engine.containers.list(all=True, filters={"name": hub.prefix})) == 1


async def test_cancel_at_any_moment_of_a_start_leaves_nothing(
    hub: HubApp, engine: docker.DockerClient
) -> None:
    """From just after the request until the server answers."""
    await hub.add_user("ada")
    for delay in (0.0, 0.05, 0.15, 0.3, 0.5, 0.8, 1.2, 1.8):
        start = asyncio.create_task(hub.api("POST", "/users/ada/server", {"user_options": {}}))
        await asyncio.sleep(delay)
        await hub.api("DELETE", "/users/ada/server")
        await start

        async def stopped() -> bool:
            model = await hub.server("ada")
            if model is not None and model["ready"]:  # it was faster than the cancellation
                await hub.stop_server("ada")
            return model is None

        await until(stopped, 40, hub.log)

        async def clean() -> bool:
            return hub.ledger().leases() == () and hub.ledger().queue() == ()

        await until(clean, 20, lambda: str(hub.ledger().leases()))
        nothing_left(hub, engine)


async def test_a_server_that_dies_tells_why(
    make_hub: Callable[..., HubApp], engine: docker.DockerClient
) -> None:
    hub = make_hub(
        extra='c.GPUDockerSpawner.cmd = ["sh", "-c", "echo the-last-words >&2; exit 7"]\n'
    )
    await hub.start()
    began = time.monotonic()
    status, body = await hub.request_server("ada", {"gpus": 1})
    if status < 300:
        body = await hub.failure("ada")
    assert "exit code 7" in body["message"]
    assert "the-last-words" in body["message"]
    assert time.monotonic() - began < 20  # not the whole start_timeout
    assert "in a row" not in body["message"]

    async def clean() -> bool:
        return hub.ledger().leases() == ()

    await until(clean, 10)
    nothing_left(hub, engine)

    # the second failure in a row, by another hub process: a reset is offered
    hub.stop()
    await hub.start()
    status, body = await hub.request_server("ada", {"gpus": 1})
    if status < 300:
        body = await hub.failure("ada")
    assert "did not start 2 times in a row" in body["message"]
    assert hub.ledger().failed_starts("ada", "") == 2


async def test_prometheus_reads_hub_and_service_with_the_token_of_the_docs(
    make_hub: Callable[..., HubApp],
) -> None:
    admin = (REPOSITORY / "docs" / "admin.md").read_text()
    snippet = admin.split("## Metrics\n")[1].split("```python\n")[1].split("```")[0]
    hub = make_hub(service=True, extra=snippet.replace("…", "scrape-me-0123456789"))
    await hub.start()
    await until(hub.service_answers, 60, lambda: hub.log()[-4000:])
    await hub.start_server("ada", 1)
    headers = {"Authorization": "Bearer scrape-me-0123456789"}
    texts = []
    async with aiohttp.ClientSession(headers=headers) as session:
        for path in ("/services/gpucamp/metrics", "/hub/metrics"):
            async with session.get(f"{hub.url}{path}") as answer:
                assert answer.status == 200, await answer.text()
                texts.append(await answer.text())
        for path in ("/services/gpucamp/api/v1/leases", "/hub/api/users"):
            async with session.get(f"{hub.url}{path}") as answer:
                assert answer.status == 403
    served, text = texts
    assert 'gpucamp_leases{state="running"} 1.0' in served
    assert 'gpucamp_part_up{part="engine"} 1.0' in served
    counts = {
        sample.labels["stage"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "gpucamp_spawn_stage_duration_seconds_count"
        and sample.labels["ending"] == "succeeded"
    }
    assert set(counts) == {stage.value for stage in Stage}
    # where the Engine cannot raise ulimits, the first start makes its container twice
    again = {Stage.SLOT.value, Stage.CREATE.value}
    assert all(count == 1 or (count == 2 and stage in again) for stage, count in counts.items())
