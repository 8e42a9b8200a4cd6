"""What differs between failing calls and the others: a host, a worker, an endpoint, a pair of such values?

Calls are no coin tosses: a failing one is retried, bursts of failures hit everybody, a job runs while others
sleep. So calls are only compared with calls of the same stretch of time, and the evidence is divided by how
much failures come in clumps. docs/design/contrast.md says how, and how often it is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from klaviyo_nb.intervals import newcombe
from klaviyo_nb.lines import many
from klaviyo_nb.logs.questions import strata
from klaviyo_nb.logs.questions.clumped import LEAST, LEAST_STRETCHES, tested
from klaviyo_nb.logs.questions.counts import failure_kinds
from klaviyo_nb.logs.questions.question import Answer, Question, Records, of_calls
from klaviyo_nb.logs.questions.strata import Strata

if TYPE_CHECKING:
    from klaviyo_nb.window import Window

#: What failing and other calls both have. An error code, or the field that was refused, is the failure.
ATTRIBUTES = ("endpoint", "method", "host", "worker", "caller", "revision", "sdk", "profile_domain")
SINGLES = tuple((attribute,) for attribute in ATTRIBUTES)
PAIRS = tuple(combinations(ATTRIBUTES, 2))
TABLES = (*SINGLES, *PAIRS)
#: What is named differs by chance alone in fewer than so many of all answers.
ALPHA = 0.01
#: A pair is more than either of its values by chance alone in fewer than so many.
ALPHA_PAIR = 0.05
#: Different fields of payloads that are counted.
MOST_FIELDS = 10_000
#: Stands between two attributes, and between their values.
AND = " & "
_COLUMNS = {"attribute": "str", "value": "str", "failing_share": "float64", "other_share": "float64",
            "low": "float64", "high": "float64", "p_adjusted": "float64", "calls": "int64", "failed": "int64",
            "fails": "float64", "others_fail": "float64"}  # fmt: skip


class Part(NamedTuple):
    """What some calls tell.

    Attributes:
        tables: Per attribute, and per pair of them: counts; None where there are too many different values.
        calls: In the window.
        failed: Those that failed.
        untimed: Calls without a time.
        fields: Field of the payload → failing calls that were refused for it; None: too many different ones.
    """

    tables: Mapping[tuple[str, ...], Strata | None]
    calls: int
    failed: int
    untimed: int
    fields: Mapping[str, int] | None


def part(records: Records, window: Window) -> Part:
    """Count calls by stretch of time and value."""
    calls, since = strata.timed(records.calls, window)
    kinds = failure_kinds(calls)
    failed = kinds.notna().to_numpy()
    counts = since // (strata.stretch_s(window) * 10**9), np.ones(len(calls)), failed
    coded = {name: strata.coded(calls[name]) for name in ATTRIBUTES}
    tables = {names: strata.counted({name: coded[name] for name in names}, *counts) for names in TABLES}
    untimed = int(records.calls["timestamp"].isna().sum())
    refused = calls.loc[(kinds == "invalid").to_numpy(), "error_pointer"]  # a 429 points at all of it
    fields = refused.astype("str").value_counts()
    few = _few({str(name): int(count) for name, count in fields.items()})
    return Part(_given_up(tables), len(calls), int(failed.sum()), untimed, few)


def merge(parts: Sequence[Part]) -> Part:
    """Parts added up."""
    tables = {names: strata.merged([each.tables[names] for each in parts]) for names in TABLES}
    fields: Counter[str] = Counter()
    for each in parts:
        fields.update(each.fields or {})
    few = None if any(each.fields is None for each in parts) else _few(fields)
    calls, failed, untimed = np.sum([each[1:4] for each in parts], axis=0).tolist()
    return Part(_given_up(tables), calls, failed, untimed, few)


def _few(fields: Mapping[str, int]) -> dict[str, int] | None:
    return dict(fields) if len(fields) <= MOST_FIELDS else None


def _given_up(tables: Mapping[tuple[str, ...], Strata | None]) -> dict[tuple[str, ...], Strata | None]:
    """A pair goes with its attributes, so that it does not matter in which part they were given up."""
    lost = {name[0] for name, table in tables.items() if len(name) == 1 and table is None}
    return {name: None if lost & set(name) else table for name, table in tables.items()}


def contrast(calls: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Values, and pairs of values, that failing calls have more often than other calls of the same moments.

    Args:
        calls: CALLS frame.
        window: Calls outside it are left out.

    Returns:
        Most telling first; what another row explains is left out, unless both are of the same calls.
        `attribute`, `value` (two of each, with ` & ` between them), `failing_share`, `other_share` (of the
        failing calls, and of the others, that have it), `low`, `high` (95 % interval of the difference),
        `p_adjusted`, `calls`, `failed` (that have it), `fails`, `others_fail` (share that failed, with and
        without it). Shares are of calls whose attribute the log tells.
    """
    return _rows(part(of_calls(calls).inside(window), window))


def in_words(row: pd.Series[Any]) -> str:
    """Of a row of `contrast`: `worker web-3`, or of a pair `method POST & caller export`."""
    return AND.join(map(" ".join, zip(row["attribute"].split(AND), row["value"].split(AND), strict=False)))


class _Found(NamedTuple):
    """A value or pair that was tested; the counts are of calls whose attributes are told."""

    name: tuple[str, ...]
    value: tuple[str, ...]
    calls: int
    failed: int
    all_calls: int
    all_failed: int
    clump: float
    gain: float
    chance: float
    p_adjusted: float = 1.0

    @property
    def terms(self) -> dict[str, str]:
        return dict(zip(self.name, self.value, strict=True))


def _rows(told: Part) -> pd.DataFrame:
    return pd.DataFrame(map(_row, _named(told)), columns=list(_COLUMNS)).astype(_COLUMNS)


def _row(each: _Found) -> tuple[Any, ...]:
    """As in `_COLUMNS`."""
    failed, fine = each.failed, each.calls - each.failed
    all_failed, all_fine = each.all_failed, each.all_calls - each.all_failed
    low, high = newcombe(*(count / each.clump for count in (failed, all_failed, fine, all_fine)))
    elsewhere = (all_failed - failed) / (each.all_calls - each.calls)
    return (
        AND.join(each.name), AND.join(each.value), failed / all_failed, fine / all_fine, low, high,
        each.p_adjusted, each.calls, failed, failed / each.calls, elsewhere,
    )  # fmt: skip


def _named(told: Part) -> list[_Found]:
    """What differs, most telling first, without what others explain."""
    found = {names: list(_of(table)) for names, table in told.tables.items() if table is not None}
    families = [
        [each for name in names if name in found for each in found[name]] for names in (SINGLES, PAIRS)
    ]
    significant = [each for family in families for each in _significant(family, len(families))]
    kept: list[_Found] = []
    for each in sorted(significant, key=lambda each: (-each.gain / each.all_calls, len(each.name))):
        if not any(_explains(told, one, each, len(families[0])) for one in kept):
            kept.append(each)
    return kept


def _significant(tests: list[_Found], families: int) -> Iterator[_Found]:
    """Those that are significant after Holm's correction for all that were tried."""
    worst = 0.0
    for rank, each in enumerate(sorted(tests, key=lambda each: each.chance)):
        worst = max(worst, min(1.0, each.chance * (len(tests) - rank) * families))
        if worst > ALPHA:
            return
        yield each._replace(p_adjusted=worst)


def _of(table: Strata) -> Iterator[_Found]:
    """Tests of one table. A pair must differ from all calls, and from those that share one of its values."""
    cells, names = table.cells, tuple(table.values)
    if cells.empty:
        return
    codes = [cells[name].to_numpy() for name in names]
    shape = [len(values) for values in table.values.values()]
    group, pairs = pd.factorize(np.ravel_multi_index(codes, shape))
    values: Any = np.unravel_index(pairs, shape)
    stretch = cells["stretch"].to_numpy()
    found = tested(cells, group, stretch)
    sure = np.full(len(pairs), True)
    if len(names) > 1:
        for code, value, size in zip(codes, values, shape, strict=True):
            within = tested(cells, group, stretch * size + code).chance
            sure &= within * np.bincount(value)[value] < ALPHA_PAIR
    all_calls, all_failed = int(cells["calls"].sum()), int(cells["failed"].sum())
    for at in np.flatnonzero((found.calls >= LEAST) & (found.calls < all_calls)):
        calls, failed, clump, gain, chance = (each[at].item() for each in found)
        value = tuple(table.values[name][int(place[at])] for name, place in zip(names, values, strict=True))
        yield _Found(
            names, value, calls, failed, all_calls, all_failed, clump, gain, chance if sure[at] else 1.0
        )


def _explains(told: Part, one: _Found, other: _Found, tried: int) -> bool:
    """Does the other, a single value, differ no more once the calls of the one are left out?"""
    if len(other.name) > 1:
        return False
    wholly = len({*one.name, *other.name}) <= len(PAIRS[0])
    parts = [one.terms] if wholly else [{name: value} for name, value in one.terms.items()]
    return any(_leaves_nothing(told, terms, other, tried) for terms in parts)


def _leaves_nothing(told: Part, terms: Mapping[str, str], other: _Found, tried: int) -> bool:
    table = told.tables[tuple(each for each in ATTRIBUTES if each in {*terms, *other.name})]
    if table is None:
        return False
    without = np.logical_or.reduce([~_has(table, name, value) for name, value in terms.items()])
    sort = _has(table, other.name[0], other.value[0])
    if not (sort & without).any() and not (~sort & ~without).any():
        return False  # the same calls: nobody knows which of the two it is
    rest = table.cells[without]
    left = tested(rest, sort[without].astype(int), rest["stretch"].to_numpy())
    return len(left.chance) < 2 or bool(left.chance[1] * tried > ALPHA)


def _has(table: Strata, name: str, value: str) -> Any:
    """Which cells have this value? -1: none has."""
    values = table.values[name]
    return (table.cells[name] == (values.index(value) if value in values else -1)).to_numpy()


def answer(told: Part, window: Window) -> Answer:
    """What differs, in one sentence."""
    rows = _rows(told)
    return Answer("contrast", _says(told, rows), rows, tuple(_covers(told)))


def _says(told: Part, rows: pd.DataFrame) -> str:
    failing = f"{told.failed:,} of {many(told.calls, 'call')} failed"
    if reason := _untold(told):
        return f"Cannot tell what differs: {reason}{_field(told)}."
    if rows.empty:
        alike = f"{failing}, and they are spread alike{_field(told)}"
        return f"Nothing tells the failing calls from the others: {alike}."
    first = rows.iloc[0]
    more = f"; {len(rows) - 1} more differ" if len(rows) > 1 else ""
    more += _field(told)
    return (
        f"{in_words(first)}: {first['fails']:.0%} of its {first['calls']:,} calls "
        f"failed, of the others {first['others_fail']:.1%}; it has {first['failing_share']:.0%} of the "
        f"failing calls and {first['other_share']:.0%} of the others{more}."
    )


def _field(told: Part) -> str:
    """The field of the payload that most refusals name: no call that worked has one to compare with."""
    field, count = max((told.fields or {}).items(), key=lambda each: (each[1], each[0]), default=("", 0))
    return f"; {count / told.failed:.0%} of the failing calls are refused for {field}" if count else ""


def _untold(told: Part) -> str | None:
    """Why nothing could be compared."""
    if not told.calls:
        return "no call with a time was found in the window"
    if told.failed < LEAST:
        few = f"{told.failed} of {many(told.calls, 'call')} failed, too few to compare"
        return few if told.failed else f"none of {many(told.calls, 'call')} failed"
    if told.failed == told.calls:
        return f"all {told.calls:,} calls failed"
    single = [table for name, table in told.tables.items() if len(name) == 1 and table is not None]
    if not any(table.cells["failed"].sum() >= LEAST for table in single):
        return "the log tells no attribute of the failing calls"
    if all(len(value) < 2 for table in single for value in table.values.values()):
        return f"all {told.calls:,} calls are alike in what the log tells of them"
    if (
        max(table.cells.loc[table.cells["failed"] > 0, "stretch"].nunique() for table in single)
        < LEAST_STRETCHES
    ):
        return f"the {told.failed:,} failing calls lie in one burst"
    return None


def _covers(told: Part) -> Iterator[str]:
    if told.untimed:
        yield f"{told.untimed:,} calls without a time are left out."
    tables = {name: table for name, table in told.tables.items() if told.calls}
    untold = [name[0] for name, table in tables.items() if len(name) == 1 and table and table.cells.empty]
    if untold:
        yield f"The log does not tell: {', '.join(untold)}."
    lost = [name for name, table in tables.items() if table is None]
    if lost:
        yield f"Too many different values to compare: {', '.join(AND.join(name) for name in lost)}."
    if told.fields is None:
        yield f"More than {MOST_FIELDS:,} different fields were refused; none is named."
    elif told.fields:
        yield "A field of the payload is told by its refusal only, so it is counted, not compared."


QUESTION = Question("contrast", part, merge, answer)
