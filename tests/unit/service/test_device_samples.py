"""Samples of devices: bounded, on the clock's steps, and unknown where nothing was told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from service_world import UUIDS, FakeEngine, World

from hub_ext.errors import InventoryUnavailable
from hub_ext.models import Device, DeviceDetail
from hub_ext.service.device_samples import STEP, STEPS, WINDOW, DeviceSamples, Sample
from hub_ext.service.monitor import Monitor

START = datetime(2026, 11, 27, 12, tzinfo=UTC)
FIRST, SECOND = UUIDS


def device(uuid: str = FIRST, percent: int | None = 0, used: int | None = 0) -> Device:
    detail = None if used is None else DeviceDetail(memory_used_bytes=used)
    return Device(uuid, "card", 2**30, utilization_percent=percent, detail=detail)


def test_a_series_ends_now_and_leaves_gaps_where_nothing_was_seen():
    samples = DeviceSamples()
    samples.add([device(percent=10, used=1)], START)
    samples.add([device(percent=None, used=2)], START + STEP)
    samples.add([device(percent=30, used=None)], START + 3 * STEP)
    series = samples.series(FIRST, START + 4 * STEP)
    assert series.utilization_percent[-5:] == (10, None, None, 30, None)
    assert series.memory_used_bytes[-5:] == (1, 2, None, None, None)
    assert set(series.utilization_percent[:-5]) == {None}
    assert len(series.utilization_percent) == len(series.memory_used_bytes) == STEPS == 120
    assert (series.until, series.step_seconds) == (START + 4 * STEP, 5.0)


def test_a_device_that_was_never_seen_has_only_gaps():
    samples = DeviceSamples()
    assert set(samples.series("GPU-unknown", START).utilization_percent) == {None}
    assert samples.of("GPU-unknown") == ()
    assert samples.latest("GPU-unknown", START) is None


def test_of_many_looks_in_one_step_the_last_one_stays():
    samples = DeviceSamples()
    for tenth in range(49):
        samples.add([device(percent=tenth)], START + timedelta(seconds=tenth / 10))
    assert [each.utilization_percent for each in samples.of(FIRST)] == [48]


def test_the_latest_sample_is_told_only_while_it_is_fresh():
    samples = DeviceSamples()
    samples.add([device(percent=7, used=9)], START)
    assert samples.latest(FIRST, START + 3 * STEP) == Sample(START, 7, 9)
    assert samples.latest(FIRST, START + 4 * STEP) is None


def test_a_device_that_is_gone_is_forgotten_after_the_window():
    samples = DeviceSamples()
    samples.add([device(FIRST), device(SECOND)], START)
    samples.add([device(SECOND)], START + WINDOW)
    assert samples.of(FIRST), "it was there ten minutes ago"
    samples.add([device(SECOND)], START + WINDOW + STEP)
    assert samples.of(FIRST) == ()
    assert samples.series(SECOND, START + WINDOW + STEP).utilization_percent[-2:] == (0, 0)


def test_a_clock_that_was_set_back_takes_back_what_comes_again():
    samples = DeviceSamples()
    for number in range(10):
        samples.add([device(percent=number)], START + number * STEP)
    samples.add([device(percent=99)], START + 5 * STEP)
    assert [each.utilization_percent for each in samples.of(FIRST)] == [0, 1, 2, 3, 4, 99]


@given(
    st.lists(st.tuples(st.floats(-900, 900), st.sampled_from([(FIRST,), UUIDS, ()])), max_size=400)
)
def test_whatever_the_clock_does_samples_are_in_order_and_bounded(looks):
    samples, now = DeviceSamples(), START
    for seconds, seen in looks:
        now += timedelta(seconds=seconds)
        samples.add([device(uuid) for uuid in seen], now)
        for uuid in UUIDS:
            kept = [each.at for each in samples.of(uuid)]
            assert kept == sorted(set(kept)) and len(kept) <= STEPS + 1
            assert len(samples.series(uuid, now).utilization_percent) == STEPS


def test_years_of_rounds_of_half_a_second_take_no_more_than_ten_minutes_do():
    samples, now = DeviceSamples(), START
    for _ in range(20_000):
        now += timedelta(seconds=0.5)
        samples.add([device()], now)
    assert STEPS <= len(samples.of(FIRST)) <= STEPS + 1


async def test_every_inventory_is_sampled_and_one_that_failed_is_not(world: World):
    found = [[device(percent=55, used=3)], InventoryUnavailable("The driver is away")]

    def scan():
        result = found.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    monitor = Monitor(world.ledger, FakeEngine(world), scan)
    await monitor.take_inventory()
    await monitor.take_inventory()
    (sample,) = monitor.samples.of(FIRST)
    assert (sample.utilization_percent, sample.memory_used_bytes) == (55, 3)
    await monitor.close()


def test_the_service_tells_its_handlers_the_samples(ask):
    assert ask.service.samples is ask.service.monitor.samples
