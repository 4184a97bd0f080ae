"""Earlier builds on a real Engine: what a container uses and what is pinned stays."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import docker
import docker.errors
import light_image
import pytest

from hub_ext.ledger import Ledger
from setup_host import docker_cli, ledger, old_images
from setup_host.image import LABEL
from setup_host.progress import Progress
from setup_host.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
CONFIGURED = "gpucamp-test/elsewhere:1"  # no image's id begins like that


@pytest.fixture
def builds(engine: docker.DockerClient) -> Iterator[list[str]]:
    """Tags as of builds, newest first; none is left after the test."""
    repository = f"gpucamp-test/builds-{secrets.token_hex(4)}"
    tags = [f"test-{number:012x}" for number in range(6)]
    for tag in tags:
        engine.api.import_image_from_data(
            light_image.archive(), repository, tag, changes=[f"LABEL {LABEL}", f"ENV BUILD={tag}"]
        )
    yield [f"{repository}:{tag}" for tag in tags]
    for tag in tags:
        with contextlib.suppress(docker.errors.ImageNotFound):
            engine.images.remove(f"{repository}:{tag}", force=True)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings.from_environ({"GPUCAMP_STATE_DIR": str(tmp_path)}, ROOT)
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    python = tmp_path / "venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="ascii")
    python.chmod(0o755)
    return replace(made, tools=tmp_path)


def test_what_is_pinned_or_used_stays_even_by_a_container_that_does_not_run(
    engine: docker.DockerClient, builds: list[str], settings: Settings
) -> None:
    ledger.ensure(settings)
    hub = Ledger(settings.ledger_url)
    hub.set_configured_image(CONFIGURED)
    pinned = str(engine.images.get(builds[2]).id)
    hub.pin_image(CONFIGURED, pinned, "why", datetime.now(UTC), actor="root")
    hub.close()
    container = engine.containers.create(builds[4], ["/bin/sh"])
    # a second tag: now the Engine would not refuse to take the first one away
    engine.images.get(builds[4]).tag("gpucamp-test/second", builds[4][-12:])
    said = io.StringIO()
    try:
        old_images.remove(settings, Progress(said), docker_cli.find(os.environ["PATH"]), builds)
    finally:
        container.remove()
        engine.images.remove(f"gpucamp-test/second:{builds[4][-12:]}")
    assert said.getvalue().splitlines() == [
        f"* kept: image {builds[2]} (new servers get it)",
        f"* removed: image {builds[3]}",
        f"* kept: image {builds[4]} (a container uses it)",
        f"* removed: image {builds[5]}",
    ]
    left = {tag for image in engine.images.list() for tag in image.tags}
    assert left & set(builds) == {builds[number] for number in (0, 1, 2, 4)}
