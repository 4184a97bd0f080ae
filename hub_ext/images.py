"""Images by name: what may be pinned and pulled, and which name an image gets. Pure.

Guarantees: an image is named by what never changes, its digest in a repository or its id on the
Engine, never by a tag; what may be pulled is in a repository that the configuration names; what may
be pinned is on the Engine and labelled as one for servers, wherever it comes from.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

IMAGE_LABEL = "gpucamp.image"  # images/torch-cuda/Dockerfile; what is built on it has it, too

_ID = re.compile(r"sha256:[0-9a-f]{64}")
_PART = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
_BY_DIGEST = re.compile(rf"({_PART}(?::[0-9]{{1,5}})?(?:/{_PART})*)@sha256:[0-9a-f]{{64}}")


@dataclass(frozen=True, slots=True)
class ImageFact:
    """An image on the Engine. size: bytes; digests: repository@sha256:…"""

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    size: int = 0
    created_at: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImagePin:
    """New servers get `image` in the place of `configured`, which is what the spawner is set to."""

    configured: str
    image: str
    pinned_at: datetime
    pinned_by: str
    reason: str


class PullState(StrEnum):
    """How a pull stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CUT_OFF = "cut_off"  # the service ended meanwhile


@dataclass(frozen=True, slots=True)
class ImagePull:
    """A pull that was asked for. error: the Engine's own words, of one that failed."""

    id: str
    image: str
    state: PullState
    requested_by: str
    requested_at: datetime
    reason: str = ""
    ended_at: datetime | None = None
    error: str = ""


def fact_of(listed: Mapping[str, Any]) -> ImageFact:
    """One line of an Engine's list of images."""
    created = listed.get("Created")
    return ImageFact(
        id=listed["Id"],
        tags=_names(listed.get("RepoTags")),
        digests=_names(listed.get("RepoDigests")),
        size=int(listed.get("Size") or 0),
        created_at=datetime.fromtimestamp(created, UTC) if created else None,
        labels=listed.get("Labels") or {},
    )


def _names(given: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(each for each in given or () if "<none>" not in each)


def is_id(reference: str) -> bool:
    """Whether this is an image's id on an Engine."""
    return _ID.fullmatch(reference) is not None


def repository_by_digest(reference: str) -> str | None:
    """The repository of repository@sha256:…; None if this is none."""
    found = _BY_DIGEST.fullmatch(reference)
    return familiar(found[1]) if found else None


def repository_of(configured: str) -> str | None:
    """The repository of any reference, tags included; None for an id."""
    if is_id(configured) or not configured:
        return None
    name = configured.partition("@")[0]
    host, slash, rest = name.rpartition("/")
    return familiar(f"{host}{slash}{rest.partition(':')[0]}")


def familiar(name: str) -> str:
    """As Engines write it: without the name of the usual registry."""
    return name.removeprefix("docker.io/").removeprefix("library/")


def is_named(fact: ImageFact, reference: str) -> bool:
    """Whether a reference, be it an id, a digest or a tag, means this image."""
    if is_id(reference):
        return reference == fact.id
    name = familiar(reference)
    last = name.rpartition("/")[2]
    if "@" not in name and ":" not in last:
        name += ":latest"
    return name in map(familiar, (*fact.tags, *fact.digests))


def find(facts: Iterable[ImageFact], reference: str) -> ImageFact | None:
    """The image on the Engine that a reference means."""
    return next((fact for fact in facts if is_named(fact, reference)), None)


def is_for_servers(fact: ImageFact) -> bool:
    """Whether it says that servers can run from it: it was built as such, or on such a one."""
    return bool(fact.labels.get(IMAGE_LABEL))


def is_told(fact: ImageFact, repositories: Collection[str]) -> bool:
    """Whether it belongs in the list: it is for servers, or comes from one of these repositories
    and may have been pulled by mistake."""
    return is_for_servers(fact) or _from(fact, repositories) is not None


def fixed_name(fact: ImageFact, repositories: Collection[str]) -> str:
    """The name to pin it by: the digest in one of these repositories, else its id."""
    return _from(fact, repositories) or fact.id


def _from(fact: ImageFact, repositories: Collection[str]) -> str | None:
    return next(
        (each for each in sorted(fact.digests) if repository_by_digest(each) in repositories), None
    )
