"""The sheet that every chart is drawn on: headline, key, UTC axis, incident shaded; and how it is saved.

Matplotlib's object interface only: no pyplot, no global state. Axes are typed `Any` where x is a datetime, as
matplotlib's types know none there. All text is literal (no mathtext), without characters that the font lacks.
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
import pandas as pd
from matplotlib.dates import AutoDateLocator, DateFormatter
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Rectangle

from klaviyo_nb.redact import harmless
from klaviyo_nb.report.look import LIGHT, chart_css

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from klaviyo_nb.diagnosis.verdict import Interval, Verdict
    from klaviyo_nb.window import Window

#: Width of every chart [in]; text of 9 points is then 9 px on a phone of 400 px and 13 px on a desk.
WIDTH = 5.0
LEFT, RIGHT, BOTTOM = 0.54, 0.3, 0.5
HEADLINE, TEXT, LINE = 10.5, 9.0, 0.185
PER_LINE = 46
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
        """Make one.

        Args:
            headline: The finding.
            body: Height of all that comes below headline and key [in].
            key: Role of a colour and what it stands for, in order.
        """
        lines = textwrap.wrap(drawable(headline), PER_LINE) or [""]
        longest = max((len(text) for _, text in key), default=0)
        columns = max(1, min(len(key), 62 // (longest + 4)))
        below = 0.14 + 0.2 * len(lines)
        self.top = below + LINE * -(-len(key) // columns) + 0.1
        self.height = self.top + body
        self.figure = Figure(figsize=(WIDTH, self.height), facecolor=LIGHT["paper"])
        self.write(0.12, 0.12, "\n".join(lines), size=HEADLINE, weight="bold", linespacing=1.25)
        if key:
            self._key(key, columns, below)

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

    def _key(self, key: Sequence[tuple[str, str]], columns: int, top: float) -> None:
        marks = [Rectangle((0, 0), 1, 1, color=LIGHT[role], lw=0) for role, _ in key]
        legend = self.figure.legend(
            marks, [drawable(text) for _, text in key], ncols=columns, loc="upper left", borderpad=0,
            bbox_to_anchor=(0.12 / WIDTH, 1 - top / self.height), borderaxespad=0, frameon=False,
            prop={"size": TEXT, "family": _FONT}, labelcolor=LIGHT["muted"], labelspacing=0.32,
            handlelength=0.8, handleheight=0.8, handletextpad=0.5, columnspacing=1.5,
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_parse_math(False)


def message(title: str, alt: str) -> Drawn:
    """A sheet that says in words why there is nothing to see."""
    lines = textwrap.wrap(drawable(alt.removeprefix(f"{title}: ")), 60)[:12]
    sheet = Sheet(title, 0.15 + 0.18 * len(lines))
    sheet.write(0.12, sheet.top, "\n".join(lines), color=LIGHT["muted"], linespacing=1.35)
    return Drawn(sheet.figure, alt, pd.DataFrame({"not_observed": [alt]}))


def time_axis(axes: Any, window: Window, *, labelled: bool = True) -> None:
    """Make x run over the window in UTC, with round times as ticks."""
    axes.set_xlim(window.start, window.end)
    pattern = "%H:%M:%S" if window.seconds <= 180 else "%H:%M" if window.seconds <= 2 * 86_400 else "%d %b"
    times = AutoDateLocator(UTC, minticks=3, maxticks=7).tick_values(window.start, window.end)
    axes.set_xticks(times)  # not the locator itself, which would work them out again in every drawing
    axes.xaxis.set_major_formatter(DateFormatter(pattern if labelled else "", UTC))
    if labelled:
        axes.set_xlabel(
            f"UTC, {days(window)}", loc="right", size=TEXT, color=LIGHT["muted"], labelpad=3, family=_FONT
        )


def shade(axes: Any, verdict: Verdict, *, window: Window | None = None, label: bool = True) -> None:
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
    least = (window.end - window.start) / 250
    begin, sure = verdict.onset.earliest, verdict.onset.latest
    end = verdict.recovered.latest if verdict.recovered else verdict.window.end
    end = min(end, window.end)  # who watched on saw it end after the window
    bands = [("shade", begin, end), ("edge", begin, max(sure, begin + least))]
    if verdict.recovered:
        bands.append(("edge", min(verdict.recovered.earliest, end - least), end))
    for order, (role, start, until) in enumerate(bands):
        axes.axvspan(start, until, color=LIGHT[role], lw=0, zorder=order / 10)
    if label:
        early = begin - window.start < 0.4 * (window.end - window.start)
        axes.text(
            max(begin, window.start) if early else window.end,
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
