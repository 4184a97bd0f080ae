"""Settings: defaults, and values that are refused with a text that says what is allowed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from setup_host.errors import SetupError
from setup_host.settings import SETTINGS, Settings, describe

ROOT = Path("/somewhere/gpucamp")


def test_without_variables_the_defaults_hold() -> None:
    made = Settings.from_environ({}, ROOT)
    assert made.state == ROOT / ".gpucamp"
    assert made.tools == made.state
    assert (made.bind, made.port, made.hub_port, made.service_port) == (
        "127.0.0.1",
        8000,
        8081,
        8083,
    )
    assert made.ledger_url == f"sqlite:///{ROOT}/.gpucamp/hub/ledger.sqlite"
    assert made.local_url == "http://127.0.0.1:8000"
    assert made.install_engine


def test_an_empty_variable_counts_as_not_set() -> None:
    empty = dict.fromkeys(SETTINGS, "  ")
    assert Settings.from_environ(empty, ROOT) == Settings.from_environ({}, ROOT)


def test_a_relative_state_folder_is_below_the_checkout_and_takes_the_tools_along() -> None:
    made = Settings.from_environ({"GPUCAMP_STATE_DIR": "x/y"}, ROOT)
    assert made.state == made.tools == ROOT / "x/y"


def test_all_addresses_are_seen_from_this_host_as_the_loopback_one() -> None:
    made = Settings.from_environ({"GPUCAMP_BIND": "0.0.0.0", "GPUCAMP_PORT": "80"}, ROOT)  # noqa: S104
    assert made.local_url == "http://127.0.0.1:80"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("GPUCAMP_PORT", "0", "1 to 65535"),
        ("GPUCAMP_PORT", "65536", "1 to 65535"),
        ("GPUCAMP_PORT", "-1", "1 to 65535"),
        ("GPUCAMP_PORT", "80a", "1 to 65535"),
        ("GPUCAMP_HUB_PORT", "8000", "GPUCAMP_PORT and GPUCAMP_HUB_PORT are both 8000"),
        ("GPUCAMP_BIND", "localhost", "not an IP address"),
        ("GPUCAMP_SUBNET", "10.77.0.1/20", "10.77.0.0/20"),
        ("GPUCAMP_SUBNET", "10.77.0.0/30", "room for containers"),
        ("GPUCAMP_SUBNET", "fd00::/64", "not an IPv4 subnet"),
        ("GPUCAMP_PRACTICE_DEVICES", "10", "0 to 9"),
        ("GPUCAMP_INSTALL_ENGINE", "maybe", "yes or no"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_allowed(name: str, value: str, says: str) -> None:
    with pytest.raises(SetupError) as refused:
        Settings.from_environ({name: value}, ROOT)
    assert says in str(refused.value)
    assert "What to do:" in str(refused.value)


def test_every_setting_that_is_read_is_documented_and_the_other_way_round() -> None:
    source = Path(__file__).resolve().parents[3] / "setup_host" / "settings.py"
    body = source.read_text(encoding="utf-8").partition("def from_environ")[2]
    read = set(re.findall(r'"(GPUCAMP_[A-Z_]+)"', body))
    assert read == set(SETTINGS)
    assert all(name in describe() for name in SETTINGS)
