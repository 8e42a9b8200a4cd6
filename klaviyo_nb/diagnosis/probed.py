"""Facts that come from asking: the API, the status page, our application, the webhook route."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from klaviyo_nb.klaviyo.answers import Failure, failure

if TYPE_CHECKING:
    from klaviyo_nb.diagnosis.thresholds import Thresholds
    from klaviyo_nb.evidence import Coverage, Evidence

Row = Mapping[str, Any]

#: Probes that carry the key, in the order in which their refusals are believed.
KEYED = ("auth", "rate_limit")
#: What is always asked, unless somebody switched it off.
ASKED = (*KEYED, "liveness", "status_page", "app_health", "webhook")
ON_PURPOSE: tuple[Failure, ...] = ("unauthorized", "forbidden", "throttled", "invalid")
HEALTHY_STATES = frozenset({"ok", "up", "healthy", "pass"})
#: A source read to its end may have its last line so long before the window's end.
_LATE = timedelta(minutes=1)
#: Status codes with which a webhook route answers an unsigned request when it is alive.
WEBHOOK_ALIVE = frozenset({400, 401, 403, 405})


def rows_by_probe(evidence: Evidence) -> dict[str, Row]:
    """Probe name → its row; missing values as None."""
    return {row["probe"]: row for row in evidence.probe_rows}


def asked_in_vain(evidence: Evidence, rows: Mapping[str, Row], limits: Thresholds) -> frozenset[str]:
    """What was asked for and gave nothing: `logs`, `deliveries` (of webhooks, in them), `metrics`, probes.

    Beside them `some logs`, if one of several sources hides something of the window's last part, and
    `earlier logs`, if one hides something of the window.
    """
    never = {gap.signal for gap in evidence.gaps if not gap.configured}
    if "logs" in never:
        never.add("deliveries")
    seen = {"logs": evidence.calls is not None, "deliveries": evidence.webhooks is not None}
    seen |= {"metrics": evidence.metrics is not None, **{name: name in rows for name in ASKED}}
    torn = [each for each in evidence.coverage if not each.whole]
    seen |= {"earlier logs": not torn, "some logs": not any(_hides(each, limits) for each in torn)}
    return frozenset(name for name, there in seen.items() if not there) - never


def _hides(torn: Coverage, limits: Thresholds) -> bool:
    """May there be lines of the window's last part that were not read?

    A source is read from its end, so what is missing is mostly old; a torn archive or a slow pipe ends early.
    """
    part = limits.last_part(torn.asked)
    return torn.got is None or torn.got.start > part.start or torn.got.end < part.end - _LATE


def kind_of(row: Row) -> Failure | None:
    """What the failure of a probe looks like; None if it did not fail."""
    return failure(row["status_code"], row["error_type"], row["answered_by"])


def is_well(row: Row) -> bool:
    """Did a probe get what it hopes for? Without a key, or a signature, that is to be refused."""
    status, kind = row["status_code"], kind_of(row)
    if row["probe"] == "webhook":
        return status is not None and (status < 300 or status in WEBHOOK_ALIVE)
    return kind is None or (row["probe"] == "liveness" and kind == "unauthorized")


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
            "because": {"failing": said(keyed)},
        }
    chosen = next((row for row in bad if kinds[row["probe"]] in ON_PURPOSE), bad[0])
    fields = _failing_as(kinds[chosen["probe"]], bad, len(keyed))
    fields["one_endpoint"] = len(bad) < len(keyed)
    fields["evidence"]["one_endpoint"] = tuple(f"probes#{row['probe']}" for row in keyed)
    fields["because"]["one_endpoint"] = said(keyed)
    fields |= {name: chosen[name] for name in ("retry_after_s", "answered_by", "error_code")}
    if chosen["retry_after_s"] is not None:
        fields["frees_at"] = chosen["checked_at"] + timedelta(seconds=chosen["retry_after_s"])
    if fields["failure"] == "unreachable":
        way = [rows[name] for name in ("dns", "tls") if name in rows and rows[name]["error_type"]]
        fields["because"]["failure"] = "; ".join((said(bad), *(_why(row) for row in way)))
    return fields


def others_succeed(rows: Mapping[str, Row]) -> bool:
    """Do all keyed probes succeed?"""
    return all(name in rows and kind_of(rows[name]) is None for name in KEYED)


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
        "because": {"nothing_answers": said(asked)},
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


def webhook_facts(row: Row | None, delivered: Mapping[str, Any]) -> dict[str, Any]:
    """`webhooks_arrive` from the route's answer to an unsigned request, and from what was delivered.

    Args:
        row: The probe of the route.
        delivered: `webhooks.delivered`: `alive` and `says`, or nothing.
    """
    cited, told = [], []
    alive: bool | None = None
    if row is not None:
        status = row["status_code"]
        alive = is_well(row)
        told.append(f"HTTP {status}" if status is not None else f"no answer: {row['error_type']}")
        cited.append("probes#webhook")
    if delivered:
        alive = delivered["alive"] and alive is not False
        told.append(delivered["says"])
        cited.append(delivered["cited"])
    if alive is None:
        return {}
    says = ", ".join(told)
    return {
        "webhooks_arrive": alive,
        "webhook_says": says,
        "evidence": {"webhooks_arrive": tuple(cited)},
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
        "because": {"failing": said(bad), "failure": said(bad)},
    }


def said(rows: Iterable[Row]) -> str:
    """What probes were answered, in words."""
    return ", ".join(f"{row['probe']}: {_answer(row)}" for row in rows)


def _answer(row: Row) -> str:
    if row["status_code"] is None:
        return str(row["error_type"])
    stranger = row["answered_by"] not in (None, "klaviyo", "other")
    return f"HTTP {row['status_code']}" + (f" by {row['answered_by']}" if stranger else "")


def _why(row: Row) -> str:
    return f"{row['probe']}: {row['detail'] or row['error_type']}"
