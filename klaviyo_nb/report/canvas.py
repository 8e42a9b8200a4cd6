"""The sheet that every chart is drawn on: headline, key, axes; and how it is saved.

Matplotlib's object interface only: no pyplot, no global state. Axes are typed `Any` where x is a datetime, as
matplotlib's types know none there. All text is literal (no mathtext), without characters that the font lacks.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary
from xml.sax.saxutils import escape

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path

from klaviyo_nb.redact import harmless
from klaviyo_nb.report.look import LIGHT, chart_css

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Width of every chart [in]; text of 9 points is then 9 px on a phone of 400 px and 13 px on a desk.
WIDTH = 5.0
LEFT, RIGHT, BOTTOM = 0.54, 0.3, 0.5
HEADLINE, TEXT, LINE = 10.5, 9.0, 0.185
PER_LINE = 50
#: Above the first of several rows, for the marks on the upper edge [in].
PAD = 0.06
#: From the left of a colour in a key to its words [in].
_SWATCH = 0.17
#: What is behind words that lines may cross.
BEHIND = MappingProxyType({"facecolor": LIGHT["paper"], "edgecolor": "none", "pad": 1, "alpha": 0.88})
FONT = ["DejaVu Sans"]  # comes with matplotlib, so that a chart is the same on every machine
#: Of charts, zlib's third level makes no larger files than its sixth, in two thirds of the time.
_PNG = MappingProxyType({"compress_level": 3})
_PAINTED: WeakKeyDictionary[Figure, bytes] = WeakKeyDictionary()


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
        headline: The finding.
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
        self.headline = headline
        lines = textwrap.wrap(drawable(headline), PER_LINE) or [""]
        below = 0.14 + 0.2 * len(lines)
        places = list(_flow([drawable(text) for _, text in key], below + 0.04))
        self.top = (places[-1][1] + LINE if places else below) + 0.1
        self.height = math.ceil(30 * (self.top + body)) / 30  # whole pixels
        self.figure = Figure(figsize=(WIDTH, self.height), facecolor=LIGHT["paper"])
        self.write(0.12, 0.12, "\n".join(lines), size=HEADLINE, weight="bold", linespacing=1.25)
        for (x, y), (role, text) in zip(places, key, strict=True):
            self.box(x, y + 0.02, 0.1, 0.1, role)
            self.write(x + _SWATCH, y, text, color=LIGHT["muted"])

    def write(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write `text` with its upper left corner at `x`, `y` [in] from the upper left of the sheet."""
        fixed: dict[str, Any] = {"size": TEXT, "color": LIGHT["ink"], "va": "top", "family": FONT} | style
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
        axes.tick_params(length=0, labelsize=TEXT, labelcolor=LIGHT["muted"], labelfontfamily=FONT, pad=4)
        axes.tick_params(axis="x", pad=7)  # the first time stands beside the lowest number
        axes.grid(axis="y", color=LIGHT["grid"], linewidth=0.8)
        axes.set_axisbelow(True)
        axes.locator_params(axis="y", nbins=4)
        return axes

    def box(self, x: float, y: float, width: float, height: float, role: str) -> None:
        """A rectangle in the colour of `role`, its upper left corner at `x`, `y` [in]."""
        place = (x / WIDTH, 1 - (y + height) / self.height)
        size = (width / WIDTH, height / self.height)
        self.figure.add_artist(
            Rectangle(place, *size, color=LIGHT[role], lw=0, transform=self.figure.transFigure)
        )

    def drawn(self, alt: str, table: pd.DataFrame) -> Drawn:
        """The chart when all is drawn: its alt text begins with the headline, which is the finding."""
        return Drawn(self.figure, f"{self.headline}. {alt}", table)


def _flow(texts: Sequence[str], top: float) -> Iterator[tuple[float, float]]:
    """Where each text of a key begins [in]: one after the other, on as many lines as it takes."""
    x, y = 0.12, top
    for text in texts:
        wide = _SWATCH + breadth(text)
        if x > 0.12 and x + wide > WIDTH - 0.12:
            x, y = 0.12, y + LINE
        yield x, y
        x += wide + 0.2


def breadth(text: str, size: float = TEXT) -> float:
    """How wide `text` is on the sheet [in]."""
    points, _, _ = text_to_path.get_text_width_height_descent(
        text, FontProperties(family=FONT, size=size), ismath=False
    )
    return float(points) / 72


def message(title: str, alt: str) -> Drawn:
    """A sheet that says in words why there is nothing to see."""
    said = alt.removeprefix(f"{title}: ")
    lines = textwrap.wrap(drawable(said[:1].upper() + said[1:]), 60)[:12]
    sheet = Sheet(title, 0.15 + 0.18 * len(lines))
    sheet.write(0.12, sheet.top, "\n".join(lines), color=LIGHT["muted"], linespacing=1.35)
    return Drawn(sheet.figure, alt, pd.DataFrame({"not_observed": [alt]}))


def drawable(text: str) -> str:
    """`text` without control and bidi characters, and `�` for what the font has not."""
    known = _characters()
    return "".join(
        char if char == "\n" or ord(char) in known else "�" for char in harmless(text).replace("\t", " ")
    )


def painted(figure: Figure, png: bytes) -> None:
    """Keep for `save_png` what it gave elsewhere, unless the figure is changed until it is asked."""
    _PAINTED[figure] = png
    figure.stale = False


def save_png(figure: Figure) -> bytes:
    """The figure as PNG, at 150 dots per inch, with no metadata."""
    painted = _PAINTED.pop(figure, None)
    if painted and not figure.stale:
        return painted
    out = io.BytesIO()
    with mpl.rc_context({"text.hinting": "none"}):  # at this size nobody sees it, and it takes a fifth
        figure.savefig(out, format="png", dpi=150, metadata={"Software": None}, pil_kwargs=dict(_PNG))
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
    return frozenset(get_font(findfont(FontProperties(family=FONT))).get_charmap())
