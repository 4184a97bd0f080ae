"""Tokens of the hub's own Token page, made in a browser, are good for what they name and no more.

With them a class is really started and stopped, and what docs/rest-api.md says of starting a server
is run as it stands.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from engine_fixtures import MakeHub, make_hub, network, proxy  # noqa: F401 - fixtures
from hub_app import HubApp, until
from playwright.sync_api import Browser, Page, expect

from hub_ext import scopes

pytestmark = pytest.mark.timeout(300)

DOCS = Path(__file__).resolve().parents[2] / "docs" / "rest-api.md"


def of_class(names: tuple[str, ...]) -> list[str]:
    """The first, access to the service, has no filter."""
    return [names[0], *(f"{name}!group=class-1" for name in names[1:])]


EXTRA = f"""
c.JupyterHub.load_groups = {{"class-1": {{"users": ["ada"]}}, "class-2": {{"users": ["zoe"]}}}}
c.JupyterHub.load_roles.extend([
    {{"name": "teaches", "users": ["kim"], "scopes": {of_class(scopes.INSTRUCTOR_SCOPES)}}},
    {{"name": "manages", "users": ["root"],
      "scopes": {[*scopes.ADMIN_SCOPES, "admin:users", "admin:servers"]}}},
])
c.GpucampService.auth_cache_seconds = 1
"""


def wait(work: Coroutine[Any, Any, Any]) -> Any:
    """Run it in a thread: Playwright's loop is in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@pytest.fixture
def hub(make_hub: MakeHub) -> HubApp:  # noqa: F811
    made = make_hub(service=True, extra=EXTRA)
    wait(made.start())
    wait(until(made.service_answers, 60, made.log))
    return made


def sign_in(browser: Browser, hub: HubApp, user: str) -> Page:
    page = browser.new_context().new_page()
    page.set_default_timeout(30_000)
    page.goto(f"{hub.url}/hub/login?next=/hub/token")
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill("x")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Request new API token")).to_be_visible()
    return page


def new_token(page: Page, note: str, *wanted: str) -> str:
    page.get_by_label("Note").fill(note)
    page.get_by_label("Permissions").fill(" ".join(wanted))
    page.get_by_role("button", name="Request new API token").click()
    expect(page.locator("#token-result")).to_have_text(re.compile(r"\w{20,}"))
    token = page.locator("#token-result").inner_text()
    page.reload()
    return token


def client(hub: HubApp, token: str) -> httpx.Client:
    return httpx.Client(
        base_url=f"{hub.url}/services/gpucamp/api/v1/",
        headers={"Authorization": f"token {token}"},
        timeout=60,
        trust_env=False,
    )


def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it never came true")


def finished(api: httpx.Client, action: str) -> dict[str, str]:
    """Each member's state, when nothing is under way any more."""
    view: dict[str, Any] = {}

    def over() -> bool:
        view.update(api.get(f"groups/class-1/{action}").raise_for_status().json()[action])
        return not view["under_way"]

    eventually(over)
    return {member["user"]: member["state"] for member in view["members"]}


def test_a_teachers_token_starts_and_stops_a_class_and_is_revoked(
    browser: Browser, hub: HubApp
) -> None:
    wait(hub.add_user("ada"))
    page = sign_in(browser, hub, "kim")
    reads = client(
        hub,
        new_token(page, "reads", scopes.ACCESS_SERVICE, f"{scopes.ENVIRONMENT_READ}!group=class-1"),
    )
    acts = client(
        hub,
        new_token(page, "acts", scopes.ACCESS_SERVICE, f"{scopes.SERVERS_MANAGE}!group=class-1"),
    )
    why = {"reason": "the lesson"}
    assert reads.get("class").status_code == 200
    assert reads.post("groups/class-1/start", json=why).status_code == 403
    assert acts.get("class").status_code == 403
    assert acts.post("groups/class-2/start", json=why).status_code == 404

    assert acts.post("groups/class-1/start", json=why).status_code == 202
    assert finished(acts, "start") == {"ada": "done"}
    assert reads.get("users/ada/server").json()["lease"]["state"] == "running"
    assert acts.post("groups/class-1/start", json=why).status_code == 202
    assert finished(acts, "start") == {"ada": "skipped"}
    assert acts.post("groups/class-1/stop", json={**why, "minutes": 0}).status_code == 202
    assert finished(acts, "stop") == {"ada": "done"}
    assert hub.ledger().leases() == ()

    page.get_by_role("row", name="acts").get_by_role("button", name="revoke").click()
    eventually(lambda: acts.get("groups/class-1/start").status_code == 401)
    assert reads.get("class").status_code == 200


def test_the_hub_gives_no_token_for_more_than_one_has(browser: Browser, hub: HubApp) -> None:
    page = sign_in(browser, hub, "ada")
    page.get_by_label("Permissions").fill(scopes.SERVERS_MANAGE)
    page.get_by_role("button", name="Request new API token").click()
    expect(
        page.get_by_text("not have permission").or_(page.get_by_text("API request failed"))
    ).not_to_have_count(0)
    expect(page.locator("#token-result")).to_have_text("")


def test_a_server_is_started_as_the_documentation_says(browser: Browser, hub: HubApp) -> None:
    token = new_token(sign_in(browser, hub, "root"), "starts")
    (code,) = re.findall(r"^```bash\n(hub=.*?)^```$", DOCS.read_text(), re.M | re.S)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code.replace("http://127.0.0.1:8000", hub.url)],
        env={**os.environ, "TOKEN": token, "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    api = client(hub, token)
    (lease,) = api.get("leases").raise_for_status().json()["leases"]
    assert (lease["user"], len(lease["devices"])) == ("ada", 1)
    eventually(lambda: api.get("users/ada/server").json()["lease"]["state"] == "running")
