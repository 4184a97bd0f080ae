"""Fixtures of the tests with the real image on the real Docker Engine."""

from __future__ import annotations

import os

import docker
import pytest
from doctor_patient import card, make_patient, patient  # noqa: F401
from engine_fixtures import *  # noqa: F403  (pytest finds fixtures by name)
from engine_fixtures import REMEDY
from hub_app import REPOSITORY
from lab_server import lab  # noqa: F401


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> str:
    """The image under test: GPUCAMP_IMAGE, or the one `make image` built."""
    kept = REPOSITORY / ".gpucamp" / "image"
    name = os.environ.get("GPUCAMP_IMAGE") or (kept.read_text().strip() if kept.exists() else "")
    if not name:
        pytest.fail(f"There is no image; {REMEDY}.")
    engine.images.get(name)
    return name
