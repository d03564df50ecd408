"""What of a URL may be stored and shown."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptrace.urls import public_text, public_url, same_clip

SECRETS = [
    "X-Amz-Signature=5f3e",
    "X-Amz-Credential=AKIA%2F20260101%2Fus-east-1%2Fs3%2Faws4_request",
    "x-amz-security-token=IQoJ",
    "X-Goog-Signature=5f3e",
    "GoogleAccessId=me@project.iam.gserviceaccount.com",
    "AWSAccessKeyId=AKIA",
    "Signature=5f3e%3D",
    "Expires=1767225600",
    "Key-Pair-Id=K2JCJMDEHXQW5F",
    "Policy=eyJTdGF0ZW1lbnQi",
    "token=eyJhbGciOi.eyJzdWIi.SflKxwRJ",
    "access_token=abc",
    "key=AIzaSyD",
    "sig=x%3D&sv=2022-11-02&se=2026-01-01&sr=b&sp=r&st=2025-01-01&spr=https",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_go_and_the_rest_stays_as_it_is(secret: str) -> None:
    open_url = "https://host:8443/a%20b/c+d.mp4"
    assert public_url(f"https://me:p%40w@host:8443/a%20b/c+d.mp4?{secret}") == open_url
    assert public_url(f"{open_url}?versionId=3&{secret}&part=a%26b#t=10") == f"{open_url}?versionId=3&part=a%26b#t=10"
    assert same_clip(f"{open_url}?{secret}") == same_clip(open_url) == open_url


@pytest.mark.parametrize(
    "path",
    [
        "clips/a.mp4",
        "/tmp/a?token=b.mp4",
        "C:\\clips\\a.mp4",
        "file:///tmp/a?token=b.mp4",
        "hf://datasets/me/set@main/a.mp4",
        "github://me:set@main/a.mp4",
        "s3://bucket/??/*.mp4",
        "memory://clips/one.mp4",
        "https://host/list?page=2&sp=r&st=1",  # short names of Azure's, but no signature of it
        "https://host/object?key=films/a.mp4",
        "",
    ],
)
def test_what_holds_no_secret_is_left_alone(path: str) -> None:
    assert public_url(path) == same_clip(path) == public_text(path) == path


def test_chains_and_texts() -> None:
    assert public_url("zip://a.mp4::https://me:pw@host/b.zip?sig=1") == "zip://a.mp4::https://host/b.zip"
    said = "403, message='Forbidden', url='https://me:pw@host/a.mp4?x=1&X-Amz-Signature=5f' (see https://b/c?token=1)"
    assert public_text(said) == "403, message='Forbidden', url='https://host/a.mp4?x=1' (see https://b/c)"


def test_a_token_that_may_name_the_clip_tells_clips_apart_unseen() -> None:
    one, two = (f"https://host/get?token={token}" for token in ("abcdef", "fedcba"))
    assert public_url(one) == public_url(two) == "https://host/get"
    assert same_clip(one) != same_clip(two)
    assert "abcdef" not in same_clip(one)
    assert same_clip("https://host/a.mp4?token=1") == same_clip("https://host/a.mp4?token=2")
    assert same_clip("https://host/get?Signature=1") == same_clip("https://host/get?Signature=2")


words = st.text("abcxyz-_. /&=?#@:%猫", max_size=12)


@given(words, words, st.lists(st.tuples(st.sampled_from(["a", "t", "versionId"]), words), max_size=4), words)
def test_no_secret_survives_and_nothing_else_is_lost(
    user: str, word: str, asked: list[tuple[str, str]], at: str
) -> None:
    items = [f"{name}={quote(value, safe='')}" for name, value in asked]
    place = min(len(at), len(items))
    secret = f"X-Amz-Signature=SECRET{quote(word, safe='')}"
    path = f"/{quote(at)}"
    signed = f"https://{quote(user, safe='')}:SECRET@host{path}?" + "&".join([*items[:place], secret, *items[place:]])
    left = f"https://host{path}" + ("?" + "&".join(items) if items else "")
    assert public_url(signed) == left
    assert public_url(left) == left
    assert public_text(f"said '{signed}'") == f"said '{left}'"
