from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import samples
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.verdict import Verdict
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.frames import CALLS, PROBES
from klaviyo_nb.report import charts
from klaviyo_nb.report.index import _endpoints, _probe, render
from klaviyo_nb.report.look import CSP, command
from klaviyo_nb.report.made import Said
from klaviyo_nb.report.words import TITLES
from klaviyo_nb.response.document import verdict_document
from report_samples import CASES, HOSTILE, hostile, nothing, recovered

Make = Callable[[], Evidence]
LOADING = {"src", "srcset", "data", "poster", "action", "formaction", "background", "ping", "xlink:href"}


class Page(HTMLParser):
    """What is in a page: its tags, attributes, ids and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data if self.lasttag != "style" else ""

    def values(self, attribute: str) -> list[str]:
        return [value for _, name, value in self.attributes if name == attribute]


def page_of(evidence: Evidence, **more: Any) -> tuple[str, Page]:
    html = render(evidence, verdict_document(evidence, decide(evidence)), **{"incident": "INC-7"} | more)
    return html, Page(html)


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Page:
    evidence = request.param()
    saved = charts.save_all(evidence, decide(evidence), tmp_path_factory.mktemp("charts"))
    said = [] if evidence.calls is None else [Said("What fails?", HOSTILE, (HOSTILE,))]
    others_words = {
        "answers": said,
        "messages": {"slack-resolved": HOSTILE},
        "problems": [HOSTILE],
        "lead": HOSTILE,
    }
    return page_of(evidence, charts=saved, **others_words)[1]


def test_the_page_runs_no_script_and_loads_nothing(page: Page) -> None:
    assert not {"script", "iframe", "object", "embed", "link", "form", "base", "svg"} & set(page.tags)
    for tag, name, value in page.attributes:
        assert not name.startswith("on")
        assert name not in LOADING or value.startswith("data:image/svg+xml;base64,"), (tag, name)
        if name == "href":
            assert re.fullmatch(r"#[a-z]+|[A-Za-z0-9_./-]+", value)
    assert ("meta", "content", CSP) in page.attributes
    assert CSP.startswith("default-src 'none'")


def test_every_picture_has_an_alt_text_and_every_anchor_a_target(page: Page) -> None:
    unasked = 3 if "No log was read" in page.text else 0  # contrast, ledger, retries
    assert page.tags.count("img") == len(page.values("alt")) == len(charts.CHARTS) - unasked
    assert all(page.values("alt"))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in page.values("href") if value.startswith("#")} <= set(ids)
    assert page.tags.count("h1") == 1


def test_the_verdict_and_the_respond_by_time_come_first() -> None:
    html, page = page_of(samples.rate_limited())
    text = " ".join(page.text.split())
    assert "Respond by 11:00 UTC, in 4 hours Rate limited by Klaviyo" in text
    assert html.index("Respond by") < html.index("What to do") < html.index('id="timeline"')


def test_when_it_began_and_ended_cannot_be_read_as_how_long_it_lasted() -> None:
    text = " ".join(page_of(recovered())[1].text.split())
    assert re.search(r"Began between ?05:[\d:]+ and 05:[\d:]+ UTC", text)
    assert re.search(r"Ended between ?06:[\d:]+ and 06:[\d:]+ UTC", text)


def test_a_line_of_a_log_is_cited_without_its_folder_which_the_log_sources_have() -> None:
    _, page = page_of(samples.rate_limited())
    assert "…/app.log:" in page.text
    assert "/var/log/app.log:" not in page.text
    assert "/var/log/app.log" in page.text


def test_the_respond_by_time_is_told_in_the_organisations_zone_too() -> None:
    _, page = page_of(recovered())
    assert "11:00 UTC (Mon 12:00 Europe/Berlin)" in page.text


def test_an_unknown_time_zone_is_left_out() -> None:
    evidence = samples.rate_limited()
    document = verdict_document(evidence, decide(evidence))
    context = dict(evidence.context) | {"organisation": {"timezone": "../etc/passwd"}}
    page = Page(render(replace(evidence, context=context), document, incident="INC-7"))
    assert "Respond by 11:00 UTC, in 4 hours" in page.text


def test_each_action_shows_what_to_type_and_what_to_expect() -> None:
    evidence = samples.rate_limited()
    document = verdict_document(evidence, decide(evidence))
    page = Page(render(evidence, document, incident="INC-7"))
    assert document["actions"]
    for action in document["actions"]:
        for name in ("title", "why", "command", "expect", "undo", "check"):
            assert action[name] is None or action[name] in page.text


@pytest.mark.parametrize("cause", TITLES)
def test_the_page_works_for_every_cause(cause: Any) -> None:
    evidence = nothing()
    verdict = Verdict(evidence.window, cause, None, None, None, None, summary="One sentence.")
    page = Page(render(evidence, verdict_document(evidence, verdict), incident="INC-7"))
    assert TITLES[cause] in page.text
    assert "not known" in page.text


def test_missing_evidence_is_told_and_no_figure_is_made_up() -> None:
    _, page = page_of(nothing())
    assert "Undecided" in page.text
    assert "no call was counted" in page.text
    assert "no answer from http://prometheus:9090: refused" in page.text
    assert "(was not asked for)" in page.text
    assert "0%" not in page.text


def test_a_partial_report_says_so() -> None:
    _, page = page_of(nothing(), problems=["notebook logs: the kernel was killed"])
    assert "This report is partial." in page.text
    assert "the kernel was killed" in page.text
    assert "This report is partial." not in page_of(nothing())[1].text


def test_a_blank_lead_is_marked() -> None:
    assert "‹fill in: who leads›" in page_of(nothing())[1].text
    assert "Ada" in page_of(nothing(), lead="Ada")[1].text


def test_hostile_text_is_shown_as_text_without_control_characters() -> None:
    html, page = page_of(hostile(), lead=HOSTILE)
    assert "<script>alert(1)</script>" in page.text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", html)


@settings(max_examples=6, deadline=None)
@given(st.text())
def test_no_text_breaks_out_of_the_page(text: str) -> None:
    evidence = hostile(text or "x")
    shape = page_of(hostile("plain"), lead="plain", problems=["plain"], messages={"plain": "plain"})[1]
    page = page_of(evidence, lead=text or "x", problems=[text], messages={text: text})[1]
    assert set(page.tags) <= set(shape.tags) | {"br"}
    assert {name for _, name, _ in page.attributes} <= {name for _, name, _ in shape.attributes}


@pytest.mark.parametrize(("failed", "marked"), [(4, False), (9, False), (10, True), (200, True)])
def test_an_endpoint_is_marked_where_more_fails_than_noise(failed: int, marked: bool) -> None:
    calls = samples.rate_limited().calls
    assert calls is not None
    ours = calls.iloc[[0] * 200].assign(status_code=[500] * failed + [200] * (200 - failed), error_type=None)
    evidence = replace(samples.rate_limited(), calls=CALLS.frame(ours.reset_index(drop=True)), metrics=None)
    ((bad, cells),) = _endpoints(evidence)
    assert cells[1:3] == ("200", str(failed))
    assert bad is marked


def test_a_refusal_that_a_probe_hopes_for_is_not_marked_as_trouble() -> None:
    row = dict.fromkeys(PROBES.columns)
    asked = [
        ("liveness", 401, False), ("liveness", 500, True), ("auth", 401, True), ("webhook", 401, False),
        ("webhook", 404, True), ("dns", None, False),
    ]  # fmt: skip
    for probe, status, bad in asked:
        assert _probe(row | {"probe": probe, "status_code": status})[0] is bad


def test_a_line_is_broken_within_no_option_of_a_command() -> None:
    told = command("klaviyo-nb logs <a>.log --since 2h")
    assert told == "klaviyo-nb logs &lt;a&gt;.log <span>--since</span> 2h"
