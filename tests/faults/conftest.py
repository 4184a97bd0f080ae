"""Fixtures of the tests of faults: real Engine, real hub, a light image in JupyterLab's place."""

from __future__ import annotations

import docker
import pytest
from engine_fixtures import *  # noqa: F403  (pytest finds fixtures by name)
from light_image import ensure_light_image


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> str:
    """The light image: what these tests are about happens outside the container."""
    return ensure_light_image(engine)
