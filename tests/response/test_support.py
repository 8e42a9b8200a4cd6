from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import samples
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.frames import CALLS, as_texts
from klaviyo_nb.klaviyo.endpoints import catalogue
from klaviyo_nb.report.texts import packet
from klaviyo_nb.response.document import verdict_document
from klaviyo_nb.response.support import MOST_CALLS
from report_samples import CASES, HOSTILE, healthy, hostile, nothing, recovered

#: What no packet may hold: of ours, and of people.
OURS = (
    "web-1",
    "web-2",
    "checkout",
    "profile-sync",
    "/var/log",
    "example.com",
    "email-",
    "phone-",
    "[redacted",
)


def packed(evidence: Evidence) -> tuple[str, pd.DataFrame]:
    made = packet(evidence, verdict_document(evidence, decide(evidence)), "INC-7")
    assert sum(len(text.encode()) for text in made.values()) < 1_000_000
    return made["support-packet/README.md"], pd.read_csv(io.StringIO(made["support-packet/calls.csv"]))


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_nothing_of_ours_is_in_it(make: Callable[[], Evidence]) -> None:
    letter, calls = packed(make())
    told = letter + calls.to_csv()
    assert not [each for each in OURS if each in told]
    assert HOSTILE[:20] not in told
    assert "curl -sS" in letter
    assert "Klaviyo-API-Key $KLAVIYO_PRIVATE_KEY" in letter


@settings(max_examples=12, deadline=None)
@given(
    st.text(min_size=3).filter(str.strip) | st.emails() | st.from_regex(r"email-[0-9a-f]{8}", fullmatch=True)
)
def test_what_others_wrote_is_not_in_it_whatever_it_is(text: str) -> None:
    marked = f"Zq{text}qZ"
    letter, calls = packed(hostile(marked))
    assert "Zq" not in letter
    assert "Zq" not in calls.to_csv()


def test_request_ids_counts_and_times_are_those_of_the_calls_that_failed() -> None:
    evidence = samples.rate_limited()
    bad = evidence.calls[evidence.calls["status_code"] == 429]  # type: ignore[index]
    letter, calls = packed(evidence)
    assert list(calls["request_id"]) == list(bad["request_id"])
    assert f"| /api/profiles | HTTP 429, code throttled | {len(bad)} | {len(bad)} |" in letter
    assert "https://a.klaviyo.com/api/profiles" in letter
    assert "Which keys or apps of our account spent this limit" in letter


def test_what_is_ruled_out_for_a_rate_limit_is_told_by_name() -> None:
    letter, _ = packed(samples.rate_limited())
    assert "- Errors or silence: every failed call was answered by Klaviyo's application" in letter
    assert "- A bad key: it was accepted at 2026-11-23 06:59:58 UTC by GET /api/accounts." in letter
    assert "- An incident that you tell of: your status page had none on what we use." in letter
    assert re.search(r"- Who spends it: .* Of GET /api/profiles our logs show at most \d+ in one", letter)


def test_what_was_not_looked_at_or_was_met_is_not_ruled_out() -> None:
    evidence = samples.rate_limited()
    assert isinstance(evidence.calls, pd.DataFrame)
    calls = as_texts(evidence.calls)
    last = calls.index[calls["status_code"] == 429][-1]
    calls.loc[last, "status_code"] = 503
    letter, _ = packed(replace(evidence, calls=calls, probe_rows=(), status_page=None))
    assert "Errors or silence" not in letter
    assert "A bad key" not in letter
    assert "your status page had none" not in letter


def test_an_id_beside_an_answer_of_an_edge_or_beside_none_is_not_klaviyos() -> None:
    evidence = samples.rate_limited()
    calls = as_texts(evidence.calls)  # type: ignore[arg-type]
    bad = calls.index[calls["status_code"] == 429]
    calls.loc[bad[:3], "answered_by"] = "edge"
    calls.loc[bad[3:5], ["status_code", "error_type"]] = [pd.NA, "reset"]
    _, told = packed(replace(evidence, calls=calls))
    assert list(told["request_id"].isna()[:6]) == [True] * 5 + [False]


def test_an_id_in_a_path_stays_here() -> None:
    evidence = samples.rate_limited()
    calls = evidence.calls.copy()  # type: ignore[union-attr]
    calls["endpoint"] = "https://proxy.internal/api/profiles/01HZXJ8Q?email=a@b.example"
    letter, told = packed(replace(evidence, calls=calls))
    assert set(told["endpoint"]) == {"/api/profiles/{id}"}
    assert "01HZXJ8Q" not in letter
    assert "proxy.internal" not in letter


def test_failures_before_the_onset_are_not_asked_about() -> None:
    evidence = samples.rate_limited()
    calls = evidence.calls.copy()  # type: ignore[union-attr]
    calls.loc[5, "status_code"] = 500
    _, told = packed(replace(evidence, calls=calls))
    assert set(told["status_code"]) == {429}


def test_of_very_many_calls_every_kind_of_answer_is_listed_and_the_first_and_last_of_the_most() -> None:
    rows = [
        {"timestamp": samples.WINDOW.start + pd.Timedelta(seconds=3600 + n / 3), "source": "x", "method": "POST",
         "endpoint": catalogue().endpoints[n % 7 if n % 100 else n % 300].path, "status_code": 500 + n % 4,
         "error_pointer": "/data" * 80, "request_id": f"00000000-0000-4000-8000-{n:012d}"}
        for n in range(10_000)
    ]  # fmt: skip
    evidence = replace(samples.rate_limited(), calls=CALLS.frame(rows), metrics=None)
    letter, told = packed(evidence)
    assert len(told) == MOST_CALLS
    assert set(told["status_code"]) == {500, 501, 502, 503}
    assert told["request_id"].iloc[-1] == rows[-1]["request_id"]
    assert "10,000 failed calls" in letter
    assert len(letter) < 10_000


@pytest.mark.parametrize("make", [healthy, nothing])
def test_where_nothing_points_at_klaviyo_nothing_is_asked(make: Callable[[], Evidence]) -> None:
    letter, calls = packed(make())
    assert "there is nothing to ask their support" in letter
    assert "## What we ask\n" not in letter
    assert calls.empty


def test_an_outage_that_ended_says_when() -> None:
    letter, _ = packed(recovered())
    assert re.search(r"\| Ended \| between 2026-11-23 06:2\d:\d\d and", letter)
