"""Errors of the server extension. handlers.py turns them into HTTP statuses, nowhere else.

A message is an English gettext msgid with {placeholders}; it says what happened and what to do.
str(error) is English; `render(gettext)` gives the reader's language.
"""

from __future__ import annotations

from collections.abc import Callable


class GpucampServerError(Exception):
    """Base of all.

    message: msgid with {placeholders}; params: what to put in their place.
    """

    def __init__(self, message: str, **params: object) -> None:
        super().__init__(message)
        self.message = message
        self.params = params

    def render(self, gettext: Callable[[str], str]) -> str:
        """The message in the language of `gettext`, placeholders filled in."""
        text = gettext(self.message)
        return text.format(**self.params) if self.params else text

    def __str__(self) -> str:
        return self.render(lambda text: text)


class BadRequest(GpucampServerError):
    """The request is malformed or out of bounds; the message says what is allowed. HTTP 400."""


class Forbidden(GpucampServerError):
    """The visitor may use this server but not do this with it. HTTP 403."""


class NotFound(GpucampServerError):
    """No such run, report, file or kernel. HTTP 404."""


class Conflict(GpucampServerError):
    """The thing is in a state that does not allow it. HTTP 409."""


class ServiceUnavailable(GpucampServerError):
    """The gpucamp service or another helper did not answer. HTTP 503."""
