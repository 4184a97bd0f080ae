"""The OpenAPI document of this REST, served as JSON and as YAML.

Guarantees: what is served is openapi.yaml, with the address at which this service stands; it is
read once. It tells nothing of this hub, so access to the service is enough.
"""

from __future__ import annotations

import asyncio
import json
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from .api_base import ApiHandler
from .auth import requires

FILE = Path(__file__).parent / "openapi.yaml"
_WRITTEN = "/services/gpucamp"  # as the file has it


@lru_cache(maxsize=2)
def as_yaml(prefix: str) -> str:
    """The document, for a service below `prefix`."""
    text = FILE.read_text(encoding="utf-8")
    return text.replace(f"- url: {_WRITTEN}\n", f"- url: {json.dumps(prefix.rstrip('/'))}\n", 1)


@lru_cache(maxsize=2)
def document(prefix: str) -> dict[str, Any]:
    """The same as a value; nobody may change it."""
    # in C where it is there: ten times as fast
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, Any] = yaml.load(as_yaml(prefix), Loader=loader)  # noqa: S506  (a safe one)
    return found


@lru_cache(maxsize=2)
def as_json(prefix: str) -> str:
    """The same as JSON."""
    return json.dumps(document(prefix), ensure_ascii=False, default=date.isoformat)


class JsonDocumentHandler(ApiHandler):
    @requires(None)
    async def get(self) -> None:
        self.send_text(await asyncio.to_thread(as_json, self.service.prefix), "application/json")


class YamlDocumentHandler(ApiHandler):
    @requires(None)
    async def get(self) -> None:
        self.send_text(await asyncio.to_thread(as_yaml, self.service.prefix), "application/yaml")


ROUTES: list[tuple[str, type[ApiHandler]]] = [
    (r"api/v1/openapi\.json", JsonDocumentHandler),
    (r"api/v1/openapi\.yaml", YamlDocumentHandler),
]
