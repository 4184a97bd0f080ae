"""Files and packages of a participant, as they would come by an upload and by pip in a terminal."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

from lab_server import LabServer


def put(server: LabServer, path: Path, name: str) -> None:
    """Copy a file of this machine into the work folder."""
    assert server.container.put_archive("/home/jovyan/work", archive_of(path, name))


def archive_of(path: Path, name: str) -> bytes:
    """As the Engine takes a participant's file."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tar.gettarinfo(str(path), name)
        member.uid, member.gid, member.mode = 1000, 100, 0o644
        with path.open("rb") as stream:
            tar.addfile(member, stream)
    return archive.getvalue()


def install(server: LabServer, packages: str, *, keep: str = "") -> None:
    """With pip, from the wheels that the set-up of the tests has fetched: they reach no index.

    keep: a folder for the wheels, which then stay.
    """
    wheels = os.environ.get("GPUCAMP_FRAMEWORKS_WHEELS", "")
    assert wheels, "GPUCAMP_FRAMEWORKS_WHEELS is not set: run `make test`, or see `make test-setup`"
    server.ok("mkdir wheels")
    for path in Path(wheels).glob("*.whl"):
        put(server, path, f"wheels/{path.name}")
    server.ok(f"pip install --quiet --no-index --find-links wheels {packages}")
    server.ok(f"mv wheels {keep}" if keep else "rm -rf wheels")
