"""What is done once the hub has started: what stays until it ends is looked at no longer."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from jupyterhub.app import JupyterHub

from hub_ext.defaults import when_started
from hub_ext.garbage import pass_over_what_is_there


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


async def start(end) -> int:
    """How many objects are passed over when the start has ended like this."""
    hub = SimpleNamespace(_start_future=asyncio.Future())
    when_started(hub, pass_over_what_is_there)
    assert gc.get_freeze_count() == 0, "not before"
    end(hub._start_future)
    await asyncio.sleep(0)
    return gc.get_freeze_count()


async def test_a_hub_that_has_started():
    assert await start(lambda started: started.set_result(None)) > 1000


async def test_one_that_does_not_start():
    assert await start(lambda started: started.cancel()) == 0
    assert await start(lambda started: started.set_exception(OSError("port in use"))) == 0


async def test_jupyterhub_has_it_when_it_reads_its_configuration():
    class Seen(Exception):
        pass

    class Hub(JupyterHub):
        def load_config_file(self, *args, **kwargs):
            when_started(self, pass_over_what_is_there)
            raise Seen

    with pytest.raises(Seen):
        await Hub().initialize([])
