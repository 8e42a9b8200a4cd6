"""The command line from outside: exit statuses, stdout and stderr, errors of two lines."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import samples
from klaviyo_nb.commands.metric_answers import render_metrics
from klaviyo_nb.commands.steps import MOST_SLOW, _so_far
from klaviyo_nb.diagnosis.times import times_of
from klaviyo_nb.evidence import Evidence, Gap
from klaviyo_nb.folder import save
from klaviyo_nb.frames import NOTES
from klaviyo_nb.places import must_be_writable


def run(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KLAVIYO")}
    return subprocess.run([sys.executable, "-m", "klaviyo_nb", *arguments], cwd=cwd, env=clean | environ,
                          capture_output=True, text=True, timeout=300, check=False)  # fmt: skip


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evidence") / "e"
    save(samples.rate_limited(), folder)
    return folder


def test_diagnose_prints_one_json_document_and_says_incident_by_its_exit_status(
    evidence: Path, tmp_path: Path
) -> None:
    done = run("diagnose", str(evidence), "--format", "json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert done.returncode == 10
    assert (document["schema"], document["cause"]) == ("klaviyo-nb/verdict/1", "rate_limited")
    assert done.stderr == ""


def test_diagnose_in_a_pipe_is_plain_text(evidence: Path, tmp_path: Path) -> None:
    done = run("diagnose", str(evidence), cwd=tmp_path)
    assert "\x1b" not in done.stdout
    assert "rate_limited" in done.stdout.splitlines()[0]


def test_a_message_can_be_drafted_from_evidence(evidence: Path, tmp_path: Path) -> None:
    done = run("message", str(evidence), "--for", "slack", "--phase", "investigating", cwd=tmp_path)
    assert done.returncode == 0
    assert "P3" in done.stdout


def test_the_tree_prints_as_text_and_as_mermaid(tmp_path: Path) -> None:
    assert "Are Klaviyo calls failing?" in run("tree", cwd=tmp_path).stdout
    assert run("tree", "--format", "mermaid", cwd=tmp_path).stdout.startswith("flowchart TD")


def test_the_scenarios_are_listed(tmp_path: Path) -> None:
    listed = run("drill", "--list", cwd=tmp_path).stdout
    for scenario in ("rate_limited", "invalid_key", "klaviyo_outage", "app_unhealthy", "healthy"):
        assert scenario in listed


@pytest.mark.parametrize(
    ("arguments", "environ", "named"),
    [
        (("triage", "--since", "soon"), {}, "--since"),
        (("triage", "--start", "2026-11-23T07:00:00Z", "--end", "2026-11-23T06:00:00Z"), {}, "window"),
        (("triage", "--start", "yesterday"), {}, "--start"),
        (("triage", "--deadline", "never"), {}, "--deadline"),
        (("triage",), {"KLAVIYO_NB_API_URL": "a.klaviyo.com"}, "KLAVIYO_NB_API_URL"),
        (("triage",), {"KLAVIYO_NB_STATUS_URL": "https://"}, "KLAVIYO_NB_STATUS_URL"),
        (("triage", "--metrics", "prometheus:9090"), {}, "--metrics"),
        (("logs", "kafka://topic"), {}, "kafka://topic"),
        (("logs", "/nowhere/app.log"), {}, "/nowhere/app.log"),
        (("logs",), {}, "log source"),
        (("metrics",), {}, "metrics server"),
        (("diagnose", "/nowhere"), {}, "/nowhere"),
        (("verify", "/nowhere"), {}, "/nowhere"),
        (("drill", "meteor"), {}, "meteor"),
        (("drill", "--out", "/dev/null/reports"), {}, "/dev/null"),
        (("bundle", "--incident", "../escape"), {}, "--incident"),
        (("bundle", "--incident", "INC-7", "--out", "/dev/null/reports"), {}, "/dev/null"),
        (("triage", "--colour"), {}, "--colour"),
        (("panic",), {}, "panic"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_two_lines_that_name_the_setting_and_the_next_command(
    arguments: tuple[str, ...], environ: dict[str, str], named: str, tmp_path: Path
) -> None:
    done = run(*arguments, cwd=tmp_path, **environ)
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("warning:", "  ·"))]
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert len(lines) == 2, done.stderr
    assert named in lines[0]
    assert lines[1].startswith("try: ")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_evidence_is_an_error_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "e").mkdir()
    done = run("diagnose", "e", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: e: no evidence.json in it")


def test_an_archive_where_a_folder_is_wanted_is_told_how_to_unpack_it(tmp_path: Path) -> None:
    (tmp_path / "INC 7.zip").write_bytes(b"PK\3\4")
    for command in (("diagnose",), ("redact", "--out", "public")):
        done = run(command[0], "INC 7.zip", *command[1:], cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == "try: unzip 'INC 7.zip' -d ."


def test_an_existing_report_is_never_overwritten(evidence: Path, tmp_path: Path) -> None:
    (tmp_path / "reports" / "INC-7").mkdir(parents=True)
    done = run("bundle", "--evidence", str(evidence), "--incident", "INC-7", cwd=tmp_path)
    assert done.returncode == 2
    assert "never overwritten" in done.stderr
    assert list((tmp_path / "reports").rglob("*")) == [tmp_path / "reports" / "INC-7"]


def test_a_key_in_the_settings_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "klaviyo-nb.toml").write_text('private_key = "pk_0123456789abcdef0123456789abcdef01"\n')
    done = run("triage", cwd=tmp_path)
    assert done.returncode == 2
    assert "pk_0123" not in done.stderr + done.stdout


def test_help_names_every_command(tmp_path: Path) -> None:
    words = run("--help", cwd=tmp_path).stdout
    for command in (
        "triage",
        "collect",
        "diagnose",
        "bundle",
        "verify",
        "logs",
        "metrics",
        "message",
        "tree",
        "drill",
        "lab",
    ):
        assert f"  {command} " in words


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("Klaviyo throttles our calls; we are looking into it.\n", 0, "fit to be sent"),
        ("All is well.\nKlaviyo broke it, ask ann@example.com\n", 1, ":2: “Klaviyo broke” blames"),
        ("*Lead:* ‹fill in: who leads›\n", 1, ":1: ‹fill in: who leads› is not filled"),
    ],
)
def test_an_edited_message_is_checked_before_it_is_sent(
    evidence: Path, tmp_path: Path, text: str, status: int, said: str
) -> None:
    (tmp_path / "draft.md").write_text(text)
    ask = ("message", str(evidence), "--for", "slack", "--phase", "investigating", "--check", "draft.md")
    done = run(*ask, cwd=tmp_path)
    assert done.returncode == status
    assert said in done.stdout
    assert "ann@example.com" not in done.stdout


def test_a_message_that_cannot_be_read_is_a_mistake(evidence: Path, tmp_path: Path) -> None:
    ask = ("message", str(evidence), "--for", "slack", "--phase", "resolved", "--check", "nowhere.md")
    done = run(*ask, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith("error: nowhere.md: ")


@pytest.mark.parametrize(
    "command", [("collect",), ("bundle",), ("triage", "--watch", "30s")], ids=lambda words: words[0]
)
@pytest.mark.parametrize("place", ["/proc/x", "/dev/null/x", "n" * 300])
def test_a_place_that_takes_no_file_is_refused_before_anybody_is_asked(
    command: tuple[str, ...], place: str, tmp_path: Path
) -> None:
    done = run(*command, "--out", place, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 2  # no line of progress: nobody was asked
    assert done.stderr.splitlines()[1] == "try: choose another --out"
    assert list(tmp_path.iterdir()) == []


def test_an_advice_names_only_flags_that_the_command_has(tmp_path: Path) -> None:
    done = run("collect", "--out", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[1] == "try: choose another --out"


def test_the_place_is_left_as_it_was_found(tmp_path: Path) -> None:
    must_be_writable(tmp_path / "a" / "b")
    must_be_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [(("metrics", "http://127.0.0.1:9"), "try: curl -sS http://127.0.0.1:9/-/ready"),
     (("metrics", "http://ann:secret@127.0.0.1:9"), "try: curl -sS http://127.0.0.1:9/-/ready"),
     (("logs", "/proc/nowhere/app.log"), "try: ls -l /proc"),
     (("logs", "docker://nowhere"), "try: docker ps -a"),
     (("logs", "loki://ann:secret@127.0.0.1:9/web"), "try: curl -s http://127.0.0.1:9/loki/api/v1/labels"),
     (("logs", "memory://nowhere"),
      """try: python -c 'import fsspec; print(fsspec.open_files("memory://nowhere"))'""")],
)  # fmt: skip
def test_what_gave_nothing_is_followed_by_a_command_that_looks_at_it(
    arguments: tuple[str, ...], hint: str, tmp_path: Path
) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == hint


@pytest.mark.parametrize("more", [(), ("--line", "1")])
def test_the_command_that_a_source_tells_is_the_one_that_is_shown(
    more: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "app.log").write_bytes("klaviyo 429\n".encode("utf-16"))
    assert run("logs", "app.log", *more, cwd=tmp_path).stderr.splitlines() == [
        "error: app.log: its text is UTF-16",
        "try: iconv -f UTF-16 -t UTF-8 app.log > utf8.log",
    ]


def test_a_folder_of_logs_is_followed_by_the_command_that_reads_them(tmp_path: Path) -> None:
    assert run("logs", ".", cwd=tmp_path).stderr.splitlines()[-1] == f"try: ls -l {tmp_path}"
    (tmp_path / "app.log.1").write_text("2026-11-23T05:00:00Z POST https://a.klaviyo.com/api/events 429\n")
    hint = run("logs", ".", cwd=tmp_path).stderr.splitlines()[-1]
    assert hint == f"try: klaviyo-nb logs '{tmp_path}/*.log*'"
    asked = *shlex.split(hint)[2:], "--start", "2026-11-23T04:00Z", "--end", "2026-11-23T06:00Z"
    assert "1 calls" in run(*asked, cwd=tmp_path).stdout


@pytest.mark.parametrize("closed", [1, 2])
def test_a_closed_stream_is_no_traceback(tmp_path: Path, closed: int) -> None:
    (tmp_path / "app.log").write_text("2026-11-23T05:00:00Z POST https://a.klaviyo.com/api/events 429\n")
    program = [
        sys.executable,
        "-m",
        "klaviyo_nb",
        "logs",
        "app.log",
        "gone.log",
        "--start",
        "2026-11-23",
        "--end",
        "2026-11-24",
    ]
    shell = ["/bin/sh", "-c", f'exec "$@" {closed}>&-', "sh", *program]
    done = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    if closed == 1:
        told = "error: standard output is closed: there is nowhere to answer\n"
        assert (done.returncode, done.stderr) == (2, told)
    else:
        assert (done.returncode, "1 calls" in done.stdout) == (0, True)


def test_bytes_that_were_skipped_are_told_where_there_are_some(tmp_path: Path) -> None:
    whole = gzip.compress(b"2026-11-23T05:00:00Z POST https://a.klaviyo.com/api/events 429\n")
    (tmp_path / "whole.gz").write_bytes(whole)
    (tmp_path / "more.gz").write_bytes(whole + b"x" * 2_000)
    said = run("logs", "whole.gz", "more.gz", "--start", "2026-11-23", "--end", "2026-11-24", cwd=tmp_path)
    *_, first, second = said.stdout.splitlines()
    assert ("skipped" in first, ", 2,000 bytes skipped; bytes behind" in second) == (False, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[thresholds]\nnoise_share = 5\n", "thresholds.noise_share: 5 is not a share above 0 and at most 1"),
        ("[metrics]\nrequest = 'x_total'\n", "metrics.request: no such setting"),
    ],
)
def test_a_mistake_in_the_settings_is_told_before_anything_is_asked(
    text: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "klaviyo-nb.toml").write_text(text)
    done = run("triage", cwd=tmp_path, KLAVIYO_NB_API_URL="http://127.0.0.1:9")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == f"error: klaviyo-nb.toml: {told}"


def test_a_filled_blank_is_listed_on_stderr_and_fit_to_be_sent(evidence: Path, tmp_path: Path) -> None:
    ask = ("message", str(evidence), "--for", "slack", "--phase", "mitigating")
    draft = run(*ask, cwd=tmp_path).stdout
    parts = re.split("‹[^›]*›", draft)
    (tmp_path / "draft.md").write_text(
        "in 20 minutes, see OPS-4711".join(parts[:2]) + "".join(f"Ann{each}" for each in parts[2:])
    )
    done = run(*ask, "--check", "draft.md", cwd=tmp_path)
    assert (
        "draft.md:6: said by a person, not checked: in 20 minutes, see OPS-4711" in done.stderr.splitlines()
    )
    assert "20 minutes" not in done.stdout
    assert all(
        "it was good until" in line for line in done.stdout.splitlines()
    )  # the sample is of another day


def test_a_cited_line_is_shown_as_it_was_written_but_for_secrets(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(1, 40)]
    lines[19] = "ERROR klaviyo refused pk_0123456789abcdef0123456789abcdef01 \x1b[31mfor ann@example.com"
    (tmp_path / "app.log").write_text("\n".join(lines))
    done = run("logs", "app.log", "--line", "20", cwd=tmp_path)
    assert done.returncode == 0
    shown = done.stdout.splitlines()
    assert (shown[0], shown[-1]) == ("  18  line 18", "  32  line 32")
    (cited,) = (line for line in shown if line.startswith("> 20  ERROR klaviyo refused "))
    assert not any(part in cited for part in ("0123456789", "\x1b", "example.com"))
    missing = run("logs", "app.log", "--line", "41", cwd=tmp_path)
    assert (missing.returncode, missing.stderr.splitlines()[0]) == (2, "error: app.log: has no line 41 now")


def test_ctrl_c_while_a_report_is_made_says_where_what_was_collected_lies(
    evidence: Path, tmp_path: Path
) -> None:
    arguments = ("bundle", "--evidence", str(evidence), "--incident", "INC-7")
    with subprocess.Popen([sys.executable, "-m", "klaviyo_nb", *arguments], cwd=tmp_path, text=True,
                          stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:  # fmt: skip
        assert process.stderr is not None
        assert any("evidence is written" in line for line in process.stderr)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        said = [line.rstrip() for line in process.stderr if line.startswith(("error:", "try:", "or:"))]
        assert process.wait(120) == 130
    kept = "reports/.INC-7.partial/evidence"
    assert said == [f"error: reports/INC-7: stopped; what was collected lies in {kept}", f"try: klaviyo-nb diagnose {kept}",
                    f"or:  klaviyo-nb bundle --evidence {kept} --incident INC-7 --out reports"]  # fmt: skip
    assert run("diagnose", kept, cwd=tmp_path).returncode == 10


def test_metrics_are_told_with_units() -> None:
    found = Evidence(samples.WINDOW, samples.WINDOW.end, metrics=samples.rate_limited().metrics)
    text = render_metrics(found, "text").decode()
    told = {line.split()[0]: line for line in text.splitlines()}
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
    assert re.fullmatch(rf"began +{moment} to {moment}", told["began"])
    assert told["ended"].split() == ["ended", "goes", "on"]
    assert re.fullmatch(
        r"impact +[\d,]+ of [\d,]+ calls failed, \d+(\.\d)?%, \d+(\.\d)?% in the worst 5 minutes",
        told["impact"],
    )
    assert re.fullmatch(
        r"budget +spent [\d,]+\.\d times \([\d,]+ failed; 99\.9% allows [\d,]+\.\d\)", told["budget"]
    )


def test_metrics_tell_what_the_notebook_tells() -> None:
    at = samples.WINDOW.start + timedelta(minutes=90)
    note = {"at": at, "kind": "detected", "text": "pager", "who": "Ada", "written_at": at}
    found = replace(samples.rate_limited(), calls=None, probe_rows=(), notes=NOTES.frame([note]))
    text, document = render_metrics(found, "text").decode(), json.loads(render_metrics(found, "json"))
    onset = times_of(found).onset
    assert onset is not None
    (took,) = (row for row in document["durations"] if row["what"] == "MTTD")
    assert took["at_least"] == (at - onset.latest).total_seconds()
    assert took["at_most"] == (at - onset.earliest).total_seconds()
    assert re.search(r"^took      MTTD \d+ min.*, from onset to detected, as noted$", text, re.MULTILINE)
    assert [row["factor"] for row in document["burn_rates"]] == [14.4, 6.0, 3.0, 1.0]
    (fast, *slow) = document["burn_rates"]
    assert fast["burning"] is True
    assert {row["burning"] for row in slow} == {None}
    assert re.search(r"^burning   [\d,.]+ in 60 min, [\d,.]+ in 5 min: over 14.4$", text, re.MULTILINE)
    assert "not known, for less than that was seen: 6 (6 h 00 min), 3 (24 h 00 min), 1 (3 d 0 h)" in text
    worst = next(row for row in document["changed"] if row["attribute"] == "endpoint")
    assert worst["value"] == "/api/profiles"
    assert re.search(
        r"^changed   all calls failed 0.0% before, \d+.\d% during, – after: ", text, re.MULTILINE
    )


def test_metrics_that_were_not_seen_are_told_as_such_and_not_as_zero() -> None:
    gap = Gap("metrics", "the server does not answer")
    found = Evidence(samples.WINDOW, samples.WINDOW.end, gaps=(gap,))
    text, document = render_metrics(found, "text").decode(), json.loads(render_metrics(found, "json"))
    assert "impact    not observed" in text
    assert "not seen  metrics: the server does not answer" in text
    assert document["onset"] is document["recovered"] is document["impact"]["failed_calls"] is None


@pytest.mark.parametrize(
    ("wall_s", "work_s", "slowness"), [(30.0, 30.0, 1.0), (30.0, 15.0, 2.0), (60.0, 1.0, MOST_SLOW)]
)
def test_how_busy_the_machine_is_is_told_by_how_long_the_start_took(
    wall_s: float, work_s: float, slowness: float
) -> None:
    spent, found = _so_far(time.monotonic() - wall_s, time.process_time() - work_s)
    assert spent >= wall_s
    assert found == pytest.approx(slowness, rel=0.1)
