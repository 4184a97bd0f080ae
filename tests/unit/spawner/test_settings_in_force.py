"""The settings in force: what they are, where they come from, and that no secret is among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config
from traitlets.config.loader import DeferredConfigString

from hub_ext.defaults import hub_settings
from hub_ext.policy_settings import GpuPolicy
from hub_ext.service.app import GpucampService
from hub_ext.settings_in_force import (
    Setting,
    different,
    from_text,
    settings_of,
    to_text,
)
from hub_ext.spawner import GPUDockerSpawner


def spawner(config: Config, **where: Any) -> dict[str, Setting]:
    found = settings_of(GPUDockerSpawner, config, inherited=True, **where)
    return {each.name: each for each in found}


def test_every_trait_that_gpucamp_defines_is_told(tmp_path):
    found = {(each.section, each.name) for each in hub_settings(Config())}
    wanted = {
        (cls.__name__, name)
        for cls in (GPUDockerSpawner, GpuPolicy)
        for name in cls.class_own_traits(config=True)
    }
    assert found == wanted
    assert all(each.help and each.source == "default" for each in hub_settings(Config()))


def test_a_setting_names_its_line_and_its_default(tmp_path: Path):
    file = tmp_path / "jupyterhub_config.py"
    file.write_text("c.GPUDockerSpawner.max_gpus = 4\n\nc.Spawner.default_url = '/lab'\n")
    config = Config()
    config.GPUDockerSpawner.max_gpus = 4
    config.Spawner.default_url = "/lab"
    config.GPUDockerSpawner.stop_grace = 9
    found = spawner(config, files=[file], command_line={"GPUDockerSpawner": {"stop_grace": 9}})
    told = {name: (each.value, each.default, each.source) for name, each in found.items()}
    assert told["max_gpus"] == (4, 8, f"{file}:1")
    assert told["default_url"] == ("/lab", "", f"{file}:3"), "it is Spawner's"
    assert told["stop_grace"] == (9, 5, "command line")
    assert told["default_gpus"] == (1, 1, "default")
    assert "cmd" not in told, "JupyterHub's own that nobody set are not told"
    assert [name for name, each in found.items() if each.changed] == [
        *("default_url", "max_gpus", "stop_grace"),
    ]


def test_the_most_specific_class_counts():
    config = Config()
    config.Spawner.mem_limit = "1G"
    config.DockerSpawner.mem_limit = "2G"
    config.GPUDockerSpawner.mem_limit = "3G"
    assert spawner(config)["mem_limit"].value == "3G"
    del config.GPUDockerSpawner["mem_limit"]
    assert spawner(config)["mem_limit"].value == "2G"


def test_values_that_were_appended_or_came_from_a_terminal_are_whole():
    config = Config()
    config.GpuPolicy.warning_minutes.append(1.0)
    config.GpuPolicy.lease_hours = DeferredConfigString("4")
    found = {each.name: each.value for each in settings_of(GpuPolicy, config)}
    assert found["warning_minutes"] == [30.0, 10.0, 5.0, 1.0]
    assert found["lease_hours"] == 4.0


SECRET = "s3cr/et"


def set_in(section: str, **values: Any) -> Config:
    config = Config()
    for name, value in values.items():
        config[section][name] = value
    return config


@pytest.mark.parametrize(
    "config",
    [
        set_in("GPUDockerSpawner", ledger_url=f"postgresql+psycopg://gpucamp:{SECRET}@db/gpucamp"),
        set_in("GPUDockerSpawner", ledger_url=f"postgresql://db/gpucamp?password={SECRET}"),
        set_in("GPUDockerSpawner", ledger_url=f"postgresql://?host=db&user=x&passfile={SECRET}"),
        set_in("GPUDockerSpawner", ledger_url=f"sqlite:////srv/l.sqlite?sslpassword={SECRET}"),
        set_in("GPUDockerSpawner", internet_mirrors={"pip": f"https://me:{SECRET}@mirror/simple"}),
        set_in("GPUDockerSpawner", internet_mirrors={"pip": f"https://m/x?api_key={SECRET}&a=b"}),
        set_in("GPUDockerSpawner", internet_proxy=f"http://{SECRET}@proxy:3128"),
        set_in("GPUDockerSpawner", ulimits={"api_token": SECRET}),
        set_in("GPUDockerSpawner", environment={"HF_TOKEN": SECRET}),
        set_in("Spawner", environment={"WHATEVER": SECRET}),
        set_in("DockerSpawner", extra_host_config={"x": SECRET}),
        set_in("DockerSpawner", extra_create_kwargs={"x": [SECRET]}),
        set_in("Spawner", args=[f"--key={SECRET}"]),
        set_in("Spawner", cmd=[SECRET]),
        set_in("DockerSpawner", client_kwargs={"password": SECRET}),
        set_in("DockerSpawner", tls_config={"x": SECRET}),
        set_in("Spawner", image=f"https://me:{SECRET}@registry/image"),
        set_in(
            "Spawner",
            group_overrides={
                "a": {"groups": ["a"], "spawner_override": {"environment": {"K": SECRET}}},
                "b": {"groups": ["b"], "spawner_override": SECRET},
                "c": SECRET,
            },
        ),
        set_in("GpuPolicy", pools={"a": {"devices": "*", "password": SECRET}}),
    ],
)
def test_no_secret_is_told(config):
    text = to_text(hub_settings(config))
    assert "s3cr" not in text and "/et" not in text


def test_what_hides_a_secret_says_that_it_is_set():
    found = spawner(set_in("Spawner", environment={"HF_TOKEN": SECRET}))["environment"]
    assert (found.value, found.hidden, found.changed) == (None, True, True)
    mirrors = set_in("GPUDockerSpawner", internet_mirrors={"pip": f"https://me:{SECRET}@m/simple"})
    assert spawner(mirrors)["internet_mirrors"].value == {"pip": "https://…@m/simple"}
    overrides = {"big": {"groups": ["x"], "spawner_override": {"max_gpus": 4, "args": ["y"]}}}
    found = spawner(set_in("Spawner", group_overrides=overrides))["group_overrides"]
    assert found.value == {
        "big": {"groups": ["x"], "spawner_override": {"max_gpus": 4, "args": "…"}}
    }


@pytest.mark.parametrize(
    "value", [lambda: 1, object(), float("nan"), {1: object()}, b"bytes", {"a": {1, 2}}]
)
def test_whatever_stands_there_the_list_is_json(value):
    text = to_text(hub_settings(set_in("GpuPolicy", pools=value)))
    assert json.loads(text) and "NaN" not in text


def test_something_that_contains_itself_is_hidden():
    around: list[object] = []
    around.append(around)
    found = {each.name: each for each in hub_settings(set_in("GpuPolicy", pools=around))}
    assert found["pools"].hidden


def test_the_service_tells_what_it_works_with(monkeypatch):
    monkeypatch.setenv("GPUCAMP_LEDGER_URL", f"postgresql://me:{SECRET}@db/x")
    monkeypatch.setenv("GPUCAMP_PRACTICE_DEVICES", "7")
    app = GpucampService()
    found = {
        each.name: each
        for each in settings_of(
            GpucampService, app.config, effective=lambda name: getattr(app, name)
        )
    }
    assert found["practice_devices"].value == 7 and found["practice_devices"].computed
    assert found["practice_devices"].source == "start" and not found["practice_devices"].changed
    assert found["ledger_url"].value == "postgresql://…"
    assert found["cookie_secret_file"].hidden
    assert found["history_days"].source == "default"


def test_text_and_back():
    settings = hub_settings(set_in("GPUDockerSpawner", max_gpus=4))
    assert from_text(to_text(settings)) == settings
    assert from_text("nonsense") == from_text("[1]") == from_text('[{"name": 1}]') == ()
    later = json.dumps([{**json.loads(to_text(settings))[0], "new": 1}])
    assert from_text(later) == settings[:1]


def test_what_is_different():
    before = hub_settings(Config())
    after = hub_settings(set_in("GPUDockerSpawner", max_gpus=4))
    assert different(before, after) == ("GPUDockerSpawner.max_gpus",)
    assert different(before, before) == ()
    assert len(different((), before)) == len(before)
