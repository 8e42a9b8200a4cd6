"""What a status page or an error says is attacker-influenced: it reaches terminal and HTML as plain words only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
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
    done = run("bundle", "--incident", "INC-7", cwd=tmp_path, **environ(world))
    assert done.returncode == 0, done.stderr
    report = tmp_path / "reports" / "INC-7"
    html = (report / "index.html").read_text()
    assert "alert(1)" in html
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert 'src="http://evil' not in html
    for path in [report / "index.html", report / "postmortem.md", *sorted((report / "messages").iterdir())]:
        assert not CONTROLS.search(path.read_text()), path.name
    for path in (report / "messages").glob("slack-*.md"):
        assert "<script" not in path.read_text()
    assert not re.search(r"^# heading", (report / "postmortem.md").read_text(), re.MULTILINE)
