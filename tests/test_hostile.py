"""What a status page or an error says is attacker-influenced: it reaches terminal and HTML as plain words only."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from test_watch import JSON_API, World, environ, serving

import samples
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.folder import save
from klaviyo_nb.frames import METRICS, NOTES
from klaviyo_nb.lines import LONGEST, bounded, bounded_labels
from probes_world import PAGE
from test_cli import run

EVIL = (
    "<script>alert(1)</script><img src=x onerror=alert(2)> \x1b[2J\x1b[31mall clear\x1b[0m"
    " \x1b]8;;http://evil.example\x07click\x1b]8;;\x07 \x9b5m \u202ednib\u202c \u2066iso\u2069 \x07\r\n# heading\n![p](http://evil.example/p.png)"
)
#: Of a command, whatever it reads [MB].
MEMORY_MB = 600
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
    assert "alert(1)" in (report / "index.html").read_text()
    check_harmless(report)
    assert "'=1+1" in cells(report)


def check_harmless(report: Path, but: str = "") -> None:
    """Nothing in it is markup, a command to a terminal or spreadsheet, or turned round."""
    html = (report / "index.html").read_text()
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert 'src="http://evil' not in html
    texts = [path for path in report.rglob("*") if path.is_file() and path.suffix != ".png"]
    assert len(texts) > 30
    for path in (each for each in texts if each.parent.name != but):
        assert not CONTROLS.search(path.read_text()), path.name
    pages = [path for path in texts if path.suffix in (".html", ".svg")]
    assert [path for path in pages if re.search(r"<(script|img src=x)", path.read_text())] == []
    assert [cell[:80] for cell in cells(report) if re.match(r"[=+@]|-[^0-9]", cell)] == []
    for path in (report / "messages").glob("slack-*.md"):
        assert "<script" not in path.read_text()
    assert not re.search(r"^# heading", (report / "postmortem.md").read_text(), re.MULTILINE)


def cells(report: Path) -> list[str]:
    """What stands in its tables."""
    csv.field_size_limit(1 << 30)
    rows = (row for path in report.rglob("*.csv") for row in csv.reader(path.read_text().splitlines(True)))
    return [cell for row in rows for cell in row]


#: Where others' words come from, beside logs and probes.
PLACES = ("note", "who noted it", "deploy", "label of a metric", "alert", "status page")


def words(place: str) -> str:
    """Hostile in every way: a formula, markup, commands to a terminal, marks that turn round; and its place."""
    return f'=HYPERLINK("http://evil.example","{place}") says {place}: {EVIL}'


def from_everywhere(long: str = "") -> Evidence:
    """Evidence as somebody may hand it on: hostile words in all places, in most of them `long` behind them."""
    base, at = samples.rate_limited(calls_per_minute=2), samples.WINDOW.start + timedelta(minutes=70)
    told = {place: f"{words(place)}{long if place != 'who noted it' else ''}" for place in PLACES}
    notes = [
        {"written_at": at, "at": at, "kind": kind, "who": words("who noted it"), "text": told[kind]}
        for kind in ("note", "deploy")
    ]
    text = words("label of a metric")
    label = dict.fromkeys(("name", "endpoint", "method", "status", "error_code"), text)
    label["series"] = json.dumps({"endpoint": told["label of a metric"], "instance": text})
    metric = [
        {"timestamp": at + timedelta(minutes=5 * step), "role": "requests", "value": 10.0 * step} | label
        for step in range(3)
    ]
    alert = {
        "timestamp": at,
        "role": "alerts",
        "name": "ALERTS",
        "series": json.dumps({"alertname": told["alert"], "severity": words("alert")}),
        "value": 1.0,
    }
    update = {
        "status": words("status page"),
        "body": told["status page"],
        "display_at": "2026-11-23T06:11:00Z",
    }
    post = {"name": words("status page"), "status": words("status page"), "components": [{"name": "Klaviyo API"}],
            "incident_updates": [update]}  # fmt: skip
    page = {"indicator": "critical", "description": words("status page"), "incidents": [post], "maintenances": [],
            "components": [{"name": words("status page"), "status": words("status page")}]}  # fmt: skip
    return replace(base, notes=NOTES.frame(notes), metrics=METRICS.frame([*metric, alert]), status_page=page)


@pytest.mark.parametrize("long", ["", "A" * 10_000_000], ids=["short", "ten megabytes"])
def test_a_report_holds_plain_words_of_notes_deploys_labels_and_posts(tmp_path: Path, long: str) -> None:
    save(from_everywhere(long), tmp_path / "handed-on")
    said, bundle_mb = measured("bundle", "--incident", "INC-7", "--evidence", "handed-on", cwd=tmp_path)
    assert not CONTROLS.search(said)
    report = tmp_path / "reports" / "INC-7"
    assert max(bundle_mb, measured("verify", str(report), cwd=tmp_path)[1]) < MEMORY_MB
    check_harmless(report, but="evidence")  # that is kept as it was handed on
    shown = (path for path in report.rglob("*") if path.suffix in (".html", ".md", ".csv", ".ipynb"))
    made = "".join(path.read_text() for path in shown if path.parent.name != "evidence")
    assert [place for place in PLACES if f"says {place}" not in made] == []  # it was shown, as words
    assert (report / "index.html").stat().st_size < 2_000_000
    assert (report / "postmortem.md").stat().st_size < 200_000
    kept = [path.stat().st_size for path in (report / "evidence").glob("*.csv")]
    assert sum(kept) < 1_000_000, "of each text as much is kept as fits"


#: Runs a command, and says last what it or one of its processes had at most [kB]. Between us and it: what we
#: had ourselves would count, for a process begins as its parent was.
APART = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", "klaviyo_nb", *sys.argv[1:]])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


def measured(*command: str, cwd: Path) -> tuple[str, float]:
    """What a command said, and the most memory that it, or one of its processes, had at once [MB]; it succeeds."""
    done = subprocess.run(
        [sys.executable, "-c", APART, *command], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    said, _, peak = done.stdout.rstrip("\n").rpartition("\n")
    return said, int(peak) / 1024


def test_texts_that_are_cut_differ_as_before_and_labels_stay_labels() -> None:
    long = "A" * 10_000_000
    texts = [f"{long}{end}" for end in ("", "B")]
    series = [json.dumps({"alertname": text, "severity": "page"}) for text in texts]
    rows = [
        {"timestamp": samples.NOW, "role": "alerts", "name": name, "series": each, "value": 1.0}
        for name, each in zip(texts, series, strict=True)
    ]
    read = METRICS.from_csv(METRICS.to_csv(METRICS.frame(rows)))
    assert read["name"].nunique() == read["series"].nunique() == 2
    assert read["name"].astype("str").str.len().max() <= LONGEST
    assert {json.loads(each)["severity"] for each in read["series"]} == {"page"}
    again = METRICS.from_csv(METRICS.to_csv(read))
    assert again.equals(read), "cut twice, they would be others to whoever checks"
    many = json.dumps({f"label{n}": "x" for n in range(100_000)})
    assert len(bounded_labels(many)) <= LONGEST
    assert bounded_labels(bounded_labels(many)) == bounded_labels(many)
    key = "pk_" + "0a1b2c3d4e" * 4
    assert "pk_" not in bounded("A " * (LONGEST // 2 - 40) + key + " B" * LONGEST), (
        "half a key is not recognised"
    )
