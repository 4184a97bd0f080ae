"""Texts for people, in their language.

Guarantees: msgids are English; a missing catalogue, an unknown language or a missing entry gives
the English text, never an error; catalogues are read once and only from this package.

A request names its language with `?locale=zh_CN`, else with `Accept-Language`; a command line
with LANGUAGE, LC_ALL, LC_MESSAGES or LANG.
"""

from __future__ import annotations

import gettext as _gettext
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

LOCALE_DIR = Path(__file__).parent / "locale"
DOMAIN = "gpucamp"
ENGLISH = "en"

Gettext = Callable[[str], str]

_TAG = re.compile(r"^([A-Za-z]{2,3})(?:[-_]([A-Za-z]{4}))?(?:[-_]([A-Za-z]{2}))?(?:[.@].*)?$")


def N_(message: str) -> str:  # noqa: N802 - the name gettext tools know
    """Marks a msgid for extraction where it is translated later."""
    return message


def normalise(tag: str | None) -> str:
    """A catalogue's name for a language tag: zh, zh-CN, zh_Hans_CN.UTF-8 -> "zh_CN"; unknown ->
    "en".
    """
    found = _TAG.match((tag or "").strip())
    if found is None:
        return ENGLISH
    language, script, region = found[1].lower(), (found[2] or "").title(), (found[3] or "").upper()
    if language == "zh":
        # one Chinese catalogue, simplified; traditional readers get English rather than a wrong
        # script
        traditional = script == "Hant" or region in {"TW", "HK", "MO"}
        return ENGLISH if traditional else "zh_CN"
    return language if not region else f"{language}_{region}"


def negotiate(asked: str | None, accept_language: str | None = None) -> str:
    """The language of a request: an explicit wish first, then the first Accept-Language that we
    have.
    """
    if asked and asked != "default":
        return normalise(asked)
    wishes: list[tuple[float, int, str]] = []
    for position, part in enumerate((accept_language or "").split(",")[:20]):
        tag, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            continue
        wishes.append((-weight, position, tag))
    for _weight, _position, tag in sorted(wishes):
        locale = normalise(tag)
        if locale.startswith(ENGLISH) or has_catalogue(locale):
            return locale
    return ENGLISH


def from_environment(environ: Mapping[str, str]) -> str:
    """The language of a terminal, in gettext's own order of variables."""
    for variable in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = environ.get(variable, "").split(":")[0]
        if value:
            return normalise(value)
    return ENGLISH


def has_catalogue(locale: str) -> bool:
    """Whether a compiled catalogue ships for this language."""
    return _gettext.find(DOMAIN, str(LOCALE_DIR), [locale]) is not None


@cache
def _translations(locale: str, folder: str) -> _gettext.NullTranslations:
    return _gettext.translation(DOMAIN, folder, [locale], fallback=True)


def gettext_for(locale: str) -> Gettext:
    """The translating function for a language as `normalise` names it."""
    return _translations(locale, str(LOCALE_DIR)).gettext
