"""What a participant may ask for: the spawn form, or `user_options` over REST -> Request.

What this module guarantees: what comes out is a number of GPUs that is a whole number from 0 to the
maximum, whatever went in. Everything else is refused with a sentence that says what is allowed.
Nothing but `gpus` can be chosen: not the image, not mounts, not environment variables.

Over REST `gpus` is a JSON integer; true, 1.0 and "1" are not. A form sends text, so there, and only
there, it is one text of decimal digits. An option that is absent has its default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import BadRequest
from .models import Request

GPUS = "gpus"

_DIGITS = re.compile(r"[0-9]{1,4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limits:
    """What this hub allows for one server.

    `max_gpus` is the admin's limit; `existing` is how many devices could be leased if all were
    free (None: not looked up), since a request for more would wait for ever.
    """

    max_gpus: int
    default_gpus: int = 1
    existing: int | None = None

    @property
    def most(self) -> int:
        """The largest number that can be granted."""
        return self.max_gpus if self.existing is None else min(self.max_gpus, self.existing)


def options_from_form(form: Mapping[str, object]) -> dict[str, int]:
    """A submitted spawn form (lists of text) as user_options, or BadRequest."""
    _refuse_unknown(form)
    if GPUS not in form:
        return {}
    values = form[GPUS]
    if isinstance(values, list) and len(values) == 1:
        text = values[0]
        if isinstance(text, str) and _DIGITS.fullmatch(text):
            return {GPUS: int(text)}
    raise BadRequest("The number of GPUs must be one whole number in decimal digits, such as 1.")


def request_from(user: str, server: str, options: object, limits: Limits) -> Request:
    """Validated user_options as a Request, or BadRequest."""
    if options is None:
        options = {}
    if not isinstance(options, Mapping):
        raise BadRequest(f'Options must be an object such as {{"{GPUS}": 1}}.')
    _refuse_unknown(options)
    if GPUS not in options:
        return Request(user, server, min(limits.default_gpus, limits.most))
    wanted = options[GPUS]
    if isinstance(wanted, bool) or not isinstance(wanted, int) or not 0 <= wanted <= limits.most:
        raise BadRequest(_allowed(limits))
    return Request(user, server, wanted)


def _allowed(limits: Limits) -> str:
    if limits.most == 0:
        why = "no GPU can be leased here now" if limits.max_gpus else "GPUs are switched off here"
        return f"The number of GPUs must be 0: {why}."
    reason = "" if limits.most == limits.max_gpus else " (as many as this machine has in order)"
    return f"The number of GPUs must be a whole number from 0 to {limits.most}{reason}."


def _refuse_unknown(options: Mapping[str, object]) -> None:
    unknown = sorted(repr(key)[:40] for key in options if key != GPUS)
    if unknown:
        named = ", ".join(unknown[:5])
        raise BadRequest(f"Unknown option {named}. The only option is {GPUS!r}.")
