"""Which earlier builds of the image are removed, and what keeps one."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ledger_databases import KINDS, new_database

from hub_ext.ledger import Ledger
from setup_host import ledger, old_images, stamps
from setup_host.progress import Progress
from setup_host.settings import Settings

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def tag(number: int) -> str:
    return f"gpucamp/torch-cuda:2.9.1-cu128-{number:012x}"


def identity(number: int) -> str:
    return f"sha256:{number:064x}"


@dataclass
class Docker:
    """Has builds by tag, and containers by the image that they were made from."""

    images: dict[str, str] = field(default_factory=dict)
    containers: set[str] = field(default_factory=set)
    lost: str = ""  # the kind of question that is not answered
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def image_id(self, reference: str) -> str | None:
        if reference in self.images.values():
            return reference
        return self.images.get(reference)

    def ask(self, *arguments: str) -> str | None:
        self.asked.append(arguments)
        if arguments[0] == self.lost:
            return None
        if arguments[0] == "ps":
            used = arguments[-1].removeprefix("ancestor=") in self.containers
            return "a1b2c3" if used else ""
        assert arguments[:2] == ("image", "rm")
        return self.images.pop(arguments[2])


@pytest.fixture
def docker() -> Docker:
    return Docker({tag(number): identity(number) for number in range(6)})


@pytest.fixture
def hub(settings: Settings) -> Iterator[Ledger]:
    """The ledger of this installation."""
    settings.hub_folder.mkdir(parents=True)
    opened = Ledger(settings.ledger_url)
    opened.migrate()
    yield opened
    opened.close()


def remove(settings: Settings, progress: Progress, docker: Docker) -> set[int]:
    """The numbers of what is removed, of 5 (the newest) to 0."""
    before = dict(docker.images)
    newest_first = sorted(before, reverse=True)
    old_images.remove(settings, progress, docker, newest_first)  # type: ignore[arg-type]  # a stand-in
    return {newest_first[::-1].index(each) for each in before.keys() - docker.images.keys()}


def test_the_last_two_builds_stay_and_the_rest_goes_and_is_said(
    settings: Settings, progress: Progress, said: io.StringIO, docker: Docker
) -> None:
    assert remove(settings, progress, docker) == {0, 1, 2, 3}
    assert said.getvalue().splitlines() == [
        f"* removed: image {tag(each)}" for each in (3, 2, 1, 0)
    ]


def test_only_tags_that_a_build_gave_are_removed() -> None:
    others = ["gpucamp/torch-cuda:mine", "gpucamp/torch-cuda:2.9.1-cu128", "r:0-" + "g" * 12]
    assert old_images.superseded([*others, tag(5), *others, tag(4), *others]) == []
    assert old_images.superseded([tag(5), tag(4), *others, tag(3), tag(2)]) == [tag(3), tag(2)]


def test_what_new_servers_get_stays(
    settings: Settings, progress: Progress, said: io.StringIO, docker: Docker, hub: Ledger
) -> None:
    hub.set_configured_image(identity(2))
    hub.pin_image(identity(2), identity(1), "why", NOW, actor="root")
    assert remove(settings, progress, docker) == {0, 3}
    assert f"* kept: image {tag(1)} (new servers get it)" in said.getvalue()


def test_a_configured_image_may_be_a_tag_and_a_pin_that_rests_keeps_nothing(
    settings: Settings, progress: Progress, docker: Docker, hub: Ledger
) -> None:
    hub.pin_image(identity(2), identity(1), "why", NOW, actor="root")
    hub.set_configured_image(tag(0))
    assert remove(settings, progress, docker) == {1, 2, 3}


def test_a_pin_without_a_word_of_the_hub_counts_for_the_last_set_up(
    settings: Settings, progress: Progress, docker: Docker, hub: Ledger
) -> None:
    stamps.write(settings.state / "image", identity(3))
    hub.pin_image(identity(3), identity(0), "why", NOW, actor="root")
    assert remove(settings, progress, docker) == {1, 2}


def test_the_image_of_the_last_set_up_and_the_one_that_is_set_stay(
    settings: Settings, progress: Progress, docker: Docker, hub: Ledger
) -> None:
    hub.set_configured_image(identity(5))
    stamps.write(settings.state / "image", identity(0))
    assert remove(replace(settings, image=tag(1)), progress, docker) == {2, 3}


def test_what_a_container_uses_stays(
    settings: Settings, progress: Progress, said: io.StringIO, docker: Docker
) -> None:
    docker.containers = {identity(0), identity(3)}
    assert remove(settings, progress, docker) == {1, 2}
    assert f"* kept: image {tag(3)} (a container uses it)" in said.getvalue()


@pytest.mark.parametrize(("lost", "words"), [("ps", "did not say"), ("image", "refused")])
def test_what_the_engine_does_not_say_removes_nothing(
    settings: Settings,
    progress: Progress,
    said: io.StringIO,
    docker: Docker,
    lost: str,
    words: str,
) -> None:
    docker.lost = lost
    assert remove(settings, progress, docker) == set()
    assert said.getvalue().count(words) == 4


def break_file(settings: Settings) -> None:
    file = Path(settings.ledger_url.removeprefix("sqlite:///"))
    connection = sqlite3.connect(file)
    connection.execute("DROP TABLE image_pin")  # as before its migration
    connection.close()


def lose_file(settings: Settings) -> None:
    Path(settings.ledger_url.removeprefix("sqlite:///")).unlink()  # GPUCAMP_LEDGER_URL is not set


def lose_python(settings: Settings) -> None:
    settings.python.unlink()


@pytest.mark.parametrize("spoil", [break_file, lose_file, lose_python])
def test_a_ledger_that_cannot_be_read_removes_nothing(
    settings: Settings, progress: Progress, said: io.StringIO, docker: Docker, spoil
) -> None:
    ledger.ensure(settings)
    spoil(settings)
    assert remove(settings, progress, docker) == set()
    assert said.getvalue().count("cannot be read from the ledger") == 4


def test_to_ask_makes_no_ledger(settings: Settings) -> None:
    assert ledger.images_for_servers(settings, "") == ()
    assert not settings.hub_folder.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_the_ledger_is_asked_wherever_it_is(settings: Settings, tmp_path: Path, kind: str) -> None:
    with new_database(kind, tmp_path) as url:
        mine = replace(settings, ledger_url=url)
        opened = Ledger(url)
        opened.migrate()
        assert ledger.images_for_servers(mine, identity(7)) == (identity(7), identity(7))
        opened.set_configured_image("c")
        opened.pin_image("c", identity(1), "why", NOW, actor="root")
        opened.close()
        assert ledger.images_for_servers(mine, identity(7)) == ("c", identity(1))
    if kind == "postgresql":
        assert ledger.images_for_servers(mine, "") is None
