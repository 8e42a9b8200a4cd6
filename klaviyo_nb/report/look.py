"""How everything we show looks: templates of pages, one palette for charts and pages, in light and in dark.

Every pair of text and ground has a contrast of at least 4.5 : 1 (WCAG AA). The colours of failures differ in
lightness too, so that a chart printed in grey can still be read, and stay apart without one kind of cones
(`tests/report/test_palette.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from klaviyo_nb.redact import harmless
from klaviyo_nb.report.words import shortened

#: Role → colour in light, colour in dark. No two roles share a light colour, because a chart is darkened by
#: replacing one by the other.
COLOURS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "paper": ("#ffffff", "#15181c"),
        "panel": ("#f5f6f8", "#1d2227"),
        "ink": ("#1c2127", "#e8eaed"),
        "muted": ("#57606a", "#a3acb6"),
        "line": ("#cbd2d9", "#3a424b"),
        "grid": ("#e7eaee", "#272d33"),
        "shade": ("#fbefe6", "#2b221c"),
        "edge": ("#f2cfb4", "#54392a"),
        "link": ("#0a58a6", "#79b8f3"),
        "well": ("#b7c3cf", "#4d5966"),
        "good": ("#1a7f37", "#57c271"),
        "throttled": ("#cf5400", "#ff8a3d"),
        "refused": ("#7b3fa0", "#c79be6"),
        "invalid": ("#c48a00", "#f2c14e"),
        "server": ("#98122b", "#e8506a"),
        "silent": ("#0a0c0f", "#d0d7de"),
        "series": ("#0b62a8", "#6cb2ee"),
        "band": ("#c3dbef", "#1f4464"),
        "p1": ("#a8142f", "#a8142e"),
        "p2": ("#b34a00", "#b34a01"),
        "p3": ("#0b5cad", "#0b5cae"),
        "p4": ("#566069", "#56606a"),
    }
)

LIGHT: Mapping[str, str] = MappingProxyType({role: light for role, (light, _) in COLOURS.items()})

#: No script, nothing loaded from anywhere; images only as data in the file itself.
CSP = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; base-uri 'none';"
    " form-action 'none'"
)


def command(text: str) -> Markup:
    """A command whose options are kept whole: a browser breaks lines behind any hyphen, in `--since` too."""
    words = re.split(r"(\s+)", harmless(text))
    return Markup().join(
        Markup("<span>{}</span>").format(each) if each[:1] == "-" else each for each in words
    )


#: Templates of pages; whatever is put into one is escaped, and without control characters.
PAGES = Environment(
    loader=PackageLoader("klaviyo_nb.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    finalize=lambda value: harmless(value) if type(value) is str else value,
)
PAGES.filters |= {"cut": shortened, "command": command}


@cache
def css() -> str:
    """The style sheet of `index.html` and of the notebook pages: the palette as variables, then the rules."""
    rules = resources.files("klaviyo_nb.report").joinpath("templates", "look.css").read_text("utf-8")
    light, dark = ("".join(f"--{role}:{both[i]};" for role, both in COLOURS.items()) for i in (0, 1))
    screen = f"@media screen and (prefers-color-scheme:dark){{:root{{color-scheme:dark;{dark}}}}}"
    return f":root{{color-scheme:light;{light}}}\n{screen}\n{rules}"


@cache
def chart_css() -> str:
    """Style rules that darken an SVG drawn in the light colours, wherever a dark page shows it."""
    rules = "".join(
        f'[style*="{what}: {light}"]{{{what}:{dark} !important}}'
        for light, dark in COLOURS.values()
        for what in ("fill", "stroke")
    )
    return f"@media screen and (prefers-color-scheme:dark){{{rules}}}"
