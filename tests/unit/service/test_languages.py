"""Texts: every language is whole, and chosen as the visitor asks."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po

import hub_ext
from hub_ext import i18n
from hub_ext.service.reset import Failure
from hub_ext.service.wording import failure_message, split_error

PACKAGE = Path(hub_ext.__file__).parent
KEYWORDS = {"_": None, "N_": None, "gettext": None, "ngettext": (1, 2)}


def source_messages() -> set[str]:
    with (PACKAGE / "locale" / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)
    found = extract_from_dir(PACKAGE.parent, methods, options, keywords=KEYWORDS)
    return {
        message[0] if isinstance(message, tuple) else message
        for _file, _line, message, _comments, _context in found
    }


def catalogue(language: str):
    path = PACKAGE / "locale" / language / "LC_MESSAGES" / "gpucamp.po"
    with path.open("rb") as file:
        return read_po(file, locale=language)


@pytest.mark.parametrize("language", list(i18n.LANGUAGES))
def test_every_text_is_in_every_catalogue(language):
    translated = catalogue(language)
    messages = source_messages()
    assert len(messages) > 100
    missing = [
        message
        for message in messages
        if translated.get(message) is None
        # the text itself is the English one
        or (language != "en" and not all(_strings(translated.get(message))))
    ]
    assert not missing, "update the catalogues, see hub_ext/locale/babel.cfg"


@pytest.mark.parametrize("language", list(i18n.LANGUAGES))
def test_translations_keep_placeholders_and_markup(language):
    pattern = re.compile(r"%\(\w+\)[.0-9]*[sdf]|\{\w*\}|</?(?:code|strong)>")
    for message in catalogue(language):
        if not message.id:
            continue
        wanted = sorted(pattern.findall(_strings_of(message.id)[-1]))
        for text in _strings(message):
            if text and text != _strings_of(message.id)[0]:
                assert sorted(pattern.findall(text)) == wanted


def _strings(message) -> list[str]:
    return _strings_of(message.string)


def _strings_of(value) -> list[str]:
    return list(value) if isinstance(value, list | tuple) else [value]


@pytest.mark.parametrize(
    ("header", "preferred", "expected"),
    [
        ("", "", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "", "zh_CN"),
        ("zh", "", "zh_CN"),
        ("zh-Hans-CN", "", "zh_CN"),
        ("zh-TW,en;q=0.5", "", "en"),
        ("zh-Hant-HK", "", "en"),
        ("de,fr;q=0.9", "", "en"),
        ("de,zh;q=0.5,en;q=0.1", "", "zh_CN"),
        ("en;q=0.1,zh;q=0.9", "", "zh_CN"),
        ("zh;q=0", "", "en"),
        ("zh;q=x", "", "en"),
        (",;q=1,,,", "", "en"),
        ("zh", "en", "en"),
        ("en", "zh_CN", "zh_CN"),
        ("en", "../../etc/passwd", "en"),
    ],
)
def test_the_visitors_language_is_chosen(header, preferred, expected):
    assert i18n.choose_language(header, preferred) == expected


async def test_two_requests_at_once_keep_their_languages():
    async def request(language: str) -> str:
        i18n.set_language(language)
        await asyncio.sleep(0.01)
        return i18n._("My environment")

    english, chinese = await asyncio.gather(request("en"), request("zh_CN"))
    assert (english, chinese) == ("My environment", "我的环境")


@pytest.mark.parametrize("failure", list(Failure))
def test_every_failure_says_what_happened_and_what_to_do(failure):
    plain = failure_message(failure.value)
    assert plain.count(".") >= 2
    assert "out of disk" in failure_message(f"{failure.value}: out of disk")


def test_an_unknown_failure_is_not_swallowed():
    assert split_error("odd words") == (Failure.UNEXPECTED, "odd words")
