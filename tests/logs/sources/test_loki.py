"""Loki, against a small server of ours (lokis.py): there is no real one where these tests run."""

from __future__ import annotations

import pickle
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import samples
from klaviyo_nb import logs
from klaviyo_nb.errors import UsageError
from klaviyo_nb.logs import sources
from klaviyo_nb.logs.reader import LogsRead
from klaviyo_nb.logs.sources import resolve
from klaviyo_nb.logs.sources.pages import Entry, lines
from klaviyo_nb.window import Window
from lokis import Store, serve

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
WINDOW = Window.last(timedelta(hours=2), NOW)
START = int(WINDOW.start.timestamp()) * 10**9
END = int(WINDOW.end.timestamp()) * 10**9
WEB = {"app": "web", "pod": "web-1", "container": "app"}


def call(status: int, note: object = "") -> str:
    return f'{{"level":"error","msg":"klaviyo {note}","url":"https://a.klaviyo.com/api/profiles","status":{status}}}'


def read(url: str, **options: Any) -> LogsRead:
    return logs.read([url], WINDOW, redact=str, **options)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Store, int]]:
    store = Store()
    with serve(store) as port:
        yield store, port


@pytest.fixture
def loki(server: tuple[Store, int]) -> tuple[Store, str]:
    server[0].__init__()  # type: ignore[misc]
    return server[0], f"127.0.0.1:{server[1]}"


def test_lines_become_calls_with_time_and_writer(loki: tuple[Store, str]) -> None:
    store, host = loki
    store.entries = [
        (WEB, START - 1, call(500)), (WEB, START, call(503)), (WEB, START + 5, "order done"), (WEB, END - 1, call(401)),
        (WEB, END, call(500)), (WEB | {"app": "other"}, START, call(500)),
    ]  # fmt: skip
    found = read(f"loki://{host}/web")
    assert found.calls["status_code"].tolist() == [503, 401]
    assert found.calls["timestamp"].iloc[0] == WINDOW.start
    assert found.calls["host"].tolist() == ["web-1/app"] * 2
    (coverage,) = found.coverage
    assert (coverage.source, coverage.gap, coverage.truncated) == (f"loki://{host}/web", None, False)
    assert (coverage.lines, coverage.calls) == (2, 2)  # what cannot matter does not travel


@pytest.mark.parametrize("most", [2, 3, 5, 7, 5_000])
def test_a_record_of_many_lines_is_one_call_wherever_pages_end(loki: tuple[Store, str], most: int) -> None:
    store, host = loki
    store.most = most
    other = WEB | {"pod": "web-2"}
    for n, line in enumerate(samples.TRACE):
        store.entries += [(WEB, START + n, line), (other, START + n, line)]
    store.entries += [(WEB, START + 10, call(503)), (other, START + 11, call(401))]
    found = read(f"loki://{host}/web")
    assert found.calls["status_code"].tolist() == [429, 429, 503, 401]
    assert found.calls["message"].tolist()[:2] == ["\n".join(samples.TRACE)] * 2


@given(
    moments=st.lists(st.integers(0, 30), max_size=60),
    borders=st.lists(st.sampled_from([0, 1_800, 3_600, 7_199]), min_size=60, max_size=60),
    most=st.integers(8, 20),
)
@settings(max_examples=15)
def test_every_line_comes_once_whatever_the_times_and_the_pages(
    server: tuple[Store, int], moments: list[int], borders: list[int], most: int
) -> None:
    store = server[0]
    store.__init__()  # type: ignore[misc]
    crowd = Counter((moment, second) for moment, second in zip(moments, borders, strict=False))
    store.most = max(most, *crowd.values(), 0) + 1
    store.entries = [
        (WEB | {"pod": f"web-{n % 3}"}, START + second * 10**9 + moment, call(503, n // 2))
        for n, (moment, second) in enumerate(zip(moments, borders, strict=False))
    ]
    found = read(f"loki://127.0.0.1:{server[1]}/web")
    assert Counter(found.calls["message"]) == Counter(f"klaviyo {n // 2}" for n in range(len(moments)))
    assert (found.coverage[0].gap is None) is bool(moments)


def test_more_lines_of_one_time_than_a_page_may_have_are_a_gap_and_the_rest_comes(
    loki: tuple[Store, str],
) -> None:
    store, host = loki
    store.most = 4
    store.entries = [(WEB, START, call(503, n)) for n in range(6)] + [(WEB, START + 1, call(401))]
    found = read(f"loki://{host}/web")
    assert found.calls["status_code"].tolist() == [503] * 4 + [401]
    assert found.coverage[0].gap == "more than 4 lines have one and the same time: some are missing"
    assert found.coverage[0].truncated


def test_a_name_with_klaviyo_asks_for_every_line(loki: tuple[Store, str]) -> None:
    store, host = loki
    store.entries = [({"app": "klaviyo-sync"}, START, "request failed with status code 503")]
    assert len(read(f"loki://{host}/klaviyo-sync").calls) == 1


def test_a_selector_of_ones_own_is_asked_as_it_is(loki: tuple[Store, str]) -> None:
    store, host = loki
    store.entries = [({"job": "shop"}, START, call(503))]
    assert len(read(f'loki://{host}/{{job="shop"}}').calls) == 1
    assert store.asked[0]["query"].startswith('{job="shop"} |~ `(?i)klaviyo|')


@pytest.mark.parametrize(
    ("user", "authorization"),
    [("", None), ("web:s3cr%23t@", "Basic d2ViOnMzY3IjdA=="), (":s3cr%23t@", "Bearer s3cr#t"), ("s3cr%23t@", "Bearer s3cr#t")],
)  # fmt: skip
def test_credentials_and_tenant_are_sent_and_never_shown(
    loki: tuple[Store, str], user: str, authorization: str | None
) -> None:
    store, host = loki
    store.authorization, store.tenant = authorization, "team-a"
    store.entries = [(WEB, START, call(503))]
    url = f"loki://{user}{host}/web?tenant=team-a"
    found = read(url)
    assert len(found.calls) == 1
    assert "s3cr" not in repr(
        (found.coverage, found.calls["source"].tolist(), resolve(url), resolve(url)[0].chunks(WINDOW))
    )


@pytest.mark.parametrize(
    ("url", "gap"),
    [
        ("/web", None),
        ('/{app="web"} |= "no such"', None),
        ("/wbe", 'no stream of {app="wbe"} has a line in the window: is its name right?; try: curl -s ROOT/label/app/values'),
        ('/{job="web"} |= "order"', 'no stream of {job="web"} has a line in the window: is its name right?; try: curl -s ROOT/labels'),
    ],
)  # fmt: skip
def test_a_name_that_no_stream_has_is_not_taken_for_a_quiet_one(
    loki: tuple[Store, str], url: str, gap: str | None
) -> None:
    store, host = loki
    store.entries = [(WEB, START, "order done")]
    (coverage,) = read(f"loki://{host}{url}").coverage
    assert coverage.gap == (gap and gap.replace("ROOT", f"http://{host}/loki/api/v1"))
    assert coverage.whole == (gap is None)


@pytest.mark.parametrize(
    ("busy", "gap"), [(3, None), (99, "Loki answered 429: too many outstanding requests")]
)
def test_a_loki_that_is_busy_is_asked_again_and_not_for_ever(
    loki: tuple[Store, str], monkeypatch: pytest.MonkeyPatch, busy: int, gap: str | None
) -> None:
    monkeypatch.setattr(sources.loki, "WAITS_S", (0.0, 0.0, 0.0))
    store, host = loki
    store.busy, store.entries = busy, [(WEB, START, call(503))]
    (coverage,) = read(f"loki://{host}/web").coverage
    assert (coverage.calls, coverage.gap) == (0 if gap else 1, gap)


def test_a_refusal_is_a_gap_in_lokis_own_words(loki: tuple[Store, str]) -> None:
    store, host = loki
    store.tenant = "team-a"
    (coverage,) = read(f"loki://{host}/web").coverage
    assert coverage.gap == "Loki answered 401: no org id"
    assert coverage.truncated
    assert coverage.lines == 0


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"{}",
        b'{"data":{"result":[{"stream":[],"values":[["x","y"]]}]}}',
        b'{"data":{"result":[1]}}',
        b"[]",
    ],
)
def test_what_is_no_loki_is_a_gap(loki: tuple[Store, str], body: bytes) -> None:
    store, host = loki
    store.answer = (200, body)
    assert read(f"loki://{host}/web").coverage[0].gap == "what answers there is no Loki"


def test_no_server_is_a_gap() -> None:
    assert read("loki://127.0.0.1:1/web").coverage[0].gap == "Loki gave no answer: ConnectError"


def test_a_loki_that_hangs_is_left_at_the_deadline_with_what_it_gave(loki: tuple[Store, str]) -> None:
    store, host = loki
    store.hang_after, store.most = 3, 10  # refused once for its limit, two pages, silence
    store.entries = [(WEB, END - 100 + n, call(503, n)) for n in range(50)]
    found = read(f"loki://{host}/web", deadline=time.monotonic() + 1.5)
    assert 9 <= len(found.calls) < 50
    assert found.coverage[0].truncated
    assert "before the deadline" in str(found.coverage[0].gap)


@pytest.mark.parametrize(
    "url", ["loki://", "loki://host:3100", "loki://host:3100/", "loki://host:port/app", "loki://:s3cret@/app"]
)
def test_a_url_that_is_not_complete_says_what_one_looks_like(url: str) -> None:
    with pytest.raises(UsageError, match="not complete") as caught:
        resolve(url)
    assert "loki://" in str(caught.value.hint)
    assert "s3cret" not in str(caught.value) + str(caught.value.hint)


def test_https_has_its_own_scheme_and_port() -> None:
    assert resolve("loki+https://logs.example/web")[0].root == "https://logs.example:443"  # type: ignore[attr-defined]
    assert resolve("loki://[::1]/web")[0].root == "http://[::1]:3100"  # type: ignore[attr-defined]


def test_its_parts_travel_to_other_processes() -> None:
    parts = resolve("loki://127.0.0.1:1/web")[0].chunks(WINDOW)
    assert pickle.loads(pickle.dumps(parts)) == parts


def test_a_record_longer_than_any_that_is_read_at_once_is_not_kept_back() -> None:
    page = [Entry("a", "", START + n, "  deeper") for n in range(500)]
    first = next(lines(iter([page, []])))
    assert first.count(b"stdout F") == 500
