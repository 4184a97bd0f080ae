"""Lists over REST: filters, and pages with cursors.

Guarantees: an answer is {"<name>": [...], "next": cursor or null}; no page is longer than `limit`;
what is there all the time while a caller turns the pages is told once, whatever comes or goes
meanwhile; a filter that is not known, is given twice or out of bounds is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tornado.escape import utf8

from ..errors import BadRequest
from ..i18n import _
from .api_base import MOST_ROWS, SOME_ROWS, ApiHandler
from .cursors import Key, opened, seal
from .lease_views import Json

LONGEST_FILTER = 255

Parse = Callable[[str, str], Any]  # filter's name, its text -> its value; raises BadRequest
Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: `given` are the filters that were named; `after` is where to go on."""

    given: Mapping[str, Any]
    after: Key | None
    limit: int

    def admits(self, **values: object) -> bool:
        """Whether a row with these values passes the filters; a collection has to hold it."""
        return all(
            wanted in found if isinstance(found, tuple) else wanted == found
            for name, wanted in self.given.items()
            for found in [values[name]]
        )


class ListHandler(ApiHandler):
    """Base of lists. `filters` are what the query may name, beside limit and cursor; `most`: the
    rows of the longest page.
    """

    filters: Mapping[str, Parse] = {}
    most = MOST_ROWS

    def __init_subclass__(cls) -> None:
        cls.query = frozenset({*cls.filters, "limit", "cursor"})

    def wanted(self) -> Wanted:
        """The query. Raises BadRequest."""
        texts = self._texts()
        given = {name: self.filters[name](name, text) for name, text in texts.items()}
        limit = self.whole_argument("limit", SOME_ROWS, 1, self.most)
        cursor = self.get_query_argument("cursor", None)
        after = None if cursor is None else opened(self._secret(), self._path(), texts, cursor)
        return Wanted(given, after, limit)

    def answer_page(self, name: str, rows: Sequence[Json], end: Place | None) -> None:
        """Answer with a page; `end` is where it ended, None on the last one."""
        following = None
        if end is not None:
            following = seal(self._secret(), self._path(), self._texts(), end)
        self.answer({name: rows, "next": following})

    def _texts(self) -> dict[str, str]:
        found = {name: self.get_query_argument(name, None, strip=False) for name in self.filters}
        return {name: text for name, text in found.items() if text is not None}

    def _path(self) -> str:
        return self.request.path.removeprefix(self.service.prefix)

    def _secret(self) -> bytes:
        return utf8(self.settings["cookie_secret"])


# -- filters


def one_of(*names: str) -> Parse:
    """One of these words."""

    def parse(name: str, text: str) -> str:
        if text not in names:
            raise BadRequest(
                _("{name} must be one of: {names}.").format(name=name, names=", ".join(names))
            )
        return text

    return parse


def words(name: str, text: str) -> str:
    """A name, exactly as it is."""
    if len(text) > LONGEST_FILTER:
        raise BadRequest(
            _("{name} must have at most {most} characters.").format(name=name, most=LONGEST_FILTER)
        )
    return text


def flag(name: str, text: str) -> bool:
    """0 or 1."""
    if text not in ("0", "1"):
        raise BadRequest(_("{name} must be 0 or 1.").format(name=name))
    return text == "1"


# -- pages of what is in memory


def sorted_page(
    rows: Iterable[Json], key: Callable[[Json], Place], wanted: Wanted
) -> tuple[list[Json], Place | None]:
    """The page after `wanted.after` of rows in the order of `key`, which no two share."""
    ordered = sorted(rows, key=key)
    if wanted.after is not None:
        after = tuple(wanted.after)
        ordered = [row for row in ordered if key(row) > after]
    page = ordered[: wanted.limit]
    return page, key(page[-1]) if len(ordered) > wanted.limit else None


def line_page(
    rows: Sequence[Json], name: Callable[[Json], tuple[str, str]], wanted: Wanted
) -> tuple[list[Json], Place | None]:
    """The same for a line, whose order may change: it goes on after the one that was last.

    If that one has left the line, it goes on one place before where they stood: the next moved up.
    """
    start = 0
    if wanted.after is not None:
        user, server, number = wanted.after
        places = [name(row) for row in rows]
        last = (str(user), str(server))
        start = places.index(last) + 1 if last in places else int(number) - 1
    page = list(rows[start : start + wanted.limit])
    end = start + len(page)
    return page, (*name(page[-1]), end) if end < len(rows) else None
