"""Names of images: what may be pinned and pulled, and by which name."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hub_ext.images import (
    IMAGE_LABEL,
    ImageFact,
    fact_of,
    find,
    fixed_name,
    is_for_servers,
    is_id,
    is_named,
    is_told,
    repository_by_digest,
    repository_of,
)

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
CAMP = "registry.example:5000/camp/torch"
FACT = ImageFact(A, (f"{CAMP}:1", "torch:latest"), (f"{CAMP}@{B}", f"other@{A}"))


@pytest.mark.parametrize(
    ("reference", "repository"),
    [
        (f"{CAMP}@{A}", CAMP),
        (f"torch@{A}", "torch"),
        (f"docker.io/library/torch@{A}", "torch"),
        (f"docker.io/camp/torch@{A}", "camp/torch"),
        (f"a.b-c__d/e@{A}", "a.b-c__d/e"),
        (A, None),
        (f"{CAMP}:1", None),
        (f"{CAMP}:1@{A}", None),
        (f"@{A}", None),
        (f"Torch@{A}", None),
        (f"torch@{A}0", None),
        (f"torch@{A[:-1]}", None),
        (f"torch@{A.upper()}", None),
        (f"torch@{A}\n", None),
        (f"../torch@{A}", None),
        (f"a//b@{A}", None),
        (f"/a@{A}", None),
        (f"http://a@{A}", None),
        (f"a b@{A}", None),
        (f"a@{B}@{A}", None),
        ("", None),
    ],
)
def test_only_a_digest_in_a_repository_is_taken_for_one(reference, repository):
    assert repository_by_digest(reference) == repository


@pytest.mark.parametrize("reference", [A[:-1], A + "0", A.upper(), "a" * 64, "", "torch", A + "\n"])
def test_an_id_is_whole(reference):
    assert is_id(A)
    assert not is_id(reference)


@pytest.mark.parametrize(
    ("configured", "repository"),
    [
        ("gpucamp/torch-cuda", "gpucamp/torch-cuda"),
        ("gpucamp/torch-cuda:2", "gpucamp/torch-cuda"),
        (f"{CAMP}:1", CAMP),
        (f"{CAMP}:1@{A}", CAMP),
        (f"{CAMP}@{A}", CAMP),
        (CAMP, CAMP),
        ("docker.io/library/torch", "torch"),
        (A, None),
        ("", None),
    ],
)
def test_the_repository_of_what_is_configured(configured, repository):
    assert repository_of(configured) == repository


@pytest.mark.parametrize(
    "reference", [A, f"{CAMP}:1", "torch", "torch:latest", "docker.io/library/torch", f"{CAMP}@{B}"]
)
def test_all_names_of_an_image_mean_it(reference):
    assert is_named(FACT, reference)
    assert find([ImageFact(B), FACT], reference) is FACT


@pytest.mark.parametrize("reference", [B, CAMP, f"{CAMP}:2", "torch:1", f"{CAMP}@{A}", ""])
def test_other_names_do_not(reference):
    assert not is_named(FACT, reference)


def test_servers_may_be_given_what_is_labelled_as_for_them():
    assert is_for_servers(ImageFact(A, labels={IMAGE_LABEL: "torch-cuda"}))
    for labels in ({}, {IMAGE_LABEL: ""}, {"x": "1"}):
        assert not is_for_servers(ImageFact(A, (f"{CAMP}:1",), (f"{CAMP}@{B}",), labels=labels))


def test_listed_is_what_is_for_servers_or_of_a_repository_that_is_named():
    assert not is_told(FACT, {"camp/torch", "torch"})
    assert is_told(FACT, {CAMP})
    assert is_told(ImageFact(A, labels={IMAGE_LABEL: "torch-cuda"}), ())
    assert not is_told(ImageFact(A, ("gpucamp/torch-cuda:1",), labels={"x": "1"}), {"gpucamp"})
    # a tag can be given to anything on the host
    assert not is_told(ImageFact(A, (f"{CAMP}:1",)), {CAMP})


def test_an_image_is_pinned_by_what_can_be_pulled_again_if_there_is_that():
    assert fixed_name(FACT, {CAMP}) == f"{CAMP}@{B}"
    assert fixed_name(FACT, ()) == A


def test_what_the_engine_lists_is_understood():
    listed = {
        "Id": A,
        "RepoTags": ["<none>:<none>", "torch:1"],
        "RepoDigests": ["<none>@<none>", f"torch@{B}"],
        "Size": 12,
        "Created": 1769817600,
        "Labels": None,
    }
    at = datetime(2026, 1, 31, tzinfo=UTC)
    assert fact_of(listed) == ImageFact(A, ("torch:1",), (f"torch@{B}",), 12, at)
    assert fact_of({"Id": A, "RepoTags": None, "RepoDigests": None}) == ImageFact(A)
