"""Executed notebooks as pages: one file each, no script, nothing loaded, in the look of the report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path

import nbformat
from jinja2 import DictLoader
from nbconvert.exporters import TemplateExporter
from nbconvert.filters import Highlight2HTML
from traitlets.config import Config

from klaviyo_nb.report.look import CSP, css

_TEMPLATE = "notebook.html.j2"
#: Cells that say nothing to a reader: parameters, and papermill's notes on a failure, which the page has.
_HIDDEN = ("parameters", "injected-parameters", "papermill-error-cell-tag")
_TAGS = "div|span|p|em|strong|br|pre|code|table|caption|thead|tbody|tr|th|td|ol|ul|li|h3|dl|dt|dd"
_HARMLESS = re.compile(rf'(?:[^<]|</?(?:{_TAGS})(?: (?:class|scope|tabindex|data-label)="[^"<>]*")*>)*+')


def notebook_html(ipynb: Path, html: Path) -> None:
    """Write the executed notebook `ipynb` as the page `html`.

    Raises:
        OSError: A file cannot be read or written.
    """
    html.write_text(_page(nbformat.read(ipynb, as_version=4), ipynb), "utf-8")


def get_ready() -> None:
    """Do ahead of time what the first page would wait for: templates and lexers, half a second."""
    _page(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")]), Path("empty.ipynb"))


def _page(notebook: nbformat.NotebookNode, path: Path) -> str:
    title = next(
        (cell.source.splitlines()[0].lstrip("# ") for cell in notebook.cells if cell.source), path.stem
    )
    said = {
        "title": title,
        "file": path.name,
        "csp": CSP,
        "css": _style(),
        "trouble": notebook.metadata.get("klaviyo_nb", {}).get("error"),
    }
    page, _ = _exporter().from_notebook_node(notebook, resources=said)
    return str(page)


def harmless_html(data: Mapping[str, str]) -> str:
    """The HTML of an output if it only arranges text, as ours does; otherwise its plain text, escaped.

    The page's policy stops scripts and loading, but not a hostile link or a redirect to somewhere else.
    """
    found = data["text/html"]
    if _HARMLESS.fullmatch(found):
        return found
    return f"<pre>{escape(data.get('text/plain', 'an output that cannot be shown'))}</pre>"


@cache
def _exporter() -> TemplateExporter:
    # Not the HTML exporter: it parses every finished page again, to add what our template has already.
    shown = ["image/png", "text/html", "text/plain"]
    exporter: TemplateExporter = TemplateExporter(
        extra_loaders=[DictLoader({_TEMPLATE: _packaged(_TEMPLATE)})],
        template_name="basic",
        template_file=_TEMPLATE,
        optimistic_validation=True,
        config=Config(
            NbConvertBase={"display_data_priority": shown},
            TagRemovePreprocessor={"enabled": True, "remove_cell_tags": _HIDDEN},
        ),
    )
    exporter.register_filter("harmless_html", harmless_html)
    exporter.register_filter("highlight_code", Highlight2HTML(pygments_lexer="ipython3", parent=exporter))
    return exporter


@cache
def _style() -> str:
    return css() + _packaged("notebook.css")


def _packaged(name: str) -> str:
    return resources.files("klaviyo_nb.report").joinpath("templates", name).read_text("utf-8")
