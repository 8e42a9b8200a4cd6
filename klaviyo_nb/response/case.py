"""An action, and the case that fills it: one verdict with the values of its incident."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from klaviyo_nb.klaviyo.answers import failure
from klaviyo_nb.klaviyo.endpoints import Endpoint, catalogue
from klaviyo_nb.lines import one_line
from klaviyo_nb.redact import harmless
from klaviyo_nb.response.lost import lost
from klaviyo_nb.window import iso

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.diagnosis.verdict import Verdict
    from klaviyo_nb.evidence import Evidence

API_URL = "https://a.klaviyo.com"
#: A window that ended so long before it was looked at is named by its times.
_AGO = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do.

    Attributes:
        title: An imperative.
        why: What it is good for, with this incident's figures.
        command: What to type, or None where it is done elsewhere. Never holds a secret.
        expect: What happens, and within how many minutes.
        undo: How to take it back, or None where nothing changes.
        check: The command that shows whether it worked; one of `triage --check` by its exit status.
    """

    title: str
    why: str
    command: str | None
    expect: str
    undo: str | None
    check: str


@dataclass(frozen=True, slots=True)
class Case:
    """One verdict with the values that its actions are filled with."""

    verdict: Verdict
    evidence: Evidence

    def setting(self, name: str, default: str) -> str:
        """A setting the evidence was collected with."""
        return str(self.evidence.context.get(name) or default)

    @property
    def api_url(self) -> str:
        """Root of the API."""
        return self.setting("api_url", API_URL)

    @property
    def api_host(self) -> tuple[str, int]:
        """Host and port of the API."""
        parts = urlsplit(self.api_url)
        return parts.hostname or "a.klaviyo.com", parts.port or (80 if parts.scheme == "http" else 443)

    @property
    def revision(self) -> str:
        """Revision that was pinned."""
        return self.setting("revision", catalogue().revision)

    def curl(self, path: str, method: str = "GET") -> str:
        """The module's `curl`, against the API and with the revision of this evidence."""
        return curl(self.api_url + path, self.revision, method)

    @property
    def sources(self) -> list[str]:
        """The log sources, as they were named to us."""
        named = self.evidence.context.get("logs") or (each.source for each in self.evidence.coverage)
        return [each for each in dict.fromkeys(map(str, named)) if each != "-"]

    def logs(self, *columns: str, since: str | None = None) -> str:
        """The command that counts the same logs by these columns; over the window looked at, or lately."""
        named, window = " ".join(map(shlex.quote, self.sources)) or "LOG-FILE", self.evidence.window
        minutes = max(1, round(window.seconds / 60))
        span = f"--since {since or (f'{minutes}m' if minutes % 60 else f'{minutes // 60}h')}"
        if not since and self.evidence.collected_at - window.end > _AGO:
            span = f"--start {iso(window.start)} --end {iso(window.end)}"
        return f"klaviyo-nb logs {named} {span}" + "".join(f" --by {each}" for each in columns)

    def triage(self, *more: str) -> str:
        """The command that asks again, with the same logs or, if the calls were counted there, metrics."""
        parts = ["klaviyo-nb triage", *more, *(f"--logs {shlex.quote(each)}" for each in self.sources)]
        metrics = self.evidence.context.get("metrics_url")
        if metrics and not self.sources:
            parts.append(f"--metrics {shlex.quote(str(metrics))}")
        return " ".join(parts)

    def check(self, name: str) -> str:
        """The command that says whether one thing is well, from the last five minutes."""
        return self.triage("--since 5m", f"--check {shlex.quote(name)}")

    def restart(self) -> str:
        """How to restart what wrote the logs, as far as their sources tell; else APP stands for it."""
        for source in self.sources:
            parts = urlsplit(source)
            name = shlex.quote((parts.netloc + parts.path).strip("/") or "APP")
            if parts.scheme == "journald":
                return f"sudo systemctl restart {name}"
            if parts.scheme == "docker":
                return f"docker restart {name}"
            if parts.scheme == "k8s":
                where, _, what = (parts.netloc + parts.path).strip("/").partition("/")
                return f"kubectl -n {shlex.quote(where)} rollout restart {shlex.quote(what)}"
        return "kubectl rollout restart deployment/APP"

    @property
    def failing_endpoints(self) -> list[str]:
        """Path templates on which calls failed, most failures first."""
        return [str(each["endpoint"]) for each in self.verdict.facts.get("endpoints") or [] if each["failed"]]

    def failing_calls(self) -> pd.DataFrame | None:
        """The failing calls of the kind the verdict names, from the logs; None without logs."""
        calls, kind = self.evidence.calls, self.verdict.facts.get("failure")
        if calls is None:
            return None
        from klaviyo_nb.logs.questions.counts import failure_kinds

        return calls[failure_kinds(calls) == kind] if kind else calls[failure_kinds(calls).notna()]

    def most_common(self, column: str) -> tuple[str, int] | None:
        """The value that most failing calls carry in `column`, with its count."""
        calls = self.failing_calls()
        counts = calls[column].dropna().astype("str").value_counts() if calls is not None else None
        return None if counts is None or counts.empty else (str(counts.index[0]), int(counts.iloc[0]))

    def probes_failing_as(self, kind: str | None) -> list[Mapping[str, Any]]:
        """Rows of the probes that failed this way."""
        return [
            row
            for row in self.evidence.probe_rows
            if failure(row["status_code"], row["error_type"], row["answered_by"]) == kind is not None
        ]

    def operations(self) -> list[Endpoint]:
        """The catalogue's operations behind the failing calls; without logs, behind the failing probes."""
        calls = self.failing_calls()
        if calls is not None and not calls.empty:
            return operations_of(calls)
        kind = self.verdict.facts.get("failure")
        asked = [catalogue().match("GET", str(row["target"])) for row in self.probes_failing_as(kind)]
        named = [each for path in self.failing_endpoints for each in catalogue().operations(path)]
        return [each for each in asked if each] or named

    def failing_words(self) -> str | None:
        """What a probe that failed likewise was told, short."""
        rows = self.probes_failing_as(self.verdict.facts.get("failure"))
        said = next((str(row["detail"]) for row in rows if row["detail"]), None)
        return one_line(harmless(said), 120) if said else None

    def longest_wait(self) -> str | None:
        """Path of the endpoint whose refused call was told to wait longest."""
        calls = self.failing_calls()
        if calls is None:
            return None
        told = calls.dropna(subset=["retry_after_s", "endpoint"]).nlargest(1, "retry_after_s")
        return None if told.empty else str(told["endpoint"].iloc[0])

    @property
    def retry_after_s(self) -> float | None:
        """The longest wait that an answer asked for [s]: of the calls that were counted, else of a probe."""
        told = [row["retry_after_s"] for row in self.probes_failing_as("throttled") if row["retry_after_s"]]
        fact = self.verdict.facts.get("retry_after_s")
        return float(fact) if fact is not None else max(told, default=None)

    def frees_at(self) -> datetime | None:
        """Until when Klaviyo last asked us to wait; None if no answer said so."""
        calls = self.failing_calls()
        ends: list[datetime] = []
        if calls is not None:
            told = calls[calls["retry_after_s"].notna() & calls["timestamp"].notna()]
            ends = [
                at.to_pydatetime() + timedelta(seconds=wait)
                for at, wait in zip(told["timestamp"], told["retry_after_s"], strict=True)
            ]
        for row in self.probes_failing_as("throttled"):
            if row["retry_after_s"] is not None:
                ends.append(row["checked_at"] + timedelta(seconds=row["retry_after_s"]))
        return max(ends, default=None)

    def lost(self) -> str:
        """What became of the calls so far, in a sentence and a blank; empty if no log tells of a call."""
        found = lost(self.evidence)
        return f"{found.says} " if found and len(found.rows) else ""


def curl(url: str, revision: str, method: str = "GET") -> str:
    """A call with the key from the environment; prints status, headers and the answer's first words.

    A call that would write has an empty body: it is rejected with 400 once the key is allowed to make it, and
    writes nothing.
    """
    parts = [
        "curl -sS -g -i -m 20",
        '-H "Authorization: Klaviyo-API-Key $KLAVIYO_PRIVATE_KEY"',
        f"-H {shlex.quote(f'revision: {revision}')}",
    ]
    if method != "GET":
        parts.append(f"-X {shlex.quote(method)} -H 'content-type: application/vnd.api+json' -d '{{}}'")
    return " ".join([*parts, shlex.quote(url), "| head -c 1500"])


def operations_of(calls: pd.DataFrame) -> list[Endpoint]:
    """The catalogue's operations behind calls, each once; those it does not know are left out."""
    pairs = calls[["method", "endpoint"]].dropna(subset=["endpoint"]).drop_duplicates()
    found = (
        catalogue().match(method if isinstance(method, str) else None, path)
        for method, path in pairs.itertuples(index=False)
    )
    return [each for each in found if each]
