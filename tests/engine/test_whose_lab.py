"""Whose JupyterLab the page of a class offers to open: as a real hub says, by its own sign-in."""

from __future__ import annotations

import html
import re

import aiohttp
import pytest
from engine_fixtures import MakeHub
from hub_app import HubApp, until

from hub_ext import scopes

pytestmark = pytest.mark.timeout(180)

TEACHES = list(scopes.INSTRUCTOR_SCOPES)
ROLES = f"""
c.JupyterHub.load_roles.extend([
    {{"name": "opens", "users": ["kim"], "scopes": {[*TEACHES, "access:servers!user=ada"]}}},
    {{"name": "does-not", "users": ["lin"], "scopes": {TEACHES}}},
])
"""


async def page_of_the_class(hub: HubApp, user: str) -> str:
    """As the browser of somebody who signs in gets it."""
    jar = aiohttp.CookieJar(unsafe=True)  # the hub's address is a number
    timeout = aiohttp.ClientTimeout(60)
    async with aiohttp.ClientSession(cookie_jar=jar, timeout=timeout) as session:
        async with session.get(f"{hub.url}/hub/login") as page:
            found = re.search(r'name="_xsrf" value="([^"]+)"', await page.text())
        assert found is not None
        form = {"username": user, "password": "x", "_xsrf": html.unescape(found[1])}
        # a person opens a page, a script does not
        navigation = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
        async with session.post(
            f"{hub.url}/hub/login?next=/services/gpucamp/class", data=form, headers=navigation
        ) as page:
            text = await page.text()
            assert page.status == 200 and page.url.path == "/services/gpucamp/class", page.url
            return text


async def test_only_who_has_the_hubs_right_gets_a_button(make_hub: MakeHub) -> None:
    hub = make_hub(service=True, extra=ROLES)
    await hub.start()
    await hub.start_server("ada", 0)
    await until(hub.service_answers, 60, hub.log)
    button, sentence = 'class="button small" id="open-ada-"', "right access:servers"
    for user, has_button in (("kim", True), ("lin", False), ("ada", True)):
        page = await page_of_the_class(hub, user)
        assert 'id="card-ada-"' in page, user
        assert (button in page, sentence in page) == (has_button, not has_button), user
