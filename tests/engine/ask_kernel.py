"""Asks a new kernel of a Jupyter server, by REST and WebSocket, as a notebook does."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
import uuid
from typing import Any
from urllib.error import HTTPError

import websocket


def in_kernel(server: str, token: str, code: str, value: str, *, seconds: float = 60) -> str:
    """What an expression is after `code`, in a new kernel of "Python 3"; or what went wrong, after
    "! ". server: its address, without a slash at the end.
    """
    status, model = _rest("POST", f"{server}/api/kernels", token, {"name": "python3"})
    if status != 201:
        return f"! {status} {model}"
    try:
        return _ask(f"{server}/api/kernels/{model['id']}/channels", token, code, value, seconds)
    finally:
        _rest("DELETE", f"{server}/api/kernels/{model['id']}", token)


def _rest(method: str, url: str, token: str, body: Any = None) -> tuple[int, Any]:
    request = urllib.request.Request(  # noqa: S310 - this machine
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"token {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def _ask(address: str, token: str, code: str, value: str, seconds: float) -> str:
    own = uuid.uuid4().hex
    request = {
        "channel": "shell",
        "header": {"msg_id": own, "msg_type": "execute_request", "version": "5.3"},
        "parent_header": {},
        "metadata": {},
        "content": {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {"value": value},
            "allow_stdin": False,
        },
    }
    deadline = time.monotonic() + seconds
    try:
        connection = websocket.create_connection(
            address.replace("http", "ws", 1),
            timeout=seconds,
            header=[f"Authorization: token {token}"],
        )
        with contextlib.closing(connection):
            connection.send(json.dumps(request))
            while True:
                connection.settimeout(max(0.1, deadline - time.monotonic()))
                message = json.loads(connection.recv())
                content = message["content"]
                if content.get("execution_state") == "dead":
                    return "! the kernel died"
                if (
                    message["parent_header"].get("msg_id") != own
                    or message["msg_type"] != "execute_reply"
                ):
                    continue
                if content["status"] != "ok":
                    return f"! {content.get('ename')}: {content.get('evalue')}"
                found = content["user_expressions"]["value"]
                return str(found.get("data", {}).get("text/plain") or f"! {found}")
    except (OSError, websocket.WebSocketException, ValueError) as error:
        return f"! {type(error).__name__}: {error}"
