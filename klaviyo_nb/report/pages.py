"""Executed notebooks as pages: one file each, no script, nothing loaded, in the look of the report.

Not through nbconvert, whose imports and chain of templates take longer than all four pages: what it would do
for us is in one template, by the same libraries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import mistune
import nbformat
from markupsafe import Markup
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexers.python import PythonLexer

from klaviyo_nb.report.look import CSP, PAGES, css

#: Cells that say nothing to a reader: parameters, and papermill's notes on a failure, which the page has.
_HIDDEN = frozenset(("parameters", "injected-parameters", "papermill-error-cell-tag"))
#: What is shown of an output that comes in several forms.
_SHOWN = ("image/png", "text/html", "text/plain")
_TAGS = "div|span|p|em|strong|br|pre|code|table|caption|thead|tbody|tr|th|td|ol|ul|li|h3|dl|dt|dd"
_HARMLESS = re.compile(rf'(?:[^<]|</?(?:{_TAGS})(?: (?:class|scope|tabindex|data-label)="[^"<>]*")*>)*+')


def notebook_html(ipynb: Path, html: Path) -> None:
    """Write the executed notebook `ipynb` as the page `html`.

    Raises:
        OSError: A file cannot be read or written.
    """
    html.write_text(_page(nbformat.read(ipynb, as_version=4), ipynb), "utf-8")


def _page(notebook: nbformat.NotebookNode, path: Path) -> str:
    title = next(
        (cell.source.splitlines()[0].lstrip("# ") for cell in notebook.cells if cell.source), path.stem
    )
    return PAGES.get_template("notebook.html.j2").render(
        title=title,
        file=path.name,
        csp=CSP,
        css=_style(),
        trouble=notebook.metadata.get("klaviyo_nb", {}).get("error"),
        cells=[each for each in notebook.cells if _HIDDEN.isdisjoint(each.metadata.get("tags", ()))],
        markdown=_markdown(),
        highlighted=_highlighted,
        shown=_shown,
        harmless_html=harmless_html,
    )


def _shown(data: Mapping[str, Any]) -> str | None:
    return next((form for form in _SHOWN if form in data), None)


def harmless_html(data: Mapping[str, str]) -> Markup:
    """The HTML of an output if it only arranges text, as ours does; otherwise its plain text, escaped.

    The page's policy stops scripts and loading, but not a hostile link or a redirect to somewhere else.
    """
    found = data["text/html"]
    if _HARMLESS.fullmatch(found):
        return Markup(found)  # noqa: S704 - that was looked for just now
    return Markup("<pre>{}</pre>").format(data.get("text/plain", "an output that cannot be shown"))


@cache
def _markdown() -> Any:
    """What turns Markdown into HTML; HTML in it is shown as it was written."""
    return mistune.create_markdown(escape=True, plugins=["strikethrough", "table", "url"])


def _highlighted(code: str) -> str:
    return str(highlight(code, PythonLexer(), HtmlFormatter(nowrap=True)))


@cache
def _style() -> str:
    return css() + resources.files("klaviyo_nb.report").joinpath("templates", "notebook.css").read_text(
        "utf-8"
    )
