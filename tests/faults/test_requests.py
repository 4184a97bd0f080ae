"""What users may ask for, and from where: options, names, variables, devices, other sites."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import aiohttp
import docker
import pytest
import pytest_asyncio
from engine_fixtures import MakeHub
from hub_app import HubApp, until
from world import containers, failure_of

pytestmark = pytest.mark.timeout(300)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_served_hub(make_module_hub: MakeHub) -> HubApp:
    made = make_module_hub(
        service=True,
        extra="c.GPUDockerSpawner.ulimits = {}\n"
        # an admin who does not know better
        'c.Spawner.environment = {"LD_PRELOAD": "/tmp/x.so", "NVIDIA_VISIBLE_DEVICES": "all",\n'
        '    "CUDA_VISIBLE_DEVICES": "0,1", "GPUCAMP_DEVICES": "GPU-another", "PLAIN": "yes"}\n',
    )
    await made.start()
    await until(made.service_answers, 120, made.log)
    return made


@pytest.fixture
async def served_hub(module_served_hub: HubApp) -> AsyncIterator[HubApp]:
    """A hub with gpucamp's service, as `make run` configures them."""
    yield module_served_hub
    await module_served_hub.stop_all()


# -- 14 and 15: what is in the container


@pytest.mark.fault(14)
async def test_no_variable_but_the_leases_decides_about_devices(
    served_hub: HubApp, engine: docker.DockerClient
) -> None:
    hub = served_hub
    before = hub.all_leases()
    for name in ("NVIDIA_VISIBLE_DEVICES", "LD_PRELOAD", "environment", "env"):
        assert name in await failure_of(hub, "ada", {"gpus": 1, name: "all"})
    assert hub.all_leases() == before
    await hub.start_server("ada", 1)
    (lease,) = hub.ledger().leases()
    found = engine.api.inspect_container(hub.container("ada"))["Config"]["Env"]
    env = dict(line.split("=", 1) for line in found)
    assert env["NVIDIA_VISIBLE_DEVICES"] == env["GPUCAMP_DEVICES"] == lease.device_uuids[0]
    assert env["PLAIN"] == "yes"
    assert "LD_PRELOAD" not in env and "CUDA_VISIBLE_DEVICES" not in env


@pytest.mark.fault(15)
async def test_a_device_that_was_not_granted_cannot_be_opened(
    served_hub: HubApp, engine: docker.DockerClient, image: str
) -> None:
    """Not even by one who could make its node: the device cgroup says no."""
    hub = served_hub
    await hub.start_server("ada", 0)
    node = ["sh", "-c", "mknod /tmp/fuse c 10 229 && head -c 0 /tmp/fuse"]
    code, output = engine.containers.get(hub.container("ada")).exec_run(node)
    assert code != 0 and b"not permitted" in output, output
    given = engine.api.inspect_container(hub.container("ada"))["HostConfig"]

    def opens(devices: list[str]) -> tuple[int, bytes]:
        """With the same limits as ada's, but root and the right to make nodes."""
        made = engine.containers.create(
            image,
            [*("sh", "-c"), "mknod /tmp/fuse c 10 229 && exec 3</tmp/fuse && echo opened"],
            name=f"{hub.prefix}-opens-{len(devices)}",
            network=hub.network,
            user="0:0",
            cap_drop=given["CapDrop"],
            cap_add=["MKNOD"],
            security_opt=given["SecurityOpt"],
            read_only=given["ReadonlyRootfs"],
            # not nodev, as a container's writable layer is not
            tmpfs={"/tmp": "rw,exec,nosuid,dev,mode=1777"},
            devices=devices,
        )
        try:
            made.start()
            return made.wait(timeout=30)["StatusCode"], made.logs()
        finally:
            made.remove(force=True)

    code, output = opens([])
    assert code != 0 and b"not permitted" in output, output
    code, output = opens(["/dev/fuse:/dev/fuse:rwm"])
    assert (code, output.strip()) == (0, b"opened")


# -- 16: names

NAMES = [
    "a--b",
    "a-b",
    "a_b",
    "名字",
    "{raw_username}",
    "../x",
    "x" * 250,
    "ada@example.org",
    "A b",
]


@pytest.mark.fault(16)
async def test_any_name_has_a_server_of_its_own(
    served_hub: HubApp, engine: docker.DockerClient
) -> None:
    hub = served_hub
    volumes: list[str] = []
    for name in NAMES:
        where = quote(name, safe="")
        status, made = await hub.api("POST", f"/users/{where}")
        if status == 400:  # JupyterHub has no such user, so there is no server
            continue
        assert status in (201, 409), made
        status, body = await hub.api(
            "POST", f"/users/{where}/server", {"user_options": {"gpus": 0}}
        )
        assert status in (201, 202), body
        await hub.wait_ready(where)
        mine = [each for each in hub.ledger().leases() if each.user == made.get("name", name)]
        assert len(mine) == 1, hub.ledger().leases()
        status, body = await hub.through_proxy(where)
        assert status == 200, body
    found = containers(hub, engine)
    assert len(found) == len(set(found)) == len(hub.ledger().leases()) >= 6
    for name in found:
        assert re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name) and len(name) < 200
        mounts = engine.api.inspect_container(name)["Mounts"]
        volumes += [mount["Name"] for mount in mounts if mount["Type"] == "volume"]
        assert all("/docker/" in m["Source"] or m["Type"] != "bind" for m in mounts)
    assert len(volumes) == len(set(volumes)) == 2 * len(found)


# -- 17: other sites, other users


@dataclass
class Browser:
    """Somebody who is signed in: cookies, and the XSRF token of the hub's pages."""

    session: aiohttp.ClientSession
    hub: HubApp
    xsrf: str

    async def post(self, path: str, data: object, **headers: str) -> tuple[int, str]:
        async with self.session.post(
            self.hub.url + path, data=data, headers=headers, allow_redirects=False
        ) as answer:
            return answer.status, await answer.text()


async def sign_in(session: aiohttp.ClientSession, hub: HubApp, user: str) -> Browser:
    async with session.get(f"{hub.url}/hub/login") as page:
        found = re.search(r'name="_xsrf" value="([^"]+)"', await page.text())
    assert found is not None
    form = {"username": user, "password": "x", "_xsrf": html.unescape(found[1])}
    async with session.post(f"{hub.url}/hub/login?next=/hub/home", data=form) as page:
        home = await page.text()
    token = re.search(r'xsrf_token: "([^"]+)"', home)
    assert token is not None
    return Browser(session, hub, token[1])


ELSEWHERE = {"Origin": "https://evil.example", "Referer": "https://evil.example/page"}


@pytest.mark.fault(17)
async def test_no_other_site_starts_a_server(served_hub: HubApp) -> None:
    """A form or a `no-cors` request of another site comes with the cookies, and with no token."""
    hub = served_hub
    before = hub.all_leases()
    text = json.dumps({"user_options": {"gpus": 2}})
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        ada = await sign_in(session, hub, "ada")
        for mode in ("navigate", "no-cors", "cors"):
            headers = {**ELSEWHERE, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode}
            as_text = {**headers, "Content-Type": "text/plain"}
            for path, data in (
                ("/hub/spawn", {"gpus": "2"}),
                ("/hub/spawn/ada", {"gpus": "2", "_xsrf": "guessed"}),
                ("/hub/api/users/ada/server", text),
                ("/services/gpucamp/api/v1/users/ada/server/reset", "{}"),
            ):
                plain = data if isinstance(data, str) else "gpus=2"
                for sent, how in ((data, headers), (plain, as_text)):
                    status, body = await ada.post(path, sent, **how)
                    assert status in (401, 403, 405), (mode, path, status, body[:500])
        assert hub.all_leases() == before
        assert await hub.server("ada") is None
        # her own page can
        status, body = await ada.post(f"/hub/spawn?_xsrf={quote(ada.xsrf)}", {"gpus": "1"})
        assert status == 302, body
    await hub.wait_ready("ada")


@pytest.mark.fault(17)
async def test_nobody_reaches_anothers_server(served_hub: HubApp) -> None:
    hub = served_hub
    await hub.start_server("ada", 1)
    await hub.add_user("bob")
    status, body = await hub.api("POST", "/users/bob/tokens", {"note": "test"})
    assert status == 201, body
    before = hub.all_leases()
    for headers in ({"Authorization": f"token {body['token']}"}, {}):
        for method, path in (
            ("POST", "/hub/api/users/ada/servers/second"),
            ("DELETE", "/hub/api/users/ada/server"),
            ("GET", "/hub/api/users/ada/server/progress"),
            ("GET", "/services/gpucamp/api/v1/users/ada/server"),
            ("POST", "/services/gpucamp/api/v1/users/ada/server/reset"),
            ("GET", "/services/gpucamp/api/v1/leases"),
            ("GET", "/services/gpucamp/api/v1/devices"),
        ):
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.request(method, hub.url + path, allow_redirects=False) as answer,
            ):
                assert answer.status in (302, 401, 403, 404), (method, path, await answer.text())
    assert hub.all_leases() == before
    model = await hub.server("ada")
    assert model is not None and model["ready"]


@pytest.mark.fault(17)
@pytest.mark.parametrize(
    "target", ["//evil.example", r"/\evil.example", "https://evil.example/", "/%09/evil.example"]
)
async def test_no_sign_in_leads_to_another_site(served_hub: HubApp, target: str) -> None:
    hub = served_hub
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        await sign_in(session, hub, "ada")
        for page in ("login", "spawn", "spawn-pending/ada"):
            url = f"{hub.url}/hub/{page}?next={quote(target, safe='')}"
            async with session.get(url, allow_redirects=False) as answer:
                where = answer.headers.get("Location", "")
            # as browsers read it: a backslash is a slash, a tab is nothing
            host = urlsplit(where.replace("\\", "/").replace("\t", "")).netloc
            assert host in ("", urlsplit(hub.url).netloc), where


async def test_requests_that_go_away_leave_nothing(served_hub: HubApp) -> None:
    """A client that closes the connection in the middle of its request."""
    hub = served_hub
    await hub.add_user("ada")
    before = hub.all_leases()
    _reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    head = f"POST /hub/api/users/ada/server HTTP/1.1\r\nHost: x\r\nAuthorization: token {hub.token}"
    writer.write(f"{head}\r\nContent-Length: 4000\r\n\r\n{{".encode())
    await writer.drain()
    writer.close()
    await asyncio.sleep(1)
    assert await hub.server("ada") is None
    assert hub.all_leases() == before
