"""What the Engine client makes of answers; the Engine itself is in tests/engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hub_ext.engine import EngineClient, Presence, _state_of
from hub_ext.errors import EngineRefused, EngineUnavailable, ImageMissing
from hub_ext.pulling import PullProgress, follow

ID = "1" * 64


def facts(**state: Any) -> dict[str, Any]:
    return {
        "Id": ID,
        "Name": "/gpucamp-ada",
        "State": {"Running": False, "Status": "exited", "ExitCode": 0, **state},
        "Config": {"Labels": {"gpucamp.lease": "l"}},
        "NetworkSettings": {"Networks": {"gpucamp": {"IPAddress": "172.20.0.2"}}},
    }


def test_running() -> None:
    state = _state_of(facts(Running=True, Status="running"))
    assert (state.presence, state.id, state.name) == (Presence.RUNNING, ID, "gpucamp-ada")
    assert state.addresses == {"gpucamp": "172.20.0.2"}
    assert state.labels == {"gpucamp.lease": "l"}
    assert state.exit_code is None


@pytest.mark.parametrize("status", ["created", "exited", "dead", "removing"])
def test_what_exists_and_does_not_run_is_not_gone(status: str) -> None:
    state = _state_of(facts(Status=status, ExitCode=137, OOMKilled=True))
    assert (state.presence, state.exit_code, state.oom_killed) == (Presence.STOPPED, 137, True)
    assert state.never_started == (status == "created")


def test_a_container_without_network_or_labels() -> None:
    bare = facts(Running=True)
    bare["Config"]["Labels"] = None
    bare["NetworkSettings"] = None
    assert _state_of(bare).addresses == {} and _state_of(bare).labels == {}


async def test_no_engine_is_unknown_and_never_gone(tmp_path: Path) -> None:
    client = EngineClient(base_url=f"unix://{tmp_path}/nothing.sock")
    state = await client.state("gpucamp-ada")
    assert state.presence is Presence.UNKNOWN and "cannot be reached" in state.error
    for question in (client.ping(), client.containers({})):
        with pytest.raises(EngineUnavailable):
            await question
    with pytest.raises(EngineUnavailable, match="has not confirmed"):
        await client.remove("gpucamp-ada", within=0.1)
    assert await client.log_tail("gpucamp-ada") == ""
    await client.close()


async def test_sizes_of_volumes(monkeypatch: pytest.MonkeyPatch) -> None:
    def volume(name: str, size: int | None, **labels: str) -> dict[str, Any]:
        usage = None if size is None else {"Size": size, "RefCount": 1}
        return {"Name": name, "Labels": labels or None, "UsageData": usage}

    asked = []

    class Api:
        def _url(self, path: str) -> str:
            return path

        def _get(self, url: str, **options: Any) -> Any:
            asked.append((url, options))
            return {
                "Volumes": [
                    volume("a", 5, hub="h", kind="work"),
                    volume("b", -1, hub="h"),
                    volume("c", None, hub="h"),
                    volume("d", 7, hub="other"),
                    volume("e", 7),
                ]
            }

        def _result(self, answer: Any, json: bool) -> Any:
            return answer

    client = EngineClient()
    monkeypatch.setattr(client, "_api", Api)
    found = await client.volume_sizes({"hub": "h"}, within=7)
    assert [(each.name, each.size) for each in found] == [("a", 5), ("b", None), ("c", None)]
    assert found[0].labels == {"hub": "h", "kind": "work"}
    assert asked == [("/system/df", {"params": {"type": "volume"}, "timeout": 7})]
    await client.close()


async def test_an_image_named_by_its_local_id_cannot_be_pulled() -> None:
    client = EngineClient()
    with pytest.raises(ImageMissing, match="make image"):
        await client.pull("sha256:" + "0" * 64, lambda _: None)
    await client.close()


def test_a_pull_counts_layers_and_bytes() -> None:
    seen: list[PullProgress] = []
    detail = {"current": 50, "total": 100}
    follow(
        iter(
            [
                {"status": "Pulling from gpucamp/torch-cuda", "id": "latest"},
                {"status": "Pulling fs layer", "id": "a"},
                {"status": "Already exists", "id": "b"},
                {"status": "Downloading", "progressDetail": detail, "id": "a"},
                {"status": "Verifying Checksum", "id": "a"},
                {"status": "Download complete", "id": "a"},
                {"status": "Extracting", "progressDetail": {"current": 1, "total": 9}, "id": "a"},
                {"status": "Pull complete", "id": "a"},
                {"status": "Digest: sha256:1"},
            ]
        ),
        seen.append,
    )
    assert seen[2] == PullProgress(layers_done=1, layers=2, bytes_done=50, bytes_total=100)
    assert seen[4] == PullProgress(1, 2, 100, 100)
    assert seen[-1] == PullProgress(2, 2, 100, 100)
    assert [each.bytes_done for each in seen] == sorted(each.bytes_done for each in seen)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("manifest for x@sha256:1 not found: manifest unknown", 404),
        ("toomanyrequests: rate exceeded", 500),
    ],
)
def test_a_pull_that_fails_in_the_stream(words: str, status: int) -> None:
    with pytest.raises(EngineRefused, match=words[:10]) as caught:
        follow(iter([{"error": words}]), lambda _: None)
    assert caught.value.status == status
