"""Compares answers of the service with openapi.yaml; every request of a test goes through it."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import requests
import yaml
from jsonschema import Draft202012Validator

from hub_ext.service import api

SPEC: dict[str, Any] = yaml.safe_load((Path(api.__file__).parent / "openapi.yaml").read_text())
ROUTES = [
    (re.compile(pattern), handler)
    for pattern, handler in api.ROUTES
    if handler is not api.UnknownHandler
]


def path_of(pattern: str) -> str:
    """A route as openapi.yaml writes it."""
    named = re.sub(r"\(\?P<(\w+?)(?:_name|_id)>[^)]*\)", r"{\1}", pattern)
    return "/" + named.replace("\\.", ".")


def operation_at(method: str, path: str) -> dict[str, Any] | None:
    """What openapi.yaml has for a request (its path below the service's prefix, escaped)."""
    for pattern, _handler in ROUTES:
        if pattern.fullmatch(path):
            found: dict[str, Any] | None = SPEC["paths"][path_of(pattern.pattern)].get(
                method.lower()
            )
            return found
    return None


def resolved(found: dict[str, Any]) -> dict[str, Any]:
    """What a reference leads to."""
    while "$ref" in found:
        _hash, _components, kind, name = found["$ref"].split("/")
        found = SPEC["components"][kind][name]
    return found


@lru_cache(maxsize=512)
def validator(operation: str, status: str, media: str) -> Draft202012Validator:
    """For the body of an answer."""
    (found,) = (
        each
        for item in SPEC["paths"].values()
        for each in item.values()
        if isinstance(each, dict) and each.get("operationId") == operation
    )
    schema = resolved(found["responses"][status])["content"][media]["schema"]
    return Draft202012Validator({**schema, "components": SPEC["components"]})


def check_answer(method: str, path: str, answer: requests.Response) -> None:
    """Fails if the answer is none of those that openapi.yaml has for this request."""
    operation = operation_at(method, path.partition("?")[0])
    # 405 is of a method that the document does not have; 500 is in its introduction
    if operation is None or answer.status_code in (405, 500):
        return
    status = str(answer.status_code)
    name = operation["operationId"]
    assert status in operation["responses"], f"{name} does not know {status}: {answer.text[:300]}"
    said = resolved(operation["responses"][status])
    media = answer.headers.get("Content-Type", "").partition(";")[0]
    if "content" not in said:
        assert not answer.content, f"{name} {status} has a body"
        return
    assert media in said["content"], f"{name} {status} is {media}"
    for header in said.get("headers", {}):
        assert header in answer.headers, f"{name} {status} lacks {header}"
    if media.endswith("json"):
        error = next(validator(name, status, media).iter_errors(answer.json()), None)
        assert error is None, f"{name} {status}: {error.message} at {error.json_path}"
