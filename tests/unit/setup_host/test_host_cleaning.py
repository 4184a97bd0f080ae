"""`make clean`: work goes by name only, images before what they stand on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine

from setup_host.cleaning import BASE_LABEL, IMAGE_LABEL, image_names, plan_volumes, volumes
from setup_host.engine_api import Engine
from setup_host.errors import SetupError


def volume(name: str, kind: str | None) -> dict[str, Any]:
    return {"Name": name, "Labels": None if kind is None else {"gpucamp.volume": kind}}


VOLUMES = [
    volume("gpucamp-work-lin", "work"),
    volume("gpucamp-env-ada-1", "environment"),
    volume("gpucamp-work-ada", "work"),
    volume("gpucamp-work-looks-like-one", None),
    volume("gpucamp-env-ada-0", "environment"),
]


def test_environments_go_and_work_stays() -> None:
    plan = plan_volumes(VOLUMES, [])
    assert plan.remove == ("gpucamp-env-ada-0", "gpucamp-env-ada-1")
    assert plan.keep == ("gpucamp-work-ada", "gpucamp-work-lin")


def test_work_that_is_named_goes() -> None:
    plan = plan_volumes(VOLUMES, ["gpucamp-work-ada"])
    assert plan.remove[-1] == "gpucamp-work-ada"
    assert plan.keep == ("gpucamp-work-lin",)


@pytest.mark.parametrize(
    "name", ["ada", "gpucamp-work-", "gpucamp-work-*", "gpucamp-work-looks-like-one", "other"]
)
def test_a_name_that_is_not_in_full_one_of_ours_stops_everything(name: str) -> None:
    with pytest.raises(SetupError, match="Nothing was removed") as refused:
        plan_volumes(VOLUMES, ["gpucamp-work-ada", name])
    assert name in refused.value.problem
    assert "gpucamp-work-ada, gpucamp-work-lin" in refused.value.remedy


def test_the_base_image_goes_last_and_every_image_once(tmp_path: Path) -> None:
    built = {"Id": "sha256:built", "RepoTags": ["gpucamp/torch-cuda:new"]}
    older = {"Id": "sha256:older", "RepoTags": ["<none>:<none>"]}
    base = {"Id": "sha256:base", "RepoTags": ["gpucamp/debian:bookworm"]}
    labelled = {IMAGE_LABEL: [built, older], BASE_LABEL: [base, built, older]}

    def listed(query: dict[str, list[str]], _: Any) -> tuple[int, Any]:
        (label,) = json.loads(query["filters"][0])["label"]
        return 200, labelled[label]

    with FakeEngine(tmp_path, {"GET /images/json": listed}) as fake:
        names = image_names(Engine(f"unix://{fake.socket}"))
    assert names == ["gpucamp/torch-cuda:new", "sha256:older", "gpucamp/debian:bookworm"]


def test_volumes_of_another_installation_are_left_alone(tmp_path: Path) -> None:
    other = [volume("gpucamp-spring-work-ada", "work"), volume("gpucamp-spring-env-ada-1", "work")]
    found = (200, {"Volumes": [*VOLUMES[:2], *other]})
    with FakeEngine(tmp_path, {"GET /volumes": found}) as fake:
        ours = volumes(Engine(f"unix://{fake.socket}"), "gpucamp")
    assert [each["Name"] for each in ours] == ["gpucamp-work-lin", "gpucamp-env-ada-1"]
