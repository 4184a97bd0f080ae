"""Options: whatever goes in, a number of GPUs in bounds comes out, or a sentence."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_ext.errors import BadRequest
from hub_ext.models import Request
from hub_ext.options import Limits, options_from_form, request_from

LIMITS = Limits(max_gpus=4, default_gpus=1)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.mark.parametrize("gpus", range(5))
def test_whole_numbers_in_bounds(gpus: int) -> None:
    assert request_from("ada", "s", {"gpus": gpus}, LIMITS) == Request("ada", "s", gpus)


@pytest.mark.parametrize("options", [{}, None])
def test_nothing_said_means_the_default(options: object) -> None:
    assert request_from("ada", "", options, LIMITS).gpus == 1


@pytest.mark.parametrize(
    ("limits", "default"),
    [
        (Limits(max_gpus=4, default_gpus=2, existing=1), 1),
        (Limits(max_gpus=4, default_gpus=2, existing=0), 0),
        (Limits(max_gpus=0, default_gpus=1), 0),
        (Limits(max_gpus=1, default_gpus=2, existing=8), 1),
    ],
)
def test_the_default_never_asks_for_more_than_there_is(limits: Limits, default: int) -> None:
    assert request_from("ada", "", {}, limits).gpus == default


@pytest.mark.parametrize(
    "gpus",
    [-1, 5, 10**9, 1.5, 1.0, math.nan, math.inf, True, False, None, "all", "1", "1 ", "", [1], {}],
    ids=repr,
)
def test_everything_else_is_refused_with_what_is_allowed(gpus: object) -> None:
    with pytest.raises(BadRequest, match="whole number from 0 to 4"):
        request_from("ada", "", {"gpus": gpus}, LIMITS)


def test_no_more_than_this_machine_has() -> None:
    limits = Limits(max_gpus=4, existing=2)
    with pytest.raises(BadRequest, match=r"0 to 2 \(as many as this machine has in order\)"):
        request_from("ada", "", {"gpus": 3}, limits)
    with pytest.raises(BadRequest, match="must be 0"):
        request_from("ada", "", {"gpus": 1}, Limits(max_gpus=4, existing=0))


@pytest.mark.parametrize(
    "options",
    [
        {"image": "debian"},
        {"gpus": 1, "env": {"LD_PRELOAD": "x"}},
        {"GPUS": 1},
        {"gpus ": 1},
        {"": 1},
        {"x" * 10000: 1},
    ],
    ids=lambda options: repr(options)[:30],
)
def test_unknown_options_are_named_and_refused(options: dict[str, object]) -> None:
    with pytest.raises(BadRequest, match="Unknown option .*The only option is 'gpus'") as caught:
        request_from("ada", "", options, LIMITS)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("options", [[], "gpus", 1, [["gpus", 1]]], ids=repr)
def test_options_that_are_no_object(options: object) -> None:
    with pytest.raises(BadRequest, match="must be an object"):
        request_from("ada", "", options, LIMITS)


@given(JSON)
def test_any_json_is_in_bounds_or_refused(options: object) -> None:
    try:
        request = request_from("ada", "", options, LIMITS)
    except BadRequest as error:
        assert str(error)
    else:
        assert type(request.gpus) is int and 0 <= request.gpus <= 4


@pytest.mark.parametrize(
    ("form", "options"), [({"gpus": ["2"]}, {"gpus": 2}), ({"gpus": ["0"]}, {"gpus": 0}), ({}, {})]
)
def test_a_form_says_it_in_text(form: dict[str, list[str]], options: object) -> None:
    assert options_from_form(form) == options
    assert json.loads(json.dumps(options)) == options


@pytest.mark.parametrize(
    "values",
    [
        [],
        ["1", "2"],
        [""],
        ["1 "],
        ["+1"],
        ["-1"],
        ["1.0"],
        ["1e1"],
        ["all"],
        ["٣"],
        ["99999"],
        [1],
    ],
    ids=repr,
)
def test_a_form_that_says_anything_else(values: list[object]) -> None:
    with pytest.raises(BadRequest, match="one whole number"):
        options_from_form({"gpus": values})
    with pytest.raises(BadRequest, match="Unknown option 'image'"):
        options_from_form({"gpus": ["1"], "image": ["debian"]})
