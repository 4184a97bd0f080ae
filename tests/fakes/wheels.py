"""Wheels that are built by hand, so that tests install packages without an index."""

from __future__ import annotations

import zipfile
from pathlib import Path


def wheel(folder: Path, name: str, version: str, **modules: str) -> Path:
    """A package with one module of its name, and others (name=text)."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    texts = {name: f"version = {version!r}\n", **modules}
    with zipfile.ZipFile(path, "w") as file:
        for module, text in texts.items():
            file.writestr(f"{module}.py", text)
        file.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    return path
