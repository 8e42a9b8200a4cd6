"""Watching: cheap rounds, changes only, and no recovery that nobody saw."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from klaviyo_nb import drills
from klaviyo_nb.commands.watch import Round, watch
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.errors import UsageError
from klaviyo_nb.folder import load
from klaviyo_nb.redact import Redactor
from klaviyo_nb.report.timeline import entries
from klaviyo_nb.response.document import verdict_document
from klaviyo_nb.settings import Settings
from klaviyo_nb.settings import load as load_settings
from probes_world import KEY, KLAVIYO, PAGE
from test_cli import run

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
EVERY_S = 30.0
JSON_API = {"Content-Type": "application/vnd.api+json"}

Answer = tuple[int, dict[str, str], object]


def error(status: int, code: str, **headers: str) -> Answer:
    said = {"id": "an-id", "status": status, "code": code, "title": "t", "detail": "why"}
    return status, JSON_API | headers, {"errors": [said]}


@dataclass
class World:
    """Local services whose answers a test changes between rounds, and a clock that only waiting moves."""

    folder: Path
    answers: dict[str, Answer] = field(
        default_factory=lambda: {
            "/api/accounts": (200, KLAVIYO, {"data": []}),
            "/api/profiles": (200, KLAVIYO, {"data": []}),
            "/api/v2/summary.json": (200, {"Content-Type": "application/json"}, PAGE),
            "/health": (200, {"Content-Type": "application/json"}, {"status": "ok"}),
        }
    )
    asked: list[str] = field(default_factory=list)
    now: datetime = NOW
    root: str = ""
    real_time: bool = False
    slept: list[float] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)

    def clock(self) -> datetime:
        return datetime.now(UTC) if self.real_time else self.now

    @property
    def log(self) -> Path:
        return self.folder / "app.log"

    @property
    def out(self) -> Path:
        return self.folder / "evidence"

    def settings(self, **chosen: Any) -> Settings:
        return Settings(
            **{
                "private_key": KEY,
                "api_url": self.root,
                "status_url": self.root,
                "health_url": f"{self.root}/health",
            }
            | chosen
        )

    def calls(self, status: int, minutes: float = 5, per_minute: int = 12) -> None:
        """Log calls that ended in the last `minutes`."""
        with self.log.open("a") as stream:
            for index in range(round(minutes * per_minute)):
                at = self.now - timedelta(seconds=1 + index * 60 / per_minute)
                stream.write(json.dumps({
                    "level": 30 if status < 400 else 50, "time": int(at.timestamp() * 1000), "hostname": "web-1",
                    "name": "checkout", "method": "POST", "url": "https://a.klaviyo.com/api/events", "statusCode": status,
                    "durationMs": 120, "msg": "klaviyo.create_event",
                }) + "\n")  # fmt: skip

    def watch(self, *between: Callable[[World], None], **settings: Any) -> list[Round]:
        """Watch, doing one of `between` in each pause; Ctrl-C in the pause after the last."""
        script = iter(between)

        def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            step = next(script, None)
            if step is None:
                raise KeyboardInterrupt
            self.now += timedelta(seconds=seconds)
            step(self)

        watch(self.settings(**settings), EVERY_S, self.out, Redactor(b"k", (KEY,)), self.rounds.append,
              clock=self.clock, sleep=sleep)  # fmt: skip
        return self.rounds


@contextmanager
def serving(world: World) -> Iterator[World]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            world.asked.append(path + ("" if "Authorization" in self.headers else " keyless"))
            status, headers, body = world.answers.get(path, (404, {}, {}))
            if path == "/api/accounts" and "Authorization" not in self.headers:
                status, headers, body = error(401, "not_authenticated")
            raw = json.dumps(body).encode()
            self.send_response_only(status)
            said = headers | {
                "Content-Length": str(len(raw)),
                "Date": formatdate(world.clock().timestamp(), usegmt=True),
            }
            for name, value in said.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    world.root = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with serving(World(tmp_path)) as found:
        yield found


def nothing(_: World) -> None:
    """Nothing happens in this pause."""


def answer(path: str, said: Answer) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.answers[path] = said

    return change


SICK = (503, {"Content-Type": "application/json"}, {"status": "down"})
WELL = (200, {"Content-Type": "application/json"}, {"status": "ok"})


def test_nothing_new_is_not_told(world: World) -> None:
    rounds = world.watch(nothing, nothing)
    assert [found.state for found in rounds] == ["good"] * 3
    assert [found.changes for found in rounds] == [()] * 3


def test_a_change_is_told_once_and_the_recovery_after_five_good_rounds(world: World) -> None:
    rounds = world.watch(answer("/health", SICK), nothing, answer("/health", WELL), *[nothing] * 6)
    assert [found.state[0] for found in rounds] == list("gbbggggggg")
    assert [bool(found.changes) for found in rounds] == [
        False,
        True,
        False,
        True,
        False,
        False,
        False,
        True,
        False,
        False,
    ]
    assert "healthy → app_unhealthy P2" in rounds[1].changes[0]
    assert "app_health: HTTP 200 ok → HTTP 503 down" in rounds[1].changes
    assert rounds[7].changes == ("recovered: 5 good rounds in a row since 07:01:30 UTC",)
    assert [found.recovered for found in rounds].count(True) == 1


def test_a_bad_round_starts_the_count_again(world: World) -> None:
    world.answers["/health"] = SICK
    rounds = world.watch(answer("/health", WELL), nothing, answer("/health", SICK), answer("/health", WELL), nothing, nothing,
                         thresholds={"good_rounds": 3})  # fmt: skip
    assert [found.good for found in rounds] == [0, 1, 2, 0, 1, 2, 3]
    assert [found.recovered for found in rounds] == [False] * 6 + [True]


def test_good_probes_are_no_recovery_of_calls_that_failed_in_the_logs(world: World) -> None:
    world.calls(500, minutes=20)
    rounds = world.watch(*[nothing] * 12, logs=(str(world.log),))
    assert rounds[0].state == "bad"
    assert {found.state for found in rounds[-2:]} == {"unclear"}
    assert not any(found.recovered for found in rounds)
    told = [line for found in rounds for line in found.changes if "cannot tell" in line]
    assert told == ["cannot tell whether it is over: not seen again: calls"]


def test_calls_that_succeed_again_are_a_recovery(world: World) -> None:
    def flowing(world: World) -> None:
        world.calls(202, minutes=0.5, per_minute=30)

    world.calls(500, minutes=20)
    rounds = world.watch(*[flowing] * 16, logs=(str(world.log),))
    assert rounds[0].state == "bad"
    assert rounds[-1].state == "good"
    assert sum(found.recovered for found in rounds) == 1


def test_a_round_sends_two_requests_to_the_api_and_says_so(world: World) -> None:
    first: list[str] = []

    def note(world: World) -> None:
        first.extend(world.asked)

    rounds = world.watch(note)
    second = world.asked[len(first) :]
    assert sum(path.startswith("/api/") and "v2" not in path for path in first) == 3
    assert sorted(path for path in second if path.startswith("/api/") and "v2" not in path) == [
        "/api/accounts",
        "/api/profiles",
    ]
    assert [found.row()["api_calls"] for found in rounds] == [3, 2]


def test_a_failing_api_is_not_asked_twice_in_a_round(world: World) -> None:
    world.answers["/api/accounts"] = world.answers["/api/profiles"] = error(503, "unavailable")
    rounds = world.watch(nothing)
    assert rounds[1].row()["api_calls"] == 2


def test_retry_after_is_honoured_before_the_api_is_asked_again(world: World) -> None:
    world.answers["/api/profiles"] = error(429, "throttled", **{"Retry-After": "75"})
    rounds = world.watch(nothing, nothing, answer("/api/profiles", (200, KLAVIYO, {"data": []})), nothing)
    spent = [found.row()["api_calls"] for found in rounds]
    assert spent[1:3] == [0, 0]
    assert spent[3:] == [2, 2]
    assert [found.state for found in rounds[1:]] == ["unclear", "unclear", "good", "good"]
    assert (
        "rate_limit: HTTP 429 → not seen: not asked: no call to the API before 2026-11-23 07:01:15 UTC"
        in rounds[1].changes
    )


def test_a_429_that_does_not_say_is_left_alone_for_a_minute(world: World) -> None:
    world.answers["/api/profiles"] = error(429, "throttled")
    rounds = world.watch(nothing, nothing)
    assert [found.row()["api_calls"] for found in rounds[1:]] == [0, 2]


def test_rounds_begin_at_the_interval_however_long_one_takes(world: World) -> None:
    world.watch(nothing)
    assert world.slept == [EVERY_S, EVERY_S]


def test_every_round_is_in_the_evidence_even_if_the_last_line_was_cut(world: World) -> None:
    world.watch(answer("/health", SICK), nothing)
    path = world.out / "watch.csv"
    path.write_bytes(path.read_bytes() + b"2026-11-23T07:0")  # killed while writing
    evidence = load(world.out)
    assert evidence.watch is not None
    assert list(evidence.watch["state"]) == ["good", "bad", "bad"]
    assert list(evidence.watch["round"]) == [0, 1, 2]
    assert decide(evidence).cause == "healthy"  # the folder's verdict stays that of its first round


def test_another_incident_leaves_evidence_of_its_own(world: World) -> None:
    rounds = world.watch(answer("/health", SICK), nothing)
    assert [found.folder for found in rounds] == [world.out, world.out / "round-1", None]
    assert decide(load(world.out / "round-1")).cause == "app_unhealthy"


def test_the_timeline_tells_the_rounds_in_which_something_changed(world: World) -> None:
    world.watch(answer("/health", SICK), nothing, answer("/health", WELL), *[nothing] * 4)
    evidence = load(world.out)
    told = [
        each
        for each in entries(evidence, verdict_document(evidence, decide(evidence)))
        if "Watching" in each.what
    ]
    assert [f"{each.at:%H:%M:%S}" for each in told] == ["07:00:30", "07:01:30", "07:03:30"]
    assert told[-1].what == "Watching: recovered: 5 good rounds in a row since 07:01:30 UTC"


def test_the_end_that_watching_saw_is_the_end_of_the_verdict(world: World) -> None:
    world.answers["/health"] = SICK
    world.watch(nothing, answer("/health", WELL), *[nothing] * 4)
    recovered = decide(load(world.out)).recovered
    assert recovered is not None
    assert (recovered.earliest, recovered.latest) == (
        NOW + timedelta(seconds=30),
        NOW + timedelta(seconds=60),
    )


def test_an_end_that_did_not_last_is_no_end(world: World) -> None:
    world.answers["/health"] = SICK
    world.watch(answer("/health", WELL), *[nothing] * 4, answer("/health", SICK))
    assert decide(load(world.out)).recovered is None


def test_the_key_and_addresses_stay_out_of_what_is_written(world: World) -> None:
    world.answers["/health"] = (
        503,
        {"Content-Type": "application/json"},
        {"status": f"ann@example.com {KEY}"},
    )
    world.watch(nothing)
    written = "".join(path.read_text() for path in world.out.rglob("*") if path.is_file())
    assert KEY not in written
    assert "ann@example.com" not in written


def test_a_page_that_tells_of_something_new_is_a_change(world: World) -> None:
    post = {
        "name": "Delayed e-mails",
        "status": "investigating",
        "components": [{"name": "Campaign Email Sending"}],
    }
    rounds = world.watch(answer("/api/v2/summary.json", (200, {}, PAGE | {"incidents": [post]})))
    assert "Klaviyo's page: no incident → Delayed e-mails (investigating)" in rounds[1].changes


def test_standard_input_cannot_be_watched(world: World) -> None:
    with pytest.raises(UsageError, match="only once"):
        world.watch(logs=("-",))


def test_a_line_of_json_holds_the_whole_verdict(world: World) -> None:
    rounds = world.watch(answer("/health", SICK))
    line = rounds[1].as_json()
    found = json.loads(line)
    assert "\n" not in line
    assert (found["schema"], found["state"], found["verdict"]["cause"]) == (
        "klaviyo-nb/watch/1",
        "bad",
        "app_unhealthy",
    )


def environ(world: World) -> dict[str, str]:
    world.real_time = True
    return {"KLAVIYO_PRIVATE_KEY": KEY, "KLAVIYO_NB_API_URL": world.root, "KLAVIYO_NB_STATUS_URL": world.root,
            "KLAVIYO_NB_HEALTH_URL": f"{world.root}/health"}  # fmt: skip


def start(world: World, *arguments: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KLAVIYO")}
    world.now = datetime.now(UTC)
    world.calls(202)  # so that the calls are known to succeed, though a round each second may not ask the API
    return subprocess.Popen(
        [sys.executable, "-m", "klaviyo_nb", "triage", "--watch", "1s", "--format", "json", "--out", str(world.out), *arguments],
        cwd=world.folder, env=clean | environ(world) | {"KLAVIYO_NB_LOGS": str(world.log)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def lines_of(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def test_a_real_watch_sees_the_end_and_ctrl_c_ends_it_with_the_last_state(world: World) -> None:
    world.answers["/health"] = SICK
    (world.folder / "klaviyo-nb.toml").write_text("[thresholds]\ngood_rounds = 2\n")
    with start(world) as process:
        told = lines_of(process)
        assert next(told)["verdict"]["cause"] == "app_unhealthy"
        world.answers["/health"] = WELL
        assert next(told)["verdict"]["cause"] == "healthy"
        assert next(line for line in told if line["recovered"])["state"] == "good"
        process.send_signal(signal.SIGINT)
        assert list(told) == []
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    watched = load(world.out).watch
    assert watched is not None
    assert watched["recovered"].sum() == 1


def test_a_drill_is_watched_without_asking_while_klaviyo_says_wait(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    rounds: list[Round] = []
    world = drills.world("rate_limited", 7, now)
    with drills.serve(world, tmp_path / "services") as services:
        pauses = iter((1.0, 1.0))

        def sleep(_: float) -> None:
            if next(pauses, None) is None:
                raise KeyboardInterrupt

        chosen = replace(load_settings(services.environ), deadline_s=60.0)
        watch(chosen, 1.0, tmp_path / "e", Redactor(b"k"), rounds.append, clock=lambda: now, sleep=sleep)
    assert [found.state for found in rounds] == ["bad"] * 3
    assert [found.document["cause"] for found in rounds] == ["rate_limited"] * 3
    assert [found.row()["api_calls"] for found in rounds[1:]] == [0, 0]  # the clock stands still in the wait
    assert not any(found.recovered for found in rounds)


@pytest.mark.parametrize(("health", "status", "said"), [(WELL, 0, "well"), (SICK, 10, "NOT well")])
def test_one_thing_can_be_checked_again(world: World, health: Answer, status: int, said: str) -> None:
    world.answers["/health"] = health
    done = run("triage", "--check", "app_health", cwd=world.folder, **environ(world))
    assert done.returncode == status
    assert done.stdout.startswith(f"app_health: {said}: HTTP {health[0]}")


def test_what_cannot_be_seen_cannot_be_checked(world: World) -> None:
    done = run("triage", "--check", "webhook", "--format", "json", cwd=world.folder, **environ(world))
    assert done.returncode == 11
    assert json.loads(done.stdout)["checks"][0]["well"] is None


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("--check", "auht"), "auht"), (("--watch", "often"), "--watch"), (("--watch", "1ms"), "--watch"), (("--out", "x"), "--out"),
     (("--watch", "30s", "--check", "auth"), "--watch"), (("--watch", "30s", "--out", "."), "never overwritten")],
)  # fmt: skip
def test_mistakes_are_told_before_anything_is_asked(
    world: World, arguments: tuple[str, ...], named: str
) -> None:
    done = run("triage", *arguments, cwd=world.folder, **environ(world))
    assert done.returncode == 2
    assert named in done.stderr.splitlines()[0]
    assert world.asked == []


def test_ctrl_c_during_an_incident_says_incident(world: World) -> None:
    world.answers["/health"] = SICK
    with start(world) as process:
        assert next(lines_of(process))["state"] == "bad"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 10
    assert load(world.out).watch is not None


def test_kill_loses_nothing_that_was_told(world: World) -> None:
    with start(world) as process:
        assert next(lines_of(process))["state"] == "good"
        world.answers["/health"] = SICK
        assert next(lines_of(process))["state"] == "bad"
        process.kill()
    watched = load(world.out).watch
    assert watched is not None
    assert "bad" in set(watched["state"])


def flowing(world: World) -> None:
    world.calls(202, minutes=0.5, per_minute=30)


@pytest.mark.parametrize(
    "fixed",
    [{"end": "2026-11-23T07:00:00Z"}, {"start": "2026-11-23T06:30:00Z", "end": "2026-11-23T07:00:00Z"}],
)
def test_a_watch_of_a_fixed_window_moves_on_with_the_clock(world: World, fixed: dict[str, str]) -> None:
    world.calls(500, minutes=20)
    rounds = world.watch(*[flowing] * 16, logs=(str(world.log),), **fixed)
    assert rounds[0].document["window"]["end"] == "2026-11-23T07:00:00Z"
    assert rounds[-1].document["window"]["end"] == "2026-11-23T07:08:00Z"
    assert (rounds[0].state, rounds[-1].state) == ("bad", "good")
    assert sum(found.recovered for found in rounds) == 1


def test_a_served_drill_is_unclear_when_its_logs_have_ended(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    later = iter([now, *[now + timedelta(minutes=20)] * 50])
    rounds: list[Round] = []
    with drills.serve(drills.world("rate_limited", 7, now), tmp_path / "services") as services:
        pauses = iter((1.0,))
        moment = [now]

        def sleep(_: float) -> None:
            moment[0] = next(later) + timedelta(minutes=20)
            if next(pauses, None) is None:
                raise KeyboardInterrupt

        chosen = replace(load_settings(services.environ), deadline_s=60.0)
        assert chosen.end is not None
        watch(
            chosen, 1.0, tmp_path / "e", Redactor(b"k"), rounds.append, clock=lambda: moment[0], sleep=sleep
        )
    assert rounds[0].state == "bad"
    assert rounds[1].document["facts"]["calls"] in (None, 0)
    assert not rounds[1].recovered


@pytest.mark.parametrize("lost", ["unlink", "silent"])
def test_a_source_that_showed_the_failures_must_be_read_again(world: World, lost: str) -> None:
    """Two workers, one with the wrong key; its log goes away, and the other's calls are well as ever."""
    other = World(world.folder / "2")
    other.folder.mkdir()

    def both(world: World, status: int | None = None) -> None:
        other.now = world.now
        flowing(other)
        if status:
            world.calls(status, minutes=0.5, per_minute=30)

    def lose(world: World) -> None:
        both(world)
        if lost == "unlink":
            world.log.unlink()

    world.calls(500, minutes=20)
    other.calls(202, minutes=20)
    rounds = world.watch(lambda w: both(w, 500), lose, *[both] * 20, logs=(str(world.log), str(other.log)))
    assert rounds[0].state == "bad"
    assert rounds[-1].state == "unclear"
    assert not any(found.recovered for found in rounds)
    assert str(world.log) in " ".join(line for found in rounds for line in found.changes)


def test_a_source_that_never_failed_may_go_away(world: World) -> None:
    other = World(world.folder / "2")
    other.folder.mkdir()
    other.calls(202, minutes=20)
    world.calls(500, minutes=20)
    rounds = world.watch(*[flowing] * 16, logs=(str(world.log), str(other.log)))
    assert sum(found.recovered for found in rounds) == 1
