from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klaviyo_nb.logs.alike.ids import Urls, without_ids
from klaviyo_nb.logs.alike.layout import Layouts
from klaviyo_nb.logs.formats.understand import profile_in

#: What an id in a path is, said another way.
ID = re.compile(r"(?<![/:])/(?=[A-Za-z]*[0-9])[A-Za-z0-9]{12,64}(?=[/?#]|$)", re.ASCII)
IDS = (
    "01GDDKASAP8TKDDA2GRZDSVP4H",
    "AbC123",
    "7" * 12,
    "abcdefghijkl",
    "a" * 40 + "1",
    "b" * 64 + "1",
    "9" * 65,
    "01é" * 6,
)
PARTS = (
    *IDS,
    "/",
    "//",
    ":",
    ":/",
    "?",
    "#",
    "/profiles/",
    "/api/",
    "api",
    "https://a.klaviyo.com",
    " ",
    "-",
    "'",
    "é",
)
URLS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=7).map("".join)
PATHS = st.sampled_from(IDS).map("https://a.klaviyo.com/api/profiles/{}/".format)
#: Few: of one with two profiles none of them loses anything.
SOME = st.lists(URLS | PATHS, min_size=1, max_size=4)


def as_said(urls: list[str], found: Urls) -> None:
    """Each has the shape and the profile that it has alone."""
    shapes = list(found.shapes)
    assert shapes in ([ID.sub("/0", url) for url in urls], urls)
    told = found.profiles or [None] * len(urls)
    assert [profile_in(shape) or told[row] for row, shape in enumerate(shapes)] == list(map(profile_in, urls))


@given(SOME)
def test_urls_lose_the_ids_that_each_would_lose_alone(urls: list[str]) -> None:
    as_said(urls, without_ids(urls))


@given(SOME)
def test_urls_that_were_cut_out_of_lines_lose_the_same(urls: list[str]) -> None:
    urls *= 16  # of fewer none is cut
    lines = [json.dumps({"url": url}, ensure_ascii=False).encode() + b"\n" for url in urls]
    groups, left = Layouts().groups(lines)
    assert not len(left)
    (group,) = groups
    as_said(urls, without_ids(group.columns[0]))


def test_ids_are_taken_out_and_the_profile_is_known() -> None:
    urls = [
        f"https://a.klaviyo.com/api/profiles/{each}"
        for each in (IDS[0], IDS[1], f"{IDS[0]}?page=2", f"{IDS[0]}#top")
    ]
    found = without_ids(urls)
    assert list(found.shapes) == [
        f"https://a.klaviyo.com/api/profiles/{each}" for each in ("0", "AbC123", "0?page=2", "0#top")
    ]
    assert list(found.profiles or ()) == [IDS[0], None, IDS[0], None]


@pytest.mark.parametrize("odd", [None, 17, "https://a.klaviyo.com/api/profiles/01GDDKASAP8TKDDA2GRZDSVP4H\n"])
def test_beside_what_is_no_line_of_text_nothing_is_taken_out(odd: object) -> None:
    urls = [f"https://a.klaviyo.com/api/profiles/{IDS[0]}", odd]
    assert list(without_ids(urls).shapes) == urls
