"""Cursors are taken only where they came from, and as they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_ext.service import cursors
from hub_ext.service.cursors import BadCursor, opened, seal

SECRET, PATH, FILTERS = b"x" * 32, "api/v1/leases", {"user": "ada"}
KEY = ["2026-01-31T12:00:00+00:00", "lease1"]


@given(st.lists(st.text() | st.integers(), max_size=4), st.dictionaries(st.text(), st.text()))
def test_what_was_sealed_is_opened(key, filters):
    try:
        cursor = seal(SECRET, PATH, filters, key)
    except UnicodeEncodeError:
        return
    if len(cursor) <= cursors.LONGEST:
        assert opened(SECRET, PATH, filters, cursor) == key


@pytest.mark.parametrize(
    ("secret", "path", "filters"),
    [
        (b"y" * 32, PATH, FILTERS),
        (SECRET, "api/v1/audit", FILTERS),
        (SECRET, PATH, {}),
        (SECRET, PATH, {"user": "bob"}),
        (SECRET, PATH, {"group": "ada"}),
        (SECRET, PATH, {"user": "ada", "state": "held"}),
    ],
)
def test_a_cursor_from_elsewhere_is_refused(secret, path, filters):
    with pytest.raises(BadCursor):
        opened(secret, path, filters, seal(SECRET, PATH, FILTERS, KEY))


def test_a_cursor_of_another_version_is_refused(monkeypatch):
    cursor = seal(SECRET, PATH, FILTERS, KEY)
    monkeypatch.setattr(cursors, "__version__", "9.9.9")
    with pytest.raises(BadCursor):
        opened(SECRET, PATH, FILTERS, cursor)


def test_no_letter_can_be_changed():
    cursor = seal(SECRET, PATH, FILTERS, KEY)
    for place, letter in enumerate(cursor):
        for other in "Ab0-_=é" + chr(ord(letter) ^ 1):
            if other != letter:
                with pytest.raises(BadCursor):
                    opened(SECRET, PATH, FILTERS, cursor[:place] + other + cursor[place + 1 :])


@pytest.mark.parametrize(
    "cursor", ["", "x", "A" * 24, "A" * 9000, "[]", "W10", "é", "=" * 8, "A" * 22 + "W1tbWw"]
)
def test_nonsense_is_refused(cursor):
    with pytest.raises(BadCursor):
        opened(SECRET, PATH, FILTERS, cursor)


@pytest.mark.parametrize("letter", ["a", "\u827e", "\U0001f4a5", '"'])
def test_the_longest_names_have_a_cursor(letter):
    key = [letter * 255, letter * 255, 10**9]
    assert opened(SECRET, PATH, FILTERS, seal(SECRET, PATH, FILTERS, key)) == key
