"""What goes to Klaviyo's support: what they can look up, and nothing else of ours.

It is put together of what may go out, not of what is left when the rest is taken out: path templates of the
catalogue, statuses, codes, times, and ids of requests. A value that has not the form it should have, or that
others may have written, is not in it; neither are our hosts, files, callers, keys, people and pseudonyms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from klaviyo_nb.frames import CALLS, as_texts, plain_rows
from klaviyo_nb.klaviyo.endpoints import catalogue
from klaviyo_nb.logs.questions.counts import failure_kinds
from klaviyo_nb.response.case import API_URL, curl
from klaviyo_nb.response.spending import spending
from klaviyo_nb.window import parse_time, stamp

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.evidence import Evidence

#: Rows of the list of calls, and of the tables in the letter: the packet stays under 1 MB whatever was seen.
MOST_CALLS, MOST_ROWS = 1_000, 30
#: What each text must look like to go out.
_FORMS = {
    "method": r"[A-Z]{3,7}",
    "error_type": r"[a-z_]{2,20}",
    "answered_by": r"[a-z]{2,20}",
    "error_code": r"[a-z][a-z_.]{1,50}",
    "error_pointer": r"(?:/(?:[a-z_]{1,40}|\d{1,3})){1,8}",
    "revision": r"\d{4}-\d{2}-\d{2}(?:\.pre)?",
    "request_id": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "ratelimit": r"[\d,;=w ]{1,60}",
}
_COLUMNS = ("timestamp", "method", "endpoint", "status_code", "error_type", "answered_by", "error_code",
            "error_pointer", "duration_s", "retry_after_s", "revision", "request_id")  # fmt: skip
_ANSWER = ["endpoint", "status_code", "error_type", "error_code", "answered_by"]
#: Probes of Klaviyo → what was asked.
_ASKED = {
    "status_page": "the status page",
    "auth": "GET /api/accounts with the key",
    "rate_limit": "GET /api/profiles, one row, with the key",
    "liveness": "GET /api/accounts without a key",
    "dns": "the address of the API host",
    "tls": "a TLS handshake with the API host",
}
_ERRORS = (
    "Is this known to you, since when, and until when is it expected to last?",
    "Were any of the requests in calls.csv processed although they were answered with an error?",
)
#: Cause → what we ask of Klaviyo.
ASKS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("klaviyo_outage", "klaviyo_server_error", "endpoint_degraded", "resolved_or_intermittent"),
        _ERRORS,
    ),
    "invalid_key": ("Since when is the key not accepted, and was it deleted or disabled on your side?",),
    "missing_scope": ("Which scope, plan or feature do the requests in calls.csv lack?",),
    "rate_limited": (
        "Which keys or apps of our account spent this limit in the time range above?",
        "Which limits hold for our account on these endpoints now?",
    ),
    "invalid_request": ("What is wrong with the requests in calls.csv, and what changed at its first time?",),
    "network_unreachable": ("Do our requests reach you, and is our address blocked at your edge?",),
    "webhook_endpoint_down": ("Which deliveries failed in the time range above, and will they be repeated?",),
}


def failing(evidence: Evidence, document: Mapping[str, Any]) -> pd.DataFrame:
    """The calls that failed from the onset on, as they may be told: CALLS, restricted to what goes out."""
    if evidence.calls is None:
        return CALLS.empty()[list(_COLUMNS)]
    since = _since(document)
    calls = evidence.calls[(evidence.calls["timestamp"] >= since).fillna(False)]
    calls = calls.loc[failure_kinds(calls).notna(), list(_COLUMNS)].sort_values("timestamp", kind="stable")
    paths = {path: catalogue().operations(path) for path in calls["endpoint"].dropna().unique()}
    templates = {path: found[0].path for path, found in paths.items() if found}
    told = as_texts(calls).assign(endpoint=calls["endpoint"].map(templates).astype("str"))
    for name in _FORMS.keys() & calls.columns:
        told[name] = told[name].where(told[name].str.fullmatch(_FORMS[name]).fillna(False))
    # An id beside an answer of somebody else, or beside none, is our own.
    theirs = told["status_code"].notna() & told["answered_by"].fillna("klaviyo").eq("klaviyo")
    return told.assign(request_id=told["request_id"].where(theirs), duration_s=told["duration_s"].round(3))


def listed(told: pd.DataFrame) -> str:
    """CSV of the first and last of `failing` for each endpoint and answer, `MOST_CALLS` in all."""
    kinds = told.assign(with_id=told["request_id"].notna()).groupby([*_ANSWER, "with_id"], dropna=False)
    first, last = kinds.cumcount(), kinds.cumcount(ascending=False)
    chosen = first.where(first < last, last).sort_values(kind="stable").index[:MOST_CALLS]
    rows = told.loc[told.index.isin(chosen)]
    return str(rows.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%S.%fZ"))


def repeated(evidence: Evidence, told: pd.DataFrame) -> str:
    """The command that makes such a call again, with a placeholder for the key, against Klaviyo itself."""
    path, method = _commonest(told)
    revisions = told["revision"].value_counts()
    return curl(API_URL + path, str(revisions.index[0]) if len(revisions) else _pinned(evidence), method)


def letter(evidence: Evidence, document: Mapping[str, Any], told: pd.DataFrame) -> dict[str, Any]:
    """What the letter's template is filled with."""
    answers = told.assign(with_id=told["request_id"].notna()).groupby(_ANSWER, dropna=False, sort=False)
    counted = answers.agg(
        calls=("with_id", "size"),
        ids=("with_id", "sum"),
        first=("timestamp", "min"),
        last=("timestamp", "max"),
    )
    counted = counted.reset_index().sort_values("calls", ascending=False, kind="stable")
    revisions = told["revision"].value_counts()
    return {
        "answer": answer,
        "answers": plain_rows(counted.head(MOST_ROWS)),
        "unlisted": max(0, len(counted) - MOST_ROWS),
        "asked": list(_asked(evidence)),
        "asks": ASKS.get(document["cause"], ()),
        "placeholder": "{" in _commonest(told)[0],
        "failing": len(told),
        "ids": int(told["request_id"].notna().sum()),
        "listed": min(len(told), MOST_CALLS),
        "revisions": [(str(name), int(count)) for name, count in revisions.head(5).items()],
        "pinned": _pinned(evidence),
        "ruled_out": list(_ruled_out(evidence, document, told)),
        "since": _since(document),
    }


def _ruled_out(evidence: Evidence, document: Mapping[str, Any], told: pd.DataFrame) -> Iterator[str]:
    """What else it could be and is not, by what was seen; nothing of what was not looked at."""
    theirs = told["status_code"].lt(500).fillna(False) & told["answered_by"].fillna("klaviyo").eq("klaviyo")
    if len(told) and theirs.all():
        yield (
            "Errors or silence: every failed call was answered by Klaviyo's application, none with a 5xx;"
            f" {len(told):,} were looked at."
        )
    for row in evidence.probe_rows:
        if row["probe"] == "auth" and row["status_code"] == 200:
            yield f"A bad key: it was accepted at {stamp(row['checked_at'])} UTC by GET /api/accounts."
    if document["facts"].get("acknowledged") is False:
        yield "An incident that you tell of: your status page had none on what we use."
    if document["cause"] == "rate_limited" and evidence.calls is not None:
        calls = evidence.calls
        spent = spending(evidence, calls[failure_kinds(calls).eq("throttled").fillna(False)])
        if spent:
            by = "as your answer told" if spent.observed else "as documented"
            ours = "our own calls fill the limit" if spent.exhausted else "not our logged calls alone"
            yield (
                f"Who spends it: {ours}. Of {spent.endpoint} our logs show at most {spent.peak:,} in one"
                f" {spent.window}; {spent.limit:,} are allowed, {by}."
            )


def _since(document: Mapping[str, Any]) -> datetime:
    return parse_time((document["onset"] or {}).get("earliest") or document["window"]["start"])


def _pinned(evidence: Evidence) -> str:
    return _formed("revision", evidence.context.get("revision")) or catalogue().revision


def _commonest(told: pd.DataFrame) -> tuple[str, str]:
    """Path and method of the call to repeat; one that reads wins, since it can be repeated as it is."""
    known = told.dropna(subset=["endpoint", "method"])
    pairs = known.groupby(["endpoint", "method"]).size().reset_index(name="calls")
    pairs = pairs.assign(reads=pairs["method"].eq("GET")).sort_values(["reads", "calls"], ascending=False)
    return (
        (str(pairs["endpoint"].iloc[0]), str(pairs["method"].iloc[0]))
        if len(pairs)
        else ("/api/accounts", "GET")
    )


def _asked(evidence: Evidence) -> Iterator[dict[str, Any]]:
    for row in evidence.probe_rows:
        if row["probe"] in _ASKED:
            texts = {name: _formed(name, row.get(name)) for name in _FORMS}
            yield {**row, **texts, "what": _ASKED[row["probe"]]}


def _formed(name: str, text: object) -> str | None:
    return text if isinstance(text, str) and re.fullmatch(_FORMS[name], text) else None


def answer(row: Mapping[str, Any]) -> str:
    """What a call got, in words: status or why there was none, code, and by whom if not Klaviyo."""
    said = (
        f"HTTP {row['status_code']}" if row["status_code"] is not None else row["error_type"] or "none told"
    )
    who = row["answered_by"]
    code = f", code {row['error_code']}" if row["error_code"] else ""
    return f"{said} by {who}{code}" if who not in (None, "klaviyo") else f"{said}{code}"
