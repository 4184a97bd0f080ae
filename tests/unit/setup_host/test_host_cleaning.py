"""`make clean`: work goes by name only."""

from __future__ import annotations

from typing import Any

import pytest

from setup_host.cleaning import plan_volumes
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
