"""Facts that come from asking: the API, the status page, our application, the webhook route."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from klaviyo_nb.diagnosis.thresholds import Thresholds
from klaviyo_nb.klaviyo.answers import Failure, failure
from klaviyo_nb.klaviyo.components import concerns, concerns_everything

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.evidence import Evidence

Row = Mapping[str, Any]

#: Probes that carry the key, in the order in which their refusals are believed.
KEYED = ("auth", "rate_limit")
ON_PURPOSE: tuple[Failure, ...] = ("unauthorized", "forbidden", "throttled", "invalid")
HEALTHY_STATES = frozenset({"ok", "up", "healthy", "pass"})
#: Status codes with which a webhook route answers an unsigned request when it is alive.
WEBHOOK_ALIVE = frozenset({400, 401, 403, 405})


def rows_by_probe(evidence: Evidence) -> dict[str, Row]:
    """Probe name → its row; missing values as None."""
    return {row["probe"]: row for row in evidence.probe_rows}


def kind_of(row: Row) -> Failure | None:
    """What the failure of a probe looks like; None if it did not fail."""
    return failure(row["status_code"], row["error_type"], row["answered_by"])


def api_facts(rows: Mapping[str, Row]) -> dict[str, Any]:
    """`failing`, `failure`, `one_endpoint` and counts, as the probes of the API saw it. Empty if none ran."""
    keyed = [rows[name] for name in KEYED if name in rows]
    liveness = rows.get("liveness")
    if not keyed:
        # Without a key only silence and errors can be seen; an answer does not say that our calls succeed.
        kind = kind_of(liveness) if liveness else None
        return _failing_as(kind, [liveness], 1) if liveness and kind in ("server", "unreachable") else {}
    kinds = {row["probe"]: kind_of(row) for row in keyed}
    if lacks_accounts_scope(rows):
        kinds["auth"] = None
    bad = [row for row in keyed if kinds[row["probe"]]]
    if not bad:
        return {
            "failing": False,
            "evidence": {"failing": tuple(f"probes#{row['probe']}" for row in keyed)},
            "because": {"failing": _said(keyed)},
        }
    chosen = next((row for row in bad if kinds[row["probe"]] in ON_PURPOSE), bad[0])
    fields = _failing_as(kinds[chosen["probe"]], bad, len(keyed))
    fields["one_endpoint"] = len(bad) < len(keyed)
    fields["evidence"]["one_endpoint"] = tuple(f"probes#{row['probe']}" for row in keyed)
    fields["because"]["one_endpoint"] = _said(keyed)
    fields["retry_after_s"] = chosen["retry_after_s"]
    return fields


def lacks_accounts_scope(rows: Mapping[str, Row]) -> bool:
    """Is the accounts endpoint closed to our key while another endpoint answers it?"""
    return (
        "auth" in rows
        and "rate_limit" in rows
        and kind_of(rows["auth"]) == "forbidden"
        and kind_of(rows["rate_limit"]) is None
    )


def silence_facts(rows: Mapping[str, Row]) -> dict[str, Any]:
    """`nothing_answers`: are both the API and the status page silent? Unknown unless both were asked."""
    api = [rows[name] for name in (*KEYED, "liveness") if name in rows]
    page = rows.get("status_page")
    if not api:
        return {}
    answered = [row for row in api if row["status_code"] is not None]
    if not answered and page is None:
        return {}
    silent = not answered and page is not None and page["status_code"] is None
    asked = [*api, page] if page else api
    return {
        "nothing_answers": silent,
        "evidence": {"nothing_answers": tuple(f"probes#{row['probe']}" for row in asked)},
        "because": {"nothing_answers": _said(asked)},
    }


def page_facts(page: Mapping[str, Any] | None, endpoints: Iterable[str]) -> dict[str, Any]:
    """`acknowledged`: does Klaviyo's page tell of something that concerns calls to these endpoints?

    Unresolved incidents and maintenance in progress count by the components they list, else by their title;
    degraded components count by name. A page that only tells its indicator counts when that is critical.
    """
    if page is None:
        return {}
    used = list(endpoints)
    ours: list[str] = []
    others: list[str] = []
    for post in [*(page.get("incidents") or ()), *(page.get("maintenances") or ())]:
        components = [component.get("name", "") for component in post.get("components") or ()]
        name = str(post.get("name", ""))
        relevant = (
            any(concerns(each, used) for each in components) if components else concerns_everything(name)
        )
        (ours if relevant else others).append(f"{name} ({post.get('status', 'status unknown')})")
    for component in page.get("components") or ():
        if component.get("status", "operational") != "operational" and not component.get("group"):
            text = f"{component.get('name')}: {component.get('status')}"
            (ours if concerns(str(component.get("name", "")), used) else others).append(text)
    known = bool(page.get("components") or page.get("incidents"))
    acknowledged: bool | None = bool(ours)
    if not ours and not known and page.get("indicator") not in (None, "none"):
        acknowledged = True if page["indicator"] == "critical" else None
        ours = [str(page.get("description"))] if acknowledged else []
    said = "; ".join(ours or others) or str(page.get("description") or page.get("indicator"))
    return {
        "acknowledged": acknowledged,
        "acknowledged_as": "; ".join(ours) or None,
        "unrelated": "; ".join(others) or None,
        "evidence": {"acknowledged": ("status_page",)},
        "because": {"acknowledged": said},
    }


def app_facts(row: Row | None) -> dict[str, Any]:
    """`app_healthy` from the health probe."""
    if row is None:
        return {}
    state = row["state"]
    if row["status_code"] is None:
        well, says = False, f"no answer: {row['error_type']}"
    elif row["status_code"] >= 400:
        well, says = False, f"HTTP {row['status_code']}" + (f", status {state}" if state else "")
    else:
        well, says = (
            state is None or state.lower() in HEALTHY_STATES,
            f"HTTP {row['status_code']}, status {state}",
        )
    return {
        "app_healthy": well,
        "app_says": says,
        "evidence": {"app_healthy": ("probes#app_health",)},
        "because": {"app_healthy": says},
    }


def webhook_facts(row: Row | None, webhooks: pd.DataFrame | None, limits: Thresholds) -> dict[str, Any]:
    """`webhooks_arrive` from the route's answer to an unsigned request, and from deliveries in the logs."""
    outcomes: Any = {} if webhooks is None else webhooks["outcome"].value_counts()
    rejected, accepted = int(outcomes.get("bad_signature", 0)), int(outcomes.get("accepted", 0))
    if rejected >= limits.noise_failures and not accepted:
        says, alive, cited = f"all {rejected} signatures were rejected", False, ("logs:webhooks",)
    elif row is not None:
        status = row["status_code"]
        alive = status is not None and (status < 300 or status in WEBHOOK_ALIVE)
        says = f"HTTP {status}" if status is not None else f"no answer: {row['error_type']}"
        cited = ("probes#webhook", *(("logs:webhooks",) if accepted else ()))
    elif accepted:
        says, alive, cited = f"{accepted} deliveries were accepted", True, ("logs:webhooks",)
    else:
        return {}
    return {
        "webhooks_arrive": alive,
        "webhook_says": says,
        "evidence": {"webhooks_arrive": cited},
        "because": {"webhooks_arrive": says},
    }


def _failing_as(kind: Failure | None, bad: list[Row], asked: int) -> dict[str, Any]:
    cited = tuple(f"probes#{row['probe']}" for row in bad)
    return {
        "counted_from": "probes",
        "last_calls": asked,
        "last_failed": len(bad),
        "failing": True,
        "failure": kind,
        "failures": {str(kind): len(bad)},
        "status_codes": {int(row["status_code"] or 0): 1 for row in bad},
        "evidence": {"failing": cited, "failure": cited},
        "because": {"failing": _said(bad), "failure": _said(bad)},
    }


def _said(rows: Iterable[Row]) -> str:
    return ", ".join(f"{row['probe']}: {_answer(row)}" for row in rows)


def _answer(row: Row) -> str:
    if row["status_code"] is None:
        return str(row["error_type"])
    stranger = row["answered_by"] not in (None, "klaviyo", "other")
    return f"HTTP {row['status_code']}" + (f" by {row['answered_by']}" if stranger else "")
