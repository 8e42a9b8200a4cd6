"""The frames that cross a folder: one schema each, checked at that door.

Units are in the names: `_s` is seconds. Missing means "not observed", never zero, never fine.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO, cast

from klaviyo_nb.lines import LONGEST, bounded, bounded_labels

if TYPE_CHECKING:
    import pandas as pd  # imported where a frame is made: half a second that probes alone do not need

#: Rows that are turned into text, or back, at a time.
ROWS_AT_ONCE = 50_000
UTC_NS = "datetime64[ns, UTC]"
#: What a spreadsheet takes for a formula, and what already stands behind quotes of ours.
_FORMULA = r"'*[=+\-@\t\r]"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its pandas dtype and what a value means."""

    dtype: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a frame, in order."""

    name: str
    columns: Mapping[str, Column]

    def empty(self) -> pd.DataFrame:
        """A frame with all columns and no row."""
        return self.frame([])

    def frame(self, rows: Iterable[Mapping[str, Any]] | pd.DataFrame) -> pd.DataFrame:
        """Rows to a frame with exactly these columns and dtypes; what a row does not have is missing.

        Raises:
            ValueError: A row has a value for a column that the schema does not know.
        """
        import pandas as pd

        found = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
        self._know(found.columns)
        columns = {
            name: _as_dtype(found.get(name), column.dtype, found.index)
            for name, column in self.columns.items()
        }
        return without_indexes(pd.DataFrame(columns))

    def row(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """One row as plain values, with exactly these columns; what `values` does not have is None.

        Raises:
            ValueError: `values` has a column that the schema does not know.
        """
        self._know(values)
        return {name: values.get(name) for name in self.columns}

    def _know(self, columns: Iterable[str]) -> None:
        unknown = [column for column in columns if column not in self.columns]
        if unknown:
            raise ValueError(f"{self.name}: unknown columns {unknown}")

    def check(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return `frame` if it has these columns and dtypes.

        Raises:
            ValueError: It has not; names the columns.
        """
        wrong = [
            f"{name}: {frame[name].dtype if name in frame else 'absent'}, not {column.dtype}"
            for name, column in self.columns.items()
            if name not in frame or str(frame[name].dtype) != column.dtype
        ]
        if wrong:
            raise ValueError(f"not a {self.name} frame: {'; '.join(wrong)}")
        return frame

    def to_csv(self, frame: pd.DataFrame) -> str:
        """CSV text that `from_csv` reads back, times to the microsecond; missing and empty texts are one."""
        harmless = without_formulas(self.check(frame))
        return str(harmless.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%S.%fZ"))

    def csv_parts(self, frame: pd.DataFrame) -> Iterator[str]:
        """`to_csv` in pieces that begin and end with a row, so that no more than one is in memory."""
        for first in range(0, max(len(frame), 1), ROWS_AT_ONCE):
            part = self.to_csv(frame.iloc[first : first + ROWS_AT_ONCE])
            yield part if first == 0 else part.partition("\n")[2]

    def from_csv(self, text: str | TextIO) -> pd.DataFrame:
        """Read back what `to_csv` wrote, or a file of it that was opened with `newline=""`.

        Whoever handed it on may have put texts of any length into it: of each, what fits is kept.

        Raises:
            ValueError: A column is unknown, or a value does not fit its dtype.
        """
        import pandas as pd

        # A bare carriage return in a field is written without quotes, and must not end its row.
        found = pd.read_csv(
            io.StringIO(text, newline="") if isinstance(text, str) else text,
            dtype="str",
            keep_default_na=False,
            na_values=[""],
            lineterminator="\n",
            chunksize=ROWS_AT_ONCE,  # as texts a frame is several times as large
        )
        frames = [self.frame(_bounded(_with_formulas(part))) for part in found]
        return frames[0] if len(frames) == 1 else self.joined(frames)

    def joined(self, frames: list[pd.DataFrame]) -> pd.DataFrame:
        """Frames of this schema as one, their rows below each other."""
        import pandas as pd
        from pandas.api.types import union_categoricals

        parts = {name: [frame[name] for frame in frames] for name in self.columns}
        return pd.DataFrame(
            {
                name: union_categoricals(parts[name], sort_categories=True)
                if column.dtype == "category"
                else pd.concat(parts[name], ignore_index=True)
                for name, column in self.columns.items()
            }
        )


def without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with a quote before each text that a spreadsheet would run; `from_csv` takes it off again."""
    found = {}
    for name in frame.columns:
        texts = frame[name].astype("str") if frame[name].dtype == "category" else frame[name]
        if texts.dtype == object or (texts.dtype == "str" and _formulas(texts).any()):
            found[name] = texts.map(_no_formula)
    return frame.assign(**found) if found else frame


def _with_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    quoted = {str(name): frame[name].str.startswith("'", na=False) & _formulas(frame[name]) for name in frame}
    found = {name: frame[name].mask(bad, frame[name].str[1:]) for name, bad in quoted.items() if bad.any()}
    return frame.assign(**found) if found else frame


def _bounded(frame: pd.DataFrame) -> pd.DataFrame:
    """Texts as they are, and of those that are too long as much as fits."""
    too_long = [name for name in frame if (frame[name].str.len() > LONGEST).any()]
    bounds = {name: bounded_labels if name == "series" else bounded for name in too_long}
    found = {str(name): frame[name].map(bound, na_action="ignore") for name, bound in bounds.items()}
    return frame.assign(**found) if found else frame


def _formulas(texts: pd.Series[str]) -> pd.Series[bool]:
    return texts.str.match(_FORMULA, na=False)


def _no_formula(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and re.match(_FORMULA, value) else value


def without_indexes(frame: pd.DataFrame) -> pd.DataFrame:
    """The same frame; what pandas built to see that no two categories are alike is let go.

    It holds a Python object for each, 80 MB of a million paths, and is built again where it is needed.
    """
    for name in frame.select_dtypes("category"):
        getattr(frame[name].cat.categories, "_cache", {}).clear()  # pandas has no other way to let go of it
    return frame


def as_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with texts for categories: other texts may be put beside them, and frames put together."""
    return frame.astype(dict.fromkeys(frame.columns[frame.dtypes == "category"], "str"))


def plain_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as plain values; missing ones as None."""
    import pandas as pd

    columns = [
        [None if pd.isna(value) else value for value in frame[name].tolist()] for name in frame.columns
    ]
    names = [str(name) for name in frame.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _as_dtype(values: Any, dtype: str, index: pd.Index[Any]) -> Any:
    import pandas as pd

    if values is None:
        texts = dtype == "category"
        values = pd.Series([None] * len(index), index=index, dtype=cast("Any", "str" if texts else dtype))
    if dtype == UTC_NS:
        return pd.to_datetime(values, utc=True, format="ISO8601").astype(UTC_NS)
    if dtype == "Int64":
        return pd.to_numeric(values).astype("Int64")
    if dtype == "boolean" and values.dtype == "str":
        return values.map({"True": True, "False": False}).astype("boolean")
    if dtype == "category" and values.dtype != "category":
        values = values.astype("str")  # so that the categories are texts, also where there is none
    return values.astype(dtype)


#: One row per probe that ran. What was not asked is a gap in the evidence, not a row.
PROBES = Schema(
    "PROBES",
    {
        "checked_at": Column(UTC_NS, "when the request was sent"),
        "probe": Column("str", "status_page, auth, rate_limit, liveness, app_health, webhook, dns or tls"),
        "target": Column("str", "what was asked: URL or host, without credentials"),
        "status_code": Column("Int64", "HTTP status; missing if no response came"),
        "error_type": Column("str", "why no response came (see probes.ERROR_TYPES); missing if one did"),
        "duration_s": Column("float64", "request sent to headers received, or to failure"),
        "answered_by": Column("str", "klaviyo, edge, challenge, portal, proxy, other; missing if nobody did"),
        "error_code": Column("str", "errors[0].code of the JSON:API body"),
        "detail": Column(
            "str", "errors[0].detail, or what the answer said; redacted, one line, 300 characters at most"
        ),
        "request_id": Column("str", "X-Klaviyo-Req-Id, or errors[0].id: what Klaviyo's support asks for"),
        "retry_after_s": Column("float64", "Retry-After"),
        "ratelimit": Column("str", "RateLimit-Limit as received, e.g. '75, 75;w=1, 750;w=60'"),
        "ratelimit_limit": Column("Int64", "calls allowed in the binding window"),
        "ratelimit_window_s": Column("Int64", "length of the binding window"),
        "ratelimit_remaining": Column("Int64", "calls left in the binding window"),
        "revision_asked": Column("str", "revision header sent"),
        "revision_effective": Column("str", "X-Klaviyo-Api-Revision: the revision that served us"),
        "retirement_date": Column("str", "X-Klaviyo-Api-Retirement-Date, only on a deprecated revision"),
        "server_date": Column(UTC_NS, "Date header: the other side's clock"),
        "upstream_s": Column("float64", "X-Envoy-Upstream-Service-Time: time spent inside Klaviyo"),
        "content_type": Column("str", "media type of the answer"),
        "state": Column(
            "str", "status_page: indicator; app_health: JSON status; dns: addresses; else missing"
        ),
        "cert_expires": Column(UTC_NS, "end of the certificate's validity (tls, webhook)"),
    },
)

#: One row per call to Klaviyo, or attempt of one, that a log tells of.
CALLS = Schema(
    "CALLS",
    {
        "timestamp": Column(UTC_NS, "when the line was written; missing if it carries no time"),
        "source": Column("category", "log source, as named by the user or expanded from a glob"),
        "line_no": Column("Int64", "1-based first line of the record in its source"),
        "offset": Column("Int64", "byte offset of that line; missing where the source has none"),
        "host": Column("category", "machine or pod that wrote it"),
        "worker": Column("category", "process, thread or worker on that machine"),
        "caller": Column("category", "service, job or logger that made the call"),
        "sdk": Column("category", "client library with its version: first product of the User-Agent"),
        "level": Column("category", "debug, info, warning, error or critical"),
        "method": Column("category", "HTTP method, upper case"),
        "endpoint": Column("category", "path template of the catalogue, no trailing slash; else the path"),
        "status_code": Column("Int64", "HTTP status; missing if the line tells none"),
        "error_type": Column(
            "category",
            "why no response came: dns, refused, tls, connect_timeout (not sent), timeout, reset, other",
        ),
        "error_code": Column("category", "errors[].code of the answer"),
        "error_pointer": Column("category", "source.pointer or source.parameter of the answer"),
        "answered_by": Column(
            "category",
            "klaviyo, edge, challenge, portal, proxy; missing if neither the line nor our own calls tell",
        ),
        "duration_s": Column("float64", "how long the call took"),
        "retry_after_s": Column("float64", "Retry-After"),
        "request_id": Column("str", "X-Klaviyo-Req-Id or errors[].id"),
        "profile_key": Column("str", "profile id or pseudonym of the address"),
        "profile_domain": Column("category", "domain of the profile's address, lower case"),
        "event_key": Column("str", "unique_id of the event"),
        "attempt": Column("Int64", "1 for the first try"),
        "revision": Column("category", "API revision of the call"),
        "message": Column("str", "what the record says, redacted, 500 characters at most"),
        "parsed": Column("boolean", "False: read by the generic reader only, fields may be missing"),
    },
)

#: One row per webhook delivery that a log tells of.
WEBHOOKS = Schema(
    "WEBHOOKS",
    {
        "timestamp": Column(UTC_NS, "when the line was written"),
        "source": Column("str", "log source"),
        "line_no": Column("Int64", "1-based first line of the record"),
        "topic": Column("str", "e.g. event:klaviyo.opened_email"),
        "outcome": Column("str", "accepted, bad_signature or failed"),
        "sent_at": Column(UTC_NS, "meta.timestamp of the delivery"),
    },
)

#: Samples as the server gave them, one row per series and step. Counters are not yet differenced. A million
#: rows have a few hundred labels: as categories they take a tenth of the memory that texts would.
METRICS = Schema(
    "METRICS",
    {
        "timestamp": Column(UTC_NS, "time of the sample"),
        "role": Column(
            "category", "requests, errors, duration_bucket, ratelimit_remaining, webhooks, alerts: what it is"
        ),
        "name": Column("category", "metric name on the server"),
        "series": Column("category", "all labels as JSON, keys sorted: which series"),
        "endpoint": Column("category", "endpoint label as path template where known"),
        "method": Column("category", "method label"),
        "status": Column("category", "status or status_code label as it stands: 'success', '429', 'unknown'"),
        "error_code": Column("category", "error_code label"),
        "le": Column("float64", "upper bound of a histogram bucket [s]"),
        "value": Column("float64", "sample; counters cumulative, gauges as they are, 1 for a firing alert"),
    },
)

#: One row per round of `triage --watch`; its first is the triage that the evidence was collected by.
WATCH = Schema(
    "WATCH",
    {
        "checked_at": Column(UTC_NS, "when the round began"),
        "round": Column("Int64", "0 for the first"),
        "cause": Column("str", "cause of the round's verdict"),
        "severity": Column("str", "its severity; missing if it has none"),
        "state": Column("str", "good, bad, or unclear: what was bad could not be seen again"),
        "good_in_a_row": Column("Int64", "good rounds since the last bad one"),
        "recovered": Column("boolean", "was the recovery announced in this round?"),
        "calls": Column("Int64", "calls counted in the round's window; missing if none were counted"),
        "failed_calls": Column("Int64", "how many of them failed"),
        "answers": Column("str", "what each probe got, in words"),
        "changes": Column("str", "what changed since the round before; missing if nothing did"),
        "api_calls": Column("Int64", "requests spent on the API host"),
    },
)

#: What a note can be about. All but `note` and `deploy` happen once: the last such note counts.
NOTE_KINDS = ("note", "deploy", "onset", "detected", "acknowledged", "cause_found", "mitigated", "restored",
              "recovered", "stable")  # fmt: skip

#: One row per note that somebody made during the incident.
NOTES = Schema(
    "NOTES",
    {
        "written_at": Column(UTC_NS, "when it was noted"),
        "at": Column(UTC_NS, "when what it tells of was"),
        "kind": Column("str", "note, deploy, or a milestone such as acknowledged; one of `NOTE_KINDS`"),
        "who": Column("str", "who says so"),
        "text": Column("str", "what, redacted"),
    },
)
