"""Reasons of devices in Chinese: sentences of ours are, words of others stay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from hub_ext import i18n
from hub_ext.health import CATALOGUE, XidEvent, assess, note
from hub_ext.models import Device
from hub_ext.service.device_reasons import device_reason, sentences

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def chinese() -> Iterator[None]:
    i18n.set_language("zh_CN")
    yield
    i18n.set_language("en")


@pytest.mark.parametrize("xid", [*CATALOGUE, 999])
def test_an_xid(xid: int) -> None:
    events = [XidEvent("GPU-a", xid, NOW), XidEvent("GPU-a", 79, NOW)]
    (device,) = assess([Device("GPU-a", "A100", 0)], note({}, events, NOW), NOW)
    assert device.reason
    shown = device_reason(device.reason)
    assert not any(sentence in shown for sentence in sentences())
    assert f"Xid {79}" in shown
    assert "2026-01-31 12:00:00 UTC" in shown


def test_words_of_the_driver_stay() -> None:
    reason = "NVML cannot read the card: GPU is lost; the host may need a reboot"
    assert device_reason(reason) == "NVML 无法读取该卡: GPU is lost; 主机可能需要重启"


def test_english_is_left_as_it_is() -> None:
    i18n.set_language("en")
    for sentence in sentences():
        assert device_reason(sentence) == sentence


def test_an_admins_own_words_stay() -> None:
    assert device_reason("") == ""
    assert device_reason("冷却风扇 is loud") == "冷却风扇 is loud"
