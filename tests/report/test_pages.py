"""Notebook pages: nothing runs, nothing is loaded, hostile output is shown as text, failures are told."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import samples
from klaviyo_nb.logs.questions import QUESTIONS
from klaviyo_nb.report import show, views
from klaviyo_nb.report.pages import harmless_html, notebook_html

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=http://evil.example/x>",
    '<meta http-equiv="refresh" content="0;url=http://evil.example">',
    "<p onclick=\"x\">click</p>",
    '<a href="http://evil.example">your key has expired</a>',
    "<svg/onload=alert(1)>",
    "<!-- <p> -->",
    "<style>*{display:none}</style>",
    '<p class="a" style="x">',
]  # fmt: skip


def page(
    folder: Path,
    *outputs: nbformat.NotebookNode,
    text: str = "A question?",
    code: str = "show(1)",
    **metadata: object,
) -> str:
    cells = [
        new_markdown_cell(f"# A <title> & more\n\n{text}"),
        new_code_cell('evidence: str = ""', metadata={"tags": ["parameters"]}),
        new_code_cell(code, outputs=list(outputs), execution_count=1),
    ]
    nbformat.write(new_notebook(cells=cells, metadata=metadata), folder / "x.ipynb")
    notebook_html(folder / "x.ipynb", folder / "x.html")
    return (folder / "x.html").read_text("utf-8")


def test_a_page_has_language_title_and_a_policy_that_allows_nothing(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert '<html lang="en">' in text
    assert "<title>A &lt;title&gt; &amp; more</title>" in text
    assert "default-src &#39;none&#39;" in text


def test_a_page_has_no_script_and_loads_nothing(tmp_path: Path) -> None:
    text = page(
        tmp_path, new_output("display_data", {"application/javascript": "alert(1)", "text/plain": "x"})
    )
    assert "<script" not in text
    assert "alert" not in text
    assert not re.search(r'(?:src|href)="(?!data:|\.\./index\.html)', text)


def test_parameters_are_hidden_and_code_is_folded(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert "evidence" not in text.partition("<body")[2]
    assert '<details class="code">' in text


def test_a_picture_has_its_alt_text(tmp_path: Path) -> None:
    picture = new_output(
        "display_data", {"image/png": "iVBORw0KGgo="}, metadata={"image/png": {"alt": 'a "rise" <b>'}}
    )
    assert 'alt="a &#34;rise&#34; &lt;b&gt;"' in page(tmp_path, picture)


def test_html_in_a_text_cell_is_shown_as_it_was_written_and_its_marks_as_what_they_mean(
    tmp_path: Path,
) -> None:
    text = page(
        tmp_path, text="- *one*\n- `two`\n\n|a|b|\n|-|-|\n|1|<b onclick=x>2</b>|\n\n<script>x</script>"
    )
    assert re.search(r"<li><em>one</em></li>\s*<li><code>two</code></li>", text)
    assert "<td>1</td>" in text
    assert "<script" not in text
    assert "&lt;b onclick=x&gt;" in text


def test_code_is_coloured_and_escaped(tmp_path: Path) -> None:
    text = page(tmp_path, code="import os  # <b>\n%matplotlib inline\n'</pre><script>'")
    assert '<span class="kn">import</span>' in text
    assert "<script" not in text


@pytest.mark.parametrize("html", HOSTILE)
def test_hostile_output_is_shown_as_its_plain_text(tmp_path: Path, html: str) -> None:
    text = page(tmp_path, new_output("display_data", {"text/html": html, "text/plain": "<plain>"}))
    body = text.partition("<body")[2]
    assert html not in body
    assert "&lt;plain&gt;" in body


def test_hostile_streams_and_tracebacks_are_text(tmp_path: Path) -> None:
    outputs = [
        new_output("stream", name="stdout", text=HOSTILE[0]),
        new_output("error", ename="E", evalue="e", traceback=[HOSTILE[0]]),
    ]
    assert "<script" not in page(tmp_path, *outputs)


def test_a_notebook_that_failed_says_so_at_its_top(tmp_path: Path) -> None:
    text = page(tmp_path, klaviyo_nb={"status": "failed", "error": "DeadKernel: <killed>"})
    assert text.index("did not complete") < text.index("A question?")
    assert "DeadKernel: &lt;killed&gt;" in text


def test_a_notebook_that_completed_says_nothing_of_the_kind(tmp_path: Path) -> None:
    assert "did not complete" not in page(tmp_path)


@given(st.text(alphabet='<>/p"= acls:onxi', max_size=60))
def test_html_that_passes_has_no_tag_but_those_that_arrange_text(html: str) -> None:
    shown = harmless_html({"text/html": html, "text/plain": "plain"})
    tags = re.findall(r"<[^>]*>?", shown)
    assert all(re.fullmatch(r'</?(?:p|pre)(?: class="[^"]*")*>', tag) for tag in tags)


def test_what_our_own_helpers_show_passes() -> None:
    answers = [show.answer(views.ask(samples.rate_limited(), name)) for name in QUESTIONS]
    assert any("What this does not cover" in each.html for each in answers)
    for shown in (show.table(None), show.text("<a> draft"), show.steps([]), *answers):
        assert harmless_html({"text/html": shown.html, "text/plain": shown.plain}) == shown.html


def test_a_package_that_costs_a_second_at_import_is_not_imported() -> None:
    code = "import klaviyo_nb.report, nbformat, nbformat.validator, sys; assert 'lark' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_papermill_brings_no_client_of_an_object_store_which_can_be_imported_all_the_same() -> None:
    code = "import klaviyo_nb.report.run, sys; assert 'boto3' not in sys.modules; import boto3, pyarrow.fs"
    subprocess.run([sys.executable, "-c", code], check=True)
