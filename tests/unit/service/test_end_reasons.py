"""Why a lease ended, as a reader of each language sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

import hub_ext
from hub_ext import i18n
from hub_ext.service import end_reasons
from hub_ext.service.end_reasons import SENTENCES, end_reason


@pytest.fixture
def chinese():
    i18n.set_language("zh_CN")
    yield
    i18n.set_language("en")


def test_every_sentence_is_one_that_the_ledger_gets() -> None:
    root = Path(hub_ext.__file__).parent
    own = Path(end_reasons.__file__)
    sources = "".join(path.read_text() for path in root.rglob("*.py") if path != own)
    # these two are made of the kind of an operation
    assert 'f"the {operation.kind.value} failed"' in sources
    made = {"the reset failed", "the undo failed"}
    assert [each for each in SENTENCES if each not in made and f'"{each}"' not in sources] == []


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize("reason", [*SENTENCES, "exit code 137"])
def test_what_is_ours_is_translated(reason: str) -> None:
    assert not end_reason(reason).isascii()


@pytest.mark.usefixtures("chinese")
def test_words_of_the_engine_stay() -> None:
    assert end_reason("exit code 1, no such file") == "退出码 1, no such file"
    assert end_reason("the container is gone, it seems") == "the container is gone, it seems"


def test_english_is_left_as_it_is() -> None:
    for reason in (*SENTENCES, "", "exit code 137", "exit code 1, no such file"):
        assert end_reason(reason) == reason
