"""The sheet that every chart is drawn on: headline, key, UTC axis, incident shaded; and how it is saved.

Matplotlib's object interface only: no pyplot, no global state. Times are drawn as seconds since the window's
start. All text is taken literally (no mathtext) and without characters that the font cannot draw.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Rectangle

from klaviyo_nb.redact import harmless
from klaviyo_nb.report.look import LIGHT, chart_css

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from klaviyo_nb.diagnosis.verdict import Interval, Verdict
    from klaviyo_nb.window import Window

#: Width of every chart [in]; text of 9 points is then 9 px on a phone of 400 px and 13 px on a desk.
WIDTH = 5.0
LEFT, RIGHT, BOTTOM = 0.54, 0.3, 0.5
HEADLINE, TEXT, LINE = 10.5, 9.0, 0.185
PER_LINE = 46
_STEPS_S = (1, 5, 15, 30, 60, 300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200)
_DAY = 86_400
_FONT = ["DejaVu Sans"]  # comes with matplotlib, so that a chart is the same on every machine


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart before it is saved: the figure, the finding in words with figures, the table behind it."""

    figure: Figure
    alt: str
    table: pd.DataFrame


class Sheet:
    """A figure with a headline and a key, and room for axes below.

    Attributes:
        figure: The matplotlib figure.
        top: Distance from the upper edge to where axes may begin [in].
        height: Of the figure [in].
    """

    def __init__(self, headline: str, body: float, key: Sequence[tuple[str, str]] = ()) -> None:
        lines = textwrap.wrap(drawable(headline), PER_LINE) or [""]
        rows = _rows(key)
        self.top = 0.14 + 0.2 * len(lines) + LINE * len(rows) + 0.1
        self.height = self.top + body
        self.figure = Figure(figsize=(WIDTH, self.height), facecolor=LIGHT["paper"])
        self.write(0.12, 0.12, "\n".join(lines), size=HEADLINE, weight="bold", linespacing=1.25)
        for number, row in enumerate(rows):
            self._key_row(row, 0.16 + 0.2 * len(lines) + LINE * number)

    def write(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write `text` with its upper left corner at `x`, `y` [in] from the upper left of the sheet."""
        fixed: dict[str, Any] = {"size": TEXT, "color": LIGHT["ink"], "va": "top", "family": _FONT} | style
        self.figure.text(x / WIDTH, 1 - y / self.height, drawable(text), parse_math=False, **fixed)

    def axes(self, top: float, height: float, left: float = LEFT, right: float = RIGHT) -> Axes:
        """Axes of this height, `top` [in] below the upper edge."""
        box = (
            left / WIDTH,
            1 - (top + height) / self.height,
            1 - (left + right) / WIDTH,
            height / self.height,
        )
        axes = self.figure.add_axes(box, facecolor="none")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(LIGHT["line"])
        axes.tick_params(length=0, labelsize=TEXT, labelcolor=LIGHT["muted"], labelfontfamily=_FONT, pad=4)
        axes.grid(axis="y", color=LIGHT["grid"], linewidth=0.8)
        axes.set_axisbelow(True)
        axes.locator_params(axis="y", nbins=4)
        return axes

    def _key_row(self, row: list[tuple[str, str]], y: float) -> None:
        x = 0.12
        for role, text in row:
            mark = Rectangle(
                (x / WIDTH, 1 - (y + 0.125) / self.height),
                0.1 / WIDTH,
                0.1 / self.height,
                color=LIGHT[role],
                lw=0,
            )
            self.figure.add_artist(mark)
            self.write(x + 0.15, y, text, color=LIGHT["muted"])
            x += _length(text) + 0.3


def _rows(key: Sequence[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """The key's entries, as many per row as fit."""
    rows: list[list[tuple[str, str]]] = []
    x = WIDTH
    for role, text in key:
        width = _length(text) + 0.3
        if x + width > WIDTH - 0.1:
            rows.append([])
            x = 0.12
        rows[-1].append((role, text))
        x += width
    return rows


def _length(text: str) -> float:
    """About how long a text of size `TEXT` is [in]."""
    return 0.077 * len(drawable(text))


def time_axis(axes: Axes, window: Window, *, labelled: bool = True) -> None:
    """Make x run over the window in UTC, with round times as ticks."""
    axes.set_xlim(0, window.seconds)
    times = _ticks(window)
    axes.set_xticks([seconds(window, moment) for moment in times])
    pattern = "%H:%M" if window.seconds <= 2 * _DAY else "%d %b"
    if window.seconds <= 180:
        pattern = "%H:%M:%S"
    axes.set_xticklabels([f"{moment:{pattern}}" if labelled else "" for moment in times])
    if labelled:
        axes.set_xlabel(
            f"UTC, {days(window)}", loc="right", size=TEXT, color=LIGHT["muted"], labelpad=3, family=_FONT
        )


def shade(axes: Axes, verdict: Verdict, *, window: Window | None = None, label: bool = True) -> None:
    """Shade the incident, mark when it began and ended as bands, and say so above the axes.

    Args:
        axes: What to shade; x runs over `window`.
        verdict: When it began and ended.
        window: What x runs over; None for the verdict's.
        label: Say it in words as well.
    """
    if verdict.onset is None:
        return
    window = window or verdict.window
    begin, sure = (seconds(window, moment) for moment in (verdict.onset.earliest, verdict.onset.latest))
    end = seconds(window, verdict.recovered.latest if verdict.recovered else verdict.window.end)
    end = min(end, window.seconds)  # who watched on saw it end after the window
    axes.axvspan(begin, end, color=LIGHT["shade"], lw=0, zorder=0)
    least = window.seconds / 250
    axes.axvspan(begin, max(sure, begin + least), color=LIGHT["edge"], lw=0, zorder=0.1)
    if verdict.recovered:
        first = seconds(window, verdict.recovered.earliest)
        axes.axvspan(min(first, end - least), end, color=LIGHT["edge"], lw=0, zorder=0.1)
    if label:
        early = begin < 0.4 * window.seconds
        axes.text(
            max(begin, 0) if early else window.seconds,
            1.02,
            when(verdict),
            transform=axes.get_xaxis_transform(),
            ha="left" if early else "right",
            va="bottom",
            size=TEXT,
            color=LIGHT["ink"],
            family=_FONT,
        )


def when(verdict: Verdict) -> str:
    """`began 06:19–06:21 · ended 06:41`, `began 06:20 · not seen to end`, or nothing."""
    if verdict.onset is None:
        return ""
    ended = f"ended {span(verdict.recovered)}" if verdict.recovered else "not seen to end"
    return f"began {span(verdict.onset)} · {ended}"


def span(interval: Interval) -> str:
    """`06:19–06:21`, or one time if both are in the same minute."""
    first, last = (clock(moment) for moment in (interval.earliest, interval.latest))
    return first if first == last else f"{first}–{last}"


def clock(moment: datetime) -> str:
    """`06:19`, in UTC."""
    return f"{moment.astimezone(UTC):%H:%M}"


def days(window: Window) -> str:
    """The window's date or dates: `23 Nov 2026`, `22–23 Nov 2026`, `30 Nov – 1 Dec 2026`."""
    first, last = window.start.astimezone(UTC), window.end.astimezone(UTC) - timedelta(microseconds=1)
    end = f"{last.day} {last:%b %Y}"
    if first.date() == last.date():
        return end
    return (
        f"{first.day}–{end}"
        if (first.year, first.month) == (last.year, last.month)
        else f"{first.day} {first:%b} – {end}"
    )


def seconds(window: Window, moment: datetime) -> float:
    """Seconds from the window's start."""
    return (moment - window.start).total_seconds()


def drawable(text: str) -> str:
    """`text` without control and bidi characters, and `�` for what the font has not."""
    known = _characters()
    return "".join(
        char if char == "\n" or ord(char) in known else "�" for char in harmless(text).replace("\t", " ")
    )


def save_png(figure: Figure) -> bytes:
    """The figure as PNG, at 150 dots per inch, with no metadata."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=150, metadata={"Software": None})
    return out.getvalue()


def save_svg(figure: Figure, title: str, alt: str) -> str:
    """The figure as SVG that tells what it shows, turns dark on a dark page, and is the same in every run."""
    out = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": title, "svg.fonttype": "path"}):
        figure.savefig(out, format="svg", metadata=nothing)
    drawing = re.sub(r"<!--.*?-->\s*", "", out.getvalue(), flags=re.DOTALL)
    drawing = drawing[drawing.index("<svg ") :]
    head, _, rest = drawing.partition(">")
    told = f"<title>{escape(harmless(title))}</title><desc>{escape(harmless(alt))}</desc>"
    return f'{head} role="img">{told}<style>{chart_css()}</style>{rest}'


@cache
def _characters() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties(family=_FONT))).get_charmap())


def _ticks(window: Window) -> list[datetime]:
    most = window.seconds / 6
    step = next((each for each in _STEPS_S if each >= most), -(-int(most) // _DAY) * _DAY)
    first = -(-window.start.timestamp() // step) * step
    count = int((window.end.timestamp() - first) // step) + 1
    return [datetime.fromtimestamp(first + number * step, UTC) for number in range(count)]
