"""What a status page or an error says is attacker-influenced: it reaches terminal and HTML as plain words only."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from test_watch import JSON_API, World, environ, serving

from probes_world import PAGE
from test_cli import run

EVIL = (
    "<script>alert(1)</script><img src=x onerror=alert(2)> \x1b[2J\x1b[31mall clear\x1b[0m"
    " \x1b]8;;http://evil.example\x07click\x1b]8;;\x07 \x9b5m \u202ednib\u202c \u2066iso\u2069 \x07\r\n# heading\n![p](http://evil.example/p.png)"
)
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    update = {
        "status": "investigating",
        "body": EVIL,
        "created_at": "2026-11-23T06:00:00Z",
        "display_at": "2026-11-23T06:00:00Z",
    }
    post = {"name": EVIL, "status": EVIL, "impact": "critical", "components": [{"name": "Klaviyo API", "status": EVIL}],
            "incident_updates": [update]}  # fmt: skip
    page = PAGE | {"status": {"indicator": "critical", "description": EVIL}, "incidents": [post],
                   "components": [{"name": EVIL, "status": EVIL, "group": False}]}  # fmt: skip
    refused = {
        "errors": [
            {
                "id": EVIL,
                "status": 403,
                "code": EVIL,
                "title": EVIL,
                "detail": EVIL,
                "source": {"pointer": EVIL},
            }
        ]
    }
    with serving(World(tmp_path)) as found:
        found.answers["/api/v2/summary.json"] = (200, {"Content-Type": "application/json"}, page)
        found.answers["/api/accounts"] = found.answers["/api/profiles"] = (403, JSON_API, refused)
        found.answers["/health"] = (503, {"Content-Type": "application/json"}, {"status": EVIL})
        yield found


def written(folder: Path) -> str:
    """A log of hostile calls, the last of ten megabytes."""
    now = datetime.now(UTC)
    times = [now - timedelta(seconds=second) for second in range(201)]
    call = {"msg": EVIL, "host": "=1+1", "worker": "@SUM(A1)", "error_code": "-2+3",
            "method": "POST", "url": "https://a.klaviyo.com/api/events", "status": 503}  # fmt: skip
    lines = [json.dumps({"time": time.isoformat(), **call}) for time in reversed(times)]
    lines[-1] = json.dumps({"time": now.isoformat(), **call, "msg": "A" * 10_000_000})
    (folder / "app.log").write_text("\n".join(lines) + "\n")
    return "app.log"


def test_the_terminal_gets_words_and_no_commands(world: World, tmp_path: Path) -> None:
    done = run("triage", "--full", cwd=tmp_path, **environ(world))
    assert done.returncode == 10, done.stderr
    assert "alert(1)" in done.stdout  # it was shown, as words
    assert not CONTROLS.search(done.stdout + done.stderr)


def test_json_stays_one_document_of_harmless_words(world: World, tmp_path: Path) -> None:
    done = run("triage", "--format", "json", cwd=tmp_path, **environ(world))
    document = json.loads(done.stdout)
    assert not CONTROLS.search(json.dumps(document, ensure_ascii=False))


def test_messages_and_the_sealed_page_hold_no_markup_of_others(world: World, tmp_path: Path) -> None:
    done = run("bundle", "--incident", "INC-7", "--logs", written(tmp_path), cwd=tmp_path, **environ(world))
    assert done.returncode == 0, done.stderr
    assert "201 calls in 201 lines" in done.stderr
    report = tmp_path / "reports" / "INC-7"
    html = (report / "index.html").read_text()
    assert "alert(1)" in html
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert 'src="http://evil' not in html
    texts = [path for path in report.rglob("*") if path.is_file() and path.suffix != ".png"]
    assert len(texts) > 30
    for path in texts:
        assert not CONTROLS.search(path.read_text()), path.name
    pages = [path for path in texts if path.suffix in (".html", ".svg")]
    assert [path for path in pages if re.search(r"<(script|img src=x)", path.read_text())] == []
    cells = [
        cell
        for path in report.rglob("*.csv")
        for row in csv.reader(path.read_text().splitlines(True))
        for cell in row
    ]
    assert "'=1+1" in cells
    assert [cell for cell in cells if re.match(r"[=+@]|-[^0-9]", cell)] == []
    for path in (report / "messages").glob("slack-*.md"):
        assert "<script" not in path.read_text()
    assert not re.search(r"^# heading", (report / "postmortem.md").read_text(), re.MULTILINE)
