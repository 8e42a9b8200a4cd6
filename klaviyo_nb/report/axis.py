"""The time axis that charts share: one UTC axis, incident shaded, bands where it began and ended, markers.

Charts of one window stand below each other on a page: the same moment is at the same place in all of them,
and looks the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from matplotlib.dates import AutoDateLocator, num2date

from klaviyo_nb.diagnosis.times import written_of
from klaviyo_nb.diagnosis.verdict import Interval
from klaviyo_nb.redact import harmless
from klaviyo_nb.report.canvas import BOTTOM, FONT, LEFT, RIGHT, TEXT, WIDTH, Sheet, breadth
from klaviyo_nb.report.look import LIGHT
from klaviyo_nb.report.timeline import before, page, under_way, unknown
from klaviyo_nb.report.words import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from klaviyo_nb.diagnosis.verdict import Verdict
    from klaviyo_nb.evidence import Evidence
    from klaviyo_nb.window import Window

#: Height of a line above the axes: the unit and when the incident was, names of markers [in].
STRIP = 0.2
#: Kind of moment → role of its colour, its mark on the upper edge, and that mark as a character.
_MARKERS = {"deploy": ("ink", "v", "▼"), "status page": ("series", "D", "◆")}


class Moment(NamedTuple):
    """Something that happened: when, and its kind."""

    at: datetime
    kind: str


def plot(
    headline: str,
    key: Sequence[tuple[str, str]],
    unit: str,
    evidence: Evidence,
    verdict: Verdict,
    height: float = 1.38,
) -> tuple[Sheet, Axes]:
    """A sheet with axes of this height [in] over the window: UTC, incident, bands and markers on it."""
    moments, said, past = happened(evidence), when(verdict, evidence), _earlier(evidence, verdict)
    beside = breadth(unit) + max(map(breadth, said), default=0.0) < WIDTH - 0.6
    lines = [*said] if beside and said else [*([unit] if unit else []), *said]
    above = STRIP * (len(lines) + bool(moments)) + 0.06
    sheet = Sheet(headline, above + height + BOTTOM, key)
    sheet.write(0.12, sheet.top, unit, color=LIGHT["muted"])
    for below, line in enumerate(said, len(lines) - len(said)):
        right, y = WIDTH - 0.12 - breadth(line), sheet.top + STRIP * below
        sheet.write(right, y, line)
        sheet.box(right - 0.16, y + 0.035, 0.1, 0.1, "edge")
    sheet.top += above
    axes = sheet.axes(sheet.top, height)
    _time_axis(axes, evidence.window)
    for began, ended in past:
        _shade(axes, began, ended, evidence.window)
    if verdict.onset or under_way(evidence):
        _shade(axes, verdict.onset, verdict.recovered, evidence.window)
    _mark(axes, moments)
    for left, name in _names(moments, evidence.window):
        sheet.write(left, sheet.top - STRIP - 0.03, name, size=TEXT - 0.5)
    return sheet, axes


def _time_axis(axes: Any, window: Window) -> None:
    """Make x run over the window in UTC, with round times as ticks."""
    axes.set_xlim(window.start, window.end)
    times = AutoDateLocator(UTC, minticks=3, maxticks=7).tick_values(window.start, window.end)
    # not the locator and a formatter, which would work them out again in every drawing
    axes.set_xticks(times, [_tick(num2date(each, UTC), window) for each in times])
    axes.set_xlabel(
        f"UTC, {days(window)}", loc="right", size=TEXT, color=LIGHT["muted"], labelpad=3, family=FONT
    )


def _tick(at: datetime, window: Window) -> str:
    """Its time; at midnight of a long window the day that begins, as times alone would stand there twice."""
    if window.seconds >= 86_400 and at.hour == at.minute == 0:
        return f"{at.day} {at:%b}"
    return f"{at:{'%H:%M:%S' if window.seconds <= 180 else '%H:%M'}}"


def _shade(axes: Any, began: Interval | None, ended: Interval | None, window: Window) -> None:
    """Shade an incident, and mark when it began and ended as bands; None: not in the window."""
    least = (window.end - window.start) / 200
    begin = began.earliest if began else window.start
    end = min(ended.latest if ended else window.end, window.end)  # who watched on saw it end after the window
    bands = [("shade", begin, end)]
    if began:
        bands.append(("edge", begin, max(began.latest, begin + least)))
    if ended:
        bands.append(("edge", min(ended.earliest, end - least), end))
    for order, (role, start, until) in enumerate(bands):
        axes.axvspan(start, until, color=LIGHT[role], lw=0, zorder=order / 10)


def _mark(axes: Any, moments: Sequence[Moment]) -> None:
    """A dashed line for each moment, and a mark on the upper edge."""
    upper = axes.get_xaxis_transform()
    for at, kind in moments:
        role, shape, _ = _MARKERS[kind]
        axes.axvline(at, color=LIGHT[role], lw=1, ls=(0, (3, 2)), zorder=3)
        axes.plot(
            [at], [1.0], shape, color=LIGHT[role], markersize=5, transform=upper, clip_on=False, zorder=4
        )


def _names(moments: Sequence[Moment], window: Window) -> list[tuple[float, str]]:
    """Where each name begins [in], and the name; moments too close for two names share one."""
    groups: list[list[Moment]] = []
    for each in moments:
        if groups and _place([each], window)[0] < _place(groups[-1], window)[1] + 0.1:
            groups[-1].append(each)
        else:
            groups.append([each])
    return [(_place(group, window)[0], _name(group)) for group in groups]


def _place(group: Sequence[Moment], window: Window) -> tuple[float, float]:
    """From where to where the name of these goes [in]: from the first on, or up to the last."""
    across, whole = WIDTH - LEFT - RIGHT, window.end - window.start
    first, last = (LEFT + across * ((each.at - window.start) / whole) for each in (group[0], group[-1]))
    wide = breadth(_name(group), TEXT - 0.5)
    left = first - 0.05 if first + wide < WIDTH - 0.12 else last + 0.05 - wide
    return left, left + wide


def _name(group: Sequence[Moment]) -> str:
    """`▼ deploy + ◆ status page`: which mark is which, where several share the place for names."""
    return " + ".join(dict.fromkeys(f"{_MARKERS[each.kind][2]} {each.kind}" for each in group))


def happened(evidence: Evidence) -> list[Moment]:
    """Deploys that people noted and posts of Klaviyo's page in the window, in order."""
    found = [Moment(entry.at, "status page") for entry in page(evidence)]
    if evidence.notes is not None:
        noted = evidence.notes.loc[evidence.notes["kind"] == "deploy", "at"].dropna()
        found += [Moment(at.to_pydatetime(), "deploy") for at in noted]
    return sorted(each for each in found if evidence.window.start <= each.at < evidence.window.end)


def _earlier(evidence: Evidence, verdict: Verdict) -> list[tuple[Interval, Interval]]:
    return before(evidence, verdict.onset.earliest if verdict.onset else None)


def told(evidence: Evidence, verdict: Verdict) -> str:
    """What every chart over the window shows, as sentences: incidents, markers, extent."""
    window = evidence.window
    kinds: dict[str, list[str]] = {}
    for at, kind in happened(evidence):
        kinds.setdefault(kind, []).append(moment(at, window))
    names = "; ".join(f"{kind} at {', '.join(times)}" for kind, times in kinds.items())
    marked = f" Marked: {names}." if names else ""
    dated = is_long(window)
    past = " and from ".join(
        f"{span(one, dated)} to {span(end, dated)}" for one, end in _earlier(evidence, verdict)
    )
    earlier = f" Calls also failed earlier, from {past}." if past else ""
    return f"{_incident(evidence, verdict, window)}{earlier}{marked} {extent(window)}."


def _incident(evidence: Evidence, verdict: Verdict, window: Window) -> str:
    """When failures began and ended, as a sentence."""
    dated = is_long(window)
    if verdict.onset:
        began = _at(verdict.onset, dated) + _noted(evidence, "onset")
    elif under_way(evidence):
        began = "before what was read"
    else:
        return f"{unknown(evidence)}."
    ended = "were not seen to end"
    if verdict.recovered:
        ended = f"ended {_at(verdict.recovered, dated)}{_noted(evidence, 'recovered')}"
    return f"Failures began {began} and {ended}."


def _at(interval: Interval, dated: bool) -> str:
    """`between 06:19:58 and 06:20:03`, or `at 06:20`."""
    said = span(interval, dated)
    return f"between {said.replace('–', ' and ')}" if "–" in said else f"at {said}"


def _noted(evidence: Evidence, name: Literal["onset", "recovered"]) -> str:
    """` (written by jo)`, where a person wrote that moment over what was counted."""
    written = written_of(evidence, name)
    return f" (written by {shortened(harmless(written.who or 'nobody named'), 20)})" if written else ""


def lasted(evidence: Evidence, verdict: Verdict) -> tuple[datetime, datetime] | None:
    """From when to when calls surely failed, within the window; None where no incident was found."""
    window = evidence.window
    if verdict.onset is None and not under_way(evidence):
        return None
    begin = verdict.onset.latest if verdict.onset else window.start
    return begin, min(verdict.recovered.earliest if verdict.recovered else window.end, window.end)


def extent(window: Window) -> str:
    """`05:00 to 07:00 UTC, 23 Nov 2026`."""
    return f"{clock(window.start)} to {clock(window.end)} UTC, {days(window)}"


def when(verdict: Verdict, evidence: Evidence) -> list[str]:
    """`began 06:19–06:21 · ended 06:41`, `1 earlier · began 06:20 · not seen to end`, in lines that fit."""
    dated, past = is_long(evidence.window), _earlier(evidence, verdict)
    if verdict.onset:
        began = f"began {span(verdict.onset, dated)}{_noted(evidence, 'onset')}"
        began = f"{len(past)} earlier · {began}" if past else began
    elif under_way(evidence):
        began = "began before what was read"
    else:
        return []
    ended = "not seen to end"
    if verdict.recovered:
        ended = f"ended {span(verdict.recovered, dated)}{_noted(evidence, 'recovered')}"
    whole = f"{began} · {ended}"
    return [whole] if breadth(whole) < WIDTH - 0.4 else [began, ended]


def span(interval: Interval, dated: bool = False) -> str:
    """`06:19:58–06:20:03`, or one time; `06:19–06:21` in whole minutes; `20 Nov 06:19–06:21` if `dated`."""
    begun, done = (moment.astimezone(UTC) for moment in (interval.earliest, interval.latest))
    form = "%H:%M:%S" if begun.second or done.second else "%H:%M"
    first, last = f"{begun:{form}}", f"{done:{form}}"
    if dated:
        first = f"{begun.day} {begun:%b} {first}"
        last = last if done.date() == begun.date() else f"{done.day} {done:%b} {last}"
    return first if begun == done else f"{first}–{last}"


def moment(at: datetime, window: Window) -> str:
    """`06:19`, in UTC; `20 Nov 06:19` in a long window."""
    day = at.astimezone(UTC)
    return f"{day.day} {day:%b} {clock(at)}" if is_long(window) else clock(at)


def is_long(window: Window) -> bool:
    """Does it hold a time of the day more than once?"""
    return window.end - window.start > timedelta(days=1)


def clock(moment: datetime) -> str:
    """`06:19`, in UTC."""
    return f"{moment.astimezone(UTC):%H:%M}"


def days(window: Window) -> str:
    """The dates: `23 Nov 2026`, `22–23 Nov 2026`, `30 Nov – 1 Dec 2026`, `31 Dec 2026 – 1 Jan 2027`."""
    first, last = window.start.astimezone(UTC), window.end.astimezone(UTC) - timedelta(microseconds=1)
    end = f"{last.day} {last:%b %Y}"
    if first.date() == last.date():
        return end
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}–{end}"
    return f"{first.day} {first:{'%b' if first.year == last.year else '%b %Y'}} – {end}"
