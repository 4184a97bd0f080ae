"""What all REST handlers share: JSON answers, strict queries and strict bodies.

Guarantees: an answer is JSON (or the CSV that was asked for); an error is a problem document;
a query argument or a field of a body that is not known is refused, since it is a typo; so is a
value of another type, in words that say what is allowed.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime
from hashlib import blake2b
from typing import Any

from tornado.web import HTTPError

from ..errors import BadRequest, Unmet
from ..i18n import _
from .handlers import ServiceHandler
from .idempotency import HEADER, REPLAYED, Answer, Requests, fingerprint, key_of
from .problems import MEDIA_TYPE, as_json, problem

MOST_ROWS = 500  # more in one answer would keep all others waiting for too long
SOME_ROWS = 100
LONGEST_REASON = 200
MOST_DIGITS = 12

# in emoji of several people or colours, and between letters of Persian and Indian scripts
_WITHOUT_JOINERS = dict.fromkeys((0x200C, 0x200D))

Check = Callable[[str, object], Any]  # field's name, its value -> the value; raises BadRequest


class ApiHandler(ServiceHandler):
    """Base of REST handlers. A query argument that is not in `query` is refused: it is a typo."""

    query: frozenset[str] = frozenset()
    _etag: str | None = None
    _claimed = False  # by an Idempotency-Key
    _answer: Answer | None = None  # to a claimed request

    async def prepare(self) -> None:
        await super().prepare()
        self.check_query()

    def check_query(self) -> None:
        """Raises BadRequest for an argument that is not known, or is there twice."""
        given = self.request.query_arguments
        twice = next((name for name, values in given.items() if len(values) > 1), None)
        if twice is not None:
            raise BadRequest(_("{name} stands twice in the query.").format(name=twice))
        unknown = set(given) - self.query - {"_xsrf"}
        if unknown:
            raise BadRequest(
                _("This address knows no query argument but: {names}.").format(
                    names=", ".join(sorted(self.query)) or "-"
                )
            )

    def refuse_unknown(self) -> None:
        raise HTTPError(401)

    def show_error(self, status: int, message: str, error: BaseException | None = None) -> None:
        if status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        self.set_header("Content-Type", MEDIA_TYPE)
        self.finish(as_json(problem(error, status, message, self.service.prefix, self.instance)))

    def answer(self, value: Mapping[str, Any], status: int = 200) -> None:
        """Finish with a JSON object; once, as the last that a verb does."""
        found = Answer(status, json.dumps(value, ensure_ascii=False))
        if self._claimed:
            self._answer = found  # it is sent when it is kept
        else:
            self._send(found)

    def _send(self, answer: Answer) -> None:
        self.set_status(answer.status)
        self.send_text(answer.body, "application/json")

    def send_text(self, body: str, media: str) -> None:
        """Finish with this text; to a GET with an ETag, or 304 for who has the same already.

        A strong one: it is made of the bytes. What a view costs is spent anyway; 304 spares what
        is sent, read and shown again. A cache may keep an answer, and has to ask each time.
        """
        self.set_header("Content-Type", f"{media}; charset=utf-8")
        if self.request.method == "GET" and self.get_status() == 200:
            self._etag = f'"{blake2b(body.encode(), digest_size=16).hexdigest()}"'
            self.set_header("Cache-Control", "private, no-cache")
            self.set_header("Vary", "Accept-Language, Authorization, Cookie")
        self.finish(body)

    def compute_etag(self) -> str | None:
        """tornado asks for it; None: what is sent has none."""
        return self._etag

    async def run(self, verb: Callable[[], Awaitable[None]]) -> None:
        """Do what was asked for; with an Idempotency-Key once, see idempotency.py."""
        if self.request.method == "POST" and "If-Match" in self.request.headers:
            # it would be done whatever the caller made it depend on
            raise Unmet(
                _("Nothing was done: what is changed here has no ETag. Leave out If-Match.")
            )
        header = self.request.headers.get(HEADER)
        if header is None or self.request.method != "POST":
            await verb()
            return
        requests: Requests = self.settings["requests"]
        request = self.request
        begun = await requests.begin(
            f"{self.caller.kind}:{self.caller.name}",
            key_of(header),
            fingerprint("POST", str(request.uri), request.body),
        )
        if isinstance(begun, Answer):
            self.set_header(REPLAYED, "true")
            self._send(begun)
            return
        self._claimed = True
        try:
            # what is cancelled stays as it is: whether it was done is not known
            try:
                await verb()
            except Exception:  # it was refused or broke: the key is free for another try
                await begun.release()
                raise
            if self._answer is not None:
                await begun.keep(self._answer)
        finally:
            self._claimed = False
            begun.leave()
        if self._answer is not None:
            self._send(self._answer)

    # -- bodies

    def empty_body(self) -> None:
        """Accept no body or {}. Raises BadRequest."""
        if self.request.body and self._json() != {}:
            raise BadRequest(_("The body must be empty or {}: there is nothing to set."))

    def body(self, required: Mapping[str, Check], optional: Mapping[str, Check]) -> dict[str, Any]:
        """The fields of a JSON object, checked. Raises BadRequest for anything else."""
        value = self._json() if self.request.body else {}
        known = {**required, **optional}
        if not isinstance(value, dict) or not set(required) <= set(value) <= set(known):
            raise BadRequest(
                _(
                    "The body must be a JSON object. Its fields: {required}; optional: {optional}."
                ).format(required=", ".join(required) or "-", optional=", ".join(optional) or "-")
            )
        return {name: known[name](name, value[name]) for name in value}

    def _json(self) -> object:
        try:
            # bytes would be taken for UTF-16 and UTF-32 as well, which are no JSON to others
            value: object = json.loads(
                self.request.body.decode("utf-8-sig"), object_pairs_hook=_once_each
            )
        except (ValueError, RecursionError):
            return None
        return value

    # -- queries

    def whole_argument(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number of the query. Raises BadRequest."""
        given = self.get_query_argument(name, None)
        if given is None:
            return default
        return whole_number(name, given, least, most)

    def day_argument(self, name: str, default: date) -> date:
        """A day of the query. Raises BadRequest."""
        given = self.get_query_argument(name, None)
        if given is None:
            return default
        try:
            return date.fromisoformat(given)
        except ValueError as error:
            raise BadRequest(
                _("{name} must be a day, such as 2026-01-31.").format(name=name)
            ) from error


def whole_number(name: str, given: str, least: int, most: int) -> int:
    """A whole number in a query or a header, in digits. Raises BadRequest."""
    # no more digits than any bound has: int() refuses thousands, and zeros before it are no number
    if len(given) <= MOST_DIGITS and given.isascii() and given.isdigit():
        number = int(given)
        if least <= number <= most:
            return number
    raise BadRequest(
        _("{name} must be a whole number from {least} to {most}.").format(
            name=name, least=least, most=most
        )
    )


def moment(name: str, given: str) -> datetime:
    """A time of the query, with its offset from UTC. Raises BadRequest."""
    try:
        # a plus sign that was not escaped is a blank
        found = datetime.fromisoformat(given.replace(" ", "+"))
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise BadRequest(
        _("{name} must be a time with its offset, such as 2026-01-31T12:00:00Z.").format(name=name)
    )


def whole(least: int, most: int) -> Check:
    """Checks a whole number."""

    def check(name: str, value: object) -> int:
        # 5.0 is a whole number in JSON; True is none, though Python counts with it
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise BadRequest(
                _("{name} must be a whole number from {least} to {most}.").format(
                    name=name, least=least, most=most
                )
            )
        return value

    return check


def boolean(name: str, value: object) -> bool:
    """Checks true or false."""
    if isinstance(value, bool):
        return value
    raise BadRequest(_("{name} must be true or false.").format(name=name))


def text(longest: int) -> Check:
    """Checks a text of one line; blanks around it are dropped."""

    def check(name: str, value: object) -> str:
        if not isinstance(value, str) or len(value) > longest or not _is_one_line(value.strip()):
            raise BadRequest(
                _("{name} must be a text of one line and at most {longest} characters.").format(
                    name=name, longest=longest
                )
            )
        return value.strip()

    return check


def line(longest: int) -> Check:
    """Checks a text as above that says something."""

    def check(name: str, value: object) -> str:
        said: str = text(longest)(name, value)
        if not said.translate(_WITHOUT_JOINERS):
            raise BadRequest(_("{name} must say something: people read it.").format(name=name))
        return said

    return check


reason_text = line(LONGEST_REASON)  # of what is done to somebody else


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON. Raises ValueError for a name that stands twice: which one counts?"""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _is_one_line(value: str) -> bool:
    return value.translate(_WITHOUT_JOINERS).isprintable()
