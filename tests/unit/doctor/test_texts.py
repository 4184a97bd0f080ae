"""The Chinese catalogue: complete, with the same placeholders, for every text of the server
extension.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from server_ext import i18n
from server_ext.doctor.checks import CATALOGUE

LOCALE = i18n.LOCALE_DIR
PO = LOCALE / "zh_CN" / "LC_MESSAGES" / "gpucamp.po"


def placeholders(text: str) -> list[str]:
    return sorted(re.findall(r"\{\w*\}", text))


def test_every_text_is_translated_with_its_placeholders(tmp_path: Path) -> None:
    root = LOCALE.parents[1]
    pot = tmp_path / "gpucamp.pot"
    subprocess.run(
        [sys.executable, "-m", "babel.messages.frontend", "-q", "extract", "-k", "N_", "-F"]
        + [LOCALE / "babel.cfg", "-o", pot, "server_ext"],
        cwd=root,
        check=True,
    )
    with pot.open("rb") as stream:
        texts = {message.id for message in read_po(stream) if message.id}
    assert {code.title for code in CATALOGUE.values()} <= texts
    with PO.open("rb") as stream:
        catalogue = read_po(stream, locale="zh_CN")
    translated = {message.id: message.string for message in catalogue if message.id}
    assert sorted(text for text in texts if not translated.get(text)) == []
    assert sorted(set(translated) - texts) == []
    for text, chinese in translated.items():
        assert placeholders(text) == placeholders(str(chinese)), text
        assert not str(chinese).isascii(), text


@pytest.mark.parametrize(
    ("asked", "accepted", "expected"),
    [
        ("zh_CN", None, "zh_CN"),
        ("zh-CN", "en", "zh_CN"),
        ("zh", None, "zh_CN"),
        ("zh_Hans_CN.UTF-8", None, "zh_CN"),
        ("zh_TW", None, "en"),
        ("zh-Hant-HK", None, "en"),
        ("default", "zh-CN,zh;q=0.9,en;q=0.8", "zh_CN"),
        (None, "en-US,en;q=0.9,zh-CN;q=0.8", "en_US"),
        (None, "xx, zh;q=0.5", "zh_CN"),
        (None, "zh;q=0.1, en;q=0.9", "en"),
        (None, "zh;q=oops", "en"),
        (None, None, "en"),
        ("../../etc", "zh-CN", "en"),
        ("x" * 5000, None, "en"),
    ],
)
def test_the_language_of_a_request(
    asked: str | None, accepted: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(i18n, "has_catalogue", lambda locale: locale == "zh_CN")
    assert i18n.negotiate(asked, accepted) == expected


def test_a_language_without_a_catalogue_is_english() -> None:
    assert i18n.gettext_for("en_US")("End them.") == "End them."
    assert i18n.gettext_for("tlh")("End them.") == "End them."


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh_CN"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "zh_CN.UTF-8"}, "zh_CN"),
        ({"LANGUAGE": "zh:en", "LANG": "en_US.UTF-8"}, "zh_CN"),
        ({}, "en"),
    ],
)
def test_the_language_of_a_terminal(environ: dict[str, str], expected: str) -> None:
    assert i18n.from_environment(environ) == expected
