"""What is chosen to be installed again is written down before the service is asked."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from own_environment import Environment
from scripted_service import ScriptedService
from tornado.httputil import HTTPServerRequest

from server_ext import service_client as client_module

pytestmark = pytest.mark.timeout(60)
ACCEPTED = {"operation": {"id": 7}, "progress_url": "/services/gpucamp/operations/7"}


@dataclass
class Lock:
    """Where it is written for the server "second"."""

    path: Path

    def text(self) -> str | None:
        return self.path.read_text() if self.path.exists() else None

    def write(self, text: str) -> None:
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(text)


@pytest.fixture
def lock(lab: Any) -> Lock:
    return Lock(lab.root / ".gpucamp" / "install-again-second.lock")


async def test_the_lock_is_there_when_the_service_is_asked(
    lab: Any,
    own: Environment,
    service: ScriptedService,
    lock: Lock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GPUCAMP_GENERATION", "3")
    own.add("six", "1.0.0")
    own.add("tornado", "0.0.1")
    seen: list[str | None] = []

    def answer(request: HTTPServerRequest) -> tuple[int, Any]:
        seen.append(lock.text())
        return 202, ACCEPTED

    monkeypatch.setattr(service, "answer", answer)
    body = {"undo": False, "again": ["tornado"], "reason": " a try "}
    await lab.json("gpucamp/reset", method="POST", body=body)
    assert json.loads(service.asked[-1][3]) == {"reason": "a try"}
    (text,) = seen
    assert text and "tornado==0.0.1\n" in text and "six" not in text and "# generation: 3\n" in text
    assert lock.text() == text


async def test_a_reset_without_a_choice_forgets_an_earlier_one(
    lab: Any, service: ScriptedService, lock: Lock
) -> None:
    lock.write("six==1.0.0\n")
    service.status, service.body = 202, ACCEPTED
    await lab.json("gpucamp/reset", method="POST", body={"undo": True, "generation": 2})
    assert json.loads(service.asked[-1][3]) == {"generation": 2}
    assert lock.text() is None


@pytest.mark.parametrize("before", [None, "idna==1.0\n"])
@pytest.mark.parametrize("status", [400, 403, 404, 409])
async def test_a_refusal_leaves_the_lock_as_it_was(
    lab: Any,
    own: Environment,
    service: ScriptedService,
    lock: Lock,
    status: int,
    before: str | None,
) -> None:
    own.add("six", "1.0.0")
    if before is not None:
        lock.write(before)
    service.status, service.body = status, {"detail": "no"}
    response = await lab.fetch("gpucamp/reset", method="POST", body={"again": ["six"]})
    assert response.code == status
    assert lock.text() == before


@pytest.mark.parametrize(
    ("step", "kept"), [(None, False), ("done", False), ("failed", False), ("stopping", True)]
)
async def test_after_an_answer_that_was_lost_the_lock_stays_if_a_reset_is_under_way(
    lab: Any,
    own: Environment,
    service: ScriptedService,
    lock: Lock,
    monkeypatch: pytest.MonkeyPatch,
    step: str | None,
    kept: bool,
) -> None:
    own.add("six", "1.0.0")

    def answer(request: HTTPServerRequest) -> tuple[int, Any]:
        if request.method == "POST":
            return 502, b"<html>"
        return 200, {"generation": 3, "operation": step and {"id": 7, "step": step}}

    monkeypatch.setattr(service, "answer", answer)
    response = await lab.fetch("gpucamp/reset", method="POST", body={"again": ["six"]})
    assert response.code == 503 and (lock.text() is not None) is kept


async def test_two_at_once_leave_what_the_one_that_was_accepted_wrote(
    lab: Any,
    own: Environment,
    service: ScriptedService,
    lock: Lock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own.add("six", "1.0.0")
    own.add("idna", "1.0.0")
    answers = iter([(202, ACCEPTED), (409, {"detail": "A reset is under way."})])
    written: list[str | None] = []

    def answer(request: HTTPServerRequest) -> tuple[int, Any]:
        written.append(lock.text())
        return next(answers)

    monkeypatch.setattr(service, "answer", answer)
    service.delay = 0.3
    codes = await asyncio.gather(
        *(
            lab.fetch("gpucamp/reset", method="POST", body={"again": [name]})
            for name in ("six", "idna")
        )
    )
    assert sorted(answer.code for answer in codes) == [202, 409]
    assert lock.text() == written[0]


async def test_a_service_that_says_nothing_at_all_may_have_begun(
    lab: Any,
    own: Environment,
    service: ScriptedService,
    lock: Lock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own.add("six", "1.0.0")
    monkeypatch.setattr(client_module, "TIMEOUT_SECONDS", 0.3)
    service.delay = 5
    response = await lab.fetch("gpucamp/reset", method="POST", body={"again": ["six"]})
    assert response.code == 503 and lock.text() is not None


async def test_what_nothing_brings_back_is_refused_before_the_service_is_asked(
    lab: Any, own: Environment, service: ScriptedService, lock: Lock
) -> None:
    info = own.add("six", "1.0.0")
    (info / "direct_url.json").write_text('{"url": "https://me:secret@git.example/six.whl"}')
    (one,) = (await lab.json("gpucamp/reset"))["changed_packages"]
    assert one["again"] is False
    service.asked.clear()
    response = await lab.fetch("gpucamp/reset", method="POST", body={"again": ["six"]})
    assert response.code == 400 and "six" in json.loads(response.body)["message"]
    assert service.asked == [] and lock.text() is None


async def test_a_work_folder_in_which_nothing_can_be_written_is_told(
    lab: Any, own: Environment, service: ScriptedService, lock: Lock
) -> None:
    own.add("six", "1.0.0")
    lock.write("six==1.0.0\n")
    block(lock.path.parent)
    response = await lab.fetch("gpucamp/reset", method="POST", body={"again": ["six"]})
    assert response.code == 409 and ".gpucamp" in json.loads(response.body)["message"]
    assert service.asked == []


def block(folder: Path) -> None:
    """A file is where the folder was."""
    folder.rename(folder.with_name("before"))
    folder.write_text("")
