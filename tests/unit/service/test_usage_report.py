"""Sums and the picture of usage: nothing is counted twice, every value is drawn."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_ext.models import Usage
from hub_ext.service.chart import BOTTOM, COLOURS, HEIGHT, LEFT, TOP, WIDTH, stacked
from hub_ext.service.pages_admin import place_hint, short_names, table
from hub_ext.service.report import DIMENSIONS, as_csv, summed

DAY = date(2026, 1, 30)
hours = st.dictionaries(
    st.tuples(
        st.sampled_from([f"user{n}" for n in range(9)]),
        st.integers(0, 30).map(lambda n: DAY + timedelta(n)),
    ),
    st.floats(0.01, 5000),
    max_size=60,
)
rows = st.lists(
    st.builds(
        Usage,
        st.integers(0, 3).map(lambda n: DAY + timedelta(n)),
        st.sampled_from(["ada", "bob"]),
        st.sampled_from(["", "a", "b"]),
        st.sampled_from(["GPU-1", "GPU-2"]),
        st.floats(0, 1e5),
    ),
    max_size=30,
)


@given(rows, st.permutations(DIMENSIONS).flatmap(lambda d: st.integers(1, 4).map(lambda n: d[:n])))
def test_sums_are_whole_whatever_they_are_by(found, by):
    made = summed(found, by)
    counted = [row.seconds for row in found if bool(row.group) is ("group" in by)]
    assert sum(row["device_seconds"] for row in made) == pytest.approx(sum(counted), abs=0.1)
    keys = [tuple(row[name] for name in by) for row in made]
    assert keys == sorted(set(keys))
    assert as_csv(made, by).count("\r\n") == len(made) + 1


@pytest.mark.parametrize(
    "begin", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"]
)
def test_no_name_is_a_formula_and_each_comes_back_whole(begin):
    name = f'{begin}cmd(),"\u827e"\nx'
    text = as_csv([{"group": name, "device_seconds": 3600.0}], ["group"])
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        ["group", "device_hours"],
        ["'" + name, "1.0000"],
    ]


@given(hours)
def test_every_value_is_drawn_to_scale_within_the_picture(given_hours):
    chart = stacked(given_hours, DAY, DAY + timedelta(30))
    top = float(chart.lines[-1][1])
    per_hour = (HEIGHT - TOP - BOTTOM) / top
    drawn = sum(part.height for part in chart.parts)
    assert drawn == pytest.approx(sum(given_hours.values()) * per_hour, abs=0.06 * 300)
    for part in chart.parts:
        assert LEFT <= part.x and part.x + part.width <= WIDTH + 0.1
        assert TOP - 0.1 <= part.y and part.y + part.height <= HEIGHT - BOTTOM + 0.2
    assert len(chart.legend) == min(len({name for name, _ in given_hours}), COLOURS + 1)
    assert 2 <= len(chart.lines) <= 7
    assert sum(row["total"] for row in table(given_hours)) == pytest.approx(
        sum(given_hours.values())
    )


def test_the_largest_have_a_colour_each_and_the_rest_share_one():
    many = {(f"user{n}", DAY): float(20 - n) for n in range(9)}
    chart = stacked(many, DAY, DAY)
    assert chart.legend == (*(f"user{n}" for n in range(COLOURS)), "")
    assert [part.series for part in chart.parts] == list(range(COLOURS + 1))
    assert "39.0 h" in chart.parts[-1].title  # 14 + 13 + 12


def test_an_empty_picture_is_one():
    assert stacked({}, DAY, DAY).parts == ()


def device(uuid: str, node: int | None = None, *links: tuple[str, str, int]) -> dict:
    return {
        "uuid": uuid,
        "numa_node": node,
        "links": [{"uuid": u, "link": link, "score": score} for u, link, score in links],
    }


def test_short_names_tell_devices_apart():
    assert short_names([device("GPU-a-0001"), device("GPU-a-0002")]) == {
        "GPU-a-0001": "…0001",
        "GPU-a-0002": "…0002",
    }
    assert short_names([device("x-10001"), device("x-20001")])["x-10001"] == "…10001"


@pytest.mark.parametrize(
    ("given_device", "words"),
    [
        (device("a"), ""),
        (device("a", 0), "NUMA node 0"),
        (
            device("a", 1, ("b", "nvlink", 103), ("c", "nvlink", 103), ("d", "one_switch", 40)),
            "NUMA node 1 · NVLink with …b, …c",
        ),
        (device("a", None, ("b", "one_switch", 40)), "one PCIe switch with …b"),
        (device("a", None, ("b", "other_socket", 0)), ""),
    ],
)
def test_a_hint_says_where_a_device_is_and_how_it_is_linked(given_device, words):
    assert place_hint(given_device, {"b": "…b", "c": "…c", "d": "…d"}) == words
