"""Stands in for the gpucamp service with one lease, which it extends and whose notices it keeps."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from scripted_service import ScriptedService
from tornado.httputil import HTTPServerRequest

A100 = {
    "uuid": "GPU-5ca1ab1e-0000-4000-8000-000000000000",
    "name": "NVIDIA A100-SXM4-80GB",
    "simulated": False,
    "mig": False,
    "state": "healthy",
    "reason": "",
    "cordon": "",
}


class LeaseService(ScriptedService):
    """`view` is what it says of the server. While `status` is not 200, it refuses with `body`."""

    def __init__(self) -> None:
        super().__init__()
        self.view: dict[str, Any] = {
            "user": "ada",
            "server": "",
            "running": True,
            "generation": 1,
            "can_undo": False,
            "lease": {
                "id": "lease-1",
                "state": "running",
                "expires_at": None,
                "extensions": 0,
                "can_extend": True,
                "extend_refusal": None,
                "shared": False,
                "idle_since": None,
                "reclaim_at": None,
                "devices": [dict(A100)],
            },
            "queue": None,
            "notices": [],
            "quota": None,
            "warn_minutes": [30, 10, 5],
            "hand": None,
        }
        self.extension = timedelta(hours=1)

    @property
    def lease(self) -> dict[str, Any]:
        """The lease, to change it."""
        lease: dict[str, Any] = self.view["lease"]
        return lease

    def end_in(self, **time: float) -> None:
        """Let the lease end so long from now; `minutes=12`, say."""
        self.lease["expires_at"] = (datetime.now(UTC) + timedelta(**time)).isoformat()

    def notify(self, number: int, kind: str, text: str) -> None:
        """Add a notice."""
        at = datetime.now(UTC).isoformat()
        self.view["notices"].append({"id": number, "at": at, "kind": kind, "text": text})

    def answer(self, request: HTTPServerRequest) -> tuple[int, Any]:
        if self.status != 200:
            return self.status, self.body
        path = request.path
        if path.endswith("/lease/extend"):
            if not self.lease["can_extend"]:
                return 409, {"status": 409, "detail": self.lease["extend_refusal"]}
            end = datetime.fromisoformat(self.lease["expires_at"]) + self.extension
            self.lease.update(expires_at=end.isoformat(), extensions=self.lease["extensions"] + 1)
        elif path.endswith("/lease/keep"):
            self.lease.update(idle_since=None, reclaim_at=None)
        elif path.endswith("/notices/read"):
            up_to = json.loads(request.body)["up_to"]
            self.view["notices"] = [n for n in self.view["notices"] if n["id"] > up_to]
        elif path.endswith("/hand"):
            raised = datetime.now(UTC).isoformat()
            self.view["hand"] = {"server": "", "raised_at": raised, **json.loads(request.body)}
            return 200, {"hand": self.view["hand"]}
        elif path.endswith("/hand/lower"):
            self.view["hand"] = None
            return 200, {"hand": None}
        return 200, self.view
