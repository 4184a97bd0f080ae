"""Text for people, in their language.

Guarantees:
- The English source text is the key, so a missing translation or catalogue shows English.
- The language belongs to the running request (a context variable): concurrent requests in
  different languages never mix.
- Catalogues are read at first use, never at import. `make translations` compiles them
  (`python -m babel.messages.frontend compile --domain gpucamp --directory hub_ext/locale`).
"""

from __future__ import annotations

import gettext as _gettext
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path

DOMAIN = "gpucamp"
LOCALE_DIRECTORY = Path(__file__).parent / "locale"
LANGUAGES: dict[str, str] = {"en": "English", "zh_CN": "中文"}
DEFAULT_LANGUAGE = "en"
_TRADITIONAL = frozenset({"hant", "tw", "hk", "mo"})

_language: ContextVar[str] = ContextVar("gpucamp_language", default=DEFAULT_LANGUAGE)


def _(message: str) -> str:
    """`message` in the language of the running request."""
    return _catalogue(_language.get()).gettext(message)


def ngettext(singular: str, plural: str, number: int) -> str:
    """The form that fits `number`, in the language of the running request."""
    return _catalogue(_language.get()).ngettext(singular, plural, number)


def gap() -> str:
    """What is between two sentences in the language of the running request: Chinese has nothing."""
    return "" if _language.get() == "zh_CN" else " "


def comma() -> str:
    """What is between two parts of a sentence in the language of the running request."""
    return "，" if _language.get() == "zh_CN" else ", "


def N_(message: str) -> str:  # noqa: N802 - gettext's customary name
    """Mark a message for translation where it is shown, not here."""
    return message


def set_language(language: str) -> None:
    """Use `language` (a key of LANGUAGES) for the running task; an unknown one means English."""
    _language.set(language if language in LANGUAGES else DEFAULT_LANGUAGE)


def language() -> str:
    """The language of the running request."""
    return _language.get()


def choose_language(accept_language: str, preferred: str = "") -> str:
    """The best of LANGUAGES for an Accept-Language header; `preferred` (a person's choice) wins."""
    if preferred in LANGUAGES:
        return preferred
    weighted: list[tuple[float, str]] = []
    for part in accept_language[:500].split(","):
        tag, _semicolon, parameter = part.strip().partition(";")
        try:
            weight = float(parameter.strip().removeprefix("q=")) if parameter else 1.0
        except ValueError:
            continue
        if tag and weight > 0:
            weighted.append((weight, tag.lower()))
    for _weight, tag in sorted(weighted, key=lambda pair: -pair[0]):
        name, *rest = tag.split("-")
        # the Chinese catalogue is in simplified characters
        if name == "zh" and _TRADITIONAL.isdisjoint(rest):
            return "zh_CN"
        if name in LANGUAGES:
            return name
    return DEFAULT_LANGUAGE


@lru_cache(maxsize=len(LANGUAGES))
def _catalogue(name: str) -> _gettext.NullTranslations:
    return _gettext.translation(DOMAIN, LOCALE_DIRECTORY, languages=[name], fallback=True)
