"""Logs read by the workers of a real Dask scheduler; each test that has one is marked `real`."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pytest

import klaviyo_nb
from installed import missing
from klaviyo_nb import logs
from klaviyo_nb.errors import UsageError
from klaviyo_nb.logs import cluster
from klaviyo_nb.logs.chunks import LATE, Job, Part, Task
from klaviyo_nb.logs.engines import engine
from klaviyo_nb.logs.questions import QUESTIONS, by_name
from klaviyo_nb.logs.reader import LogsRead
from klaviyo_nb.logs.sources import base, files, resolve, stays
from klaviyo_nb.redact import Redactor
from klaviyo_nb.window import Window

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
WINDOW = Window.last(timedelta(hours=2), NOW)
SECRET = "correct horse battery"
CALL = '{"time":%d,"url":"https://a.klaviyo.com/api/events","method":"POST","status":429,"msg":"klaviyo, said ann@example.com and %s, %d"}\n'


def write(path: Path, count: int = 6_000) -> Path:
    path.write_text("".join(CALL % (1795410000000 + n, SECRET, n) for n in range(count)))
    return path


def write_all_sorts(path: Path, count: int = 3_000) -> Path:
    """An application's calls, one host's key refused in the last half hour, some tried again; and webhooks."""
    places = [("POST", "events", 202), ("GET", "lists", 200), ("GET", "profiles", 200)]
    lines = []
    for n in range(count):
        at = WINDOW.start + timedelta(seconds=2 * n + 0.123457)
        key = n - (n % 5 == 1)  # what is tried a second time
        method, name, status = places[key % 3]
        host = f"web-{n % 4}"
        if n > 0.75 * count:
            status = 403 if host == "web-1" else 429 if n % 5 == 0 else status
        told = {
            "time": at.isoformat(), "url": f"https://a.klaviyo.com/api/{name}", "method": method, "status": status,
            "hostname": host, "service": f"job-{n % 2}", "unique_id": f"order-{key}",
            "profile_id": f"01GDDKASAP8TKDDA{key // 3:06d}", "attempt": 1 + (n % 5 == 1), "revision": "2024-10-15",
            "duration_ms": 100 + n % 50, "msg": f"klaviyo answered {status}",
        }  # fmt: skip
        lines.append(json.dumps(told))
        if n % 10 == 0:
            lines.append(
                f"{at.isoformat()} INFO hooks: Received Klaviyo webhook event:klaviyo.opened_email, responded 204"
            )
    path.write_text("\n".join(lines) + "\n")
    return path


def read(*urls: object, redact: Callable[[str], str] = str, **options: Any) -> LogsRead:
    return logs.read([str(url) for url in urls], WINDOW, redact=redact, **options)


def have_dask() -> None:
    if importlib.util.find_spec("distributed") is None:
        missing("dask.distributed is not installed (extra `cluster`)")


@contextmanager
def local_cluster(**options: Any) -> Iterator[Any]:
    have_dask()
    import dask
    from distributed import LocalCluster

    given = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "threads_per_worker": 1} | options
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(silence_logs=50, **given) as made,
    ):
        yield made


def name_of(made: Any) -> str:
    return str(made.scheduler_address).replace("tcp://", "dask://")


@pytest.fixture(scope="module")
def processes() -> Iterator[str]:
    """Two workers that are processes of their own."""
    with local_cluster(n_workers=2) as made:
        yield name_of(made)


@pytest.fixture(scope="module")
def threads() -> Iterator[str]:
    """One worker that reads four chunks at once."""
    with local_cluster(n_workers=1, threads_per_worker=4, processes=False, protocol="tcp://") as made:
        yield name_of(made)


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "RANGE", 50_000)


def drain(pipe: IO[bytes]) -> None:
    with pipe:
        pipe.read()


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], str]]]:
    """`start("scheduler", "--port=0", wait="tcp://")`: a process of Dask, and the line it said that in."""
    have_dask()
    begun = []

    def run(program: str, *options: str, wait: str, **environ: str) -> tuple[subprocess.Popen[bytes], str]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{program}", "--no-dashboard", *options]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd="/", env=os.environ | environ)
        begun.append(process)
        assert process.stderr is not None
        line = next(text for text in map(bytes.decode, process.stderr) if wait in text)
        threading.Thread(target=drain, args=(process.stderr,), daemon=True).start()
        return process, line

    yield run
    for process in begun:
        process.kill()
        process.wait()


def scheduler_of(start: Any) -> tuple[subprocess.Popen[bytes], str]:
    process, line = start("scheduler", "--host=127.0.0.1", "--port=0", wait="Scheduler at:")
    return process, line.split()[-1].replace("tcp://", "dask://")


def worker_of(start: Any, name: str, **environ: str) -> subprocess.Popen[bytes]:
    options = ("--no-nanny", "--nthreads=1", "--host=127.0.0.1")
    process, _ = start("worker", name.replace("dask", "tcp"), *options, wait="Registered to:", **environ)
    return process


# What is read


@pytest.mark.real
@pytest.mark.usefixtures("small_ranges")
@pytest.mark.parametrize("workers", ["processes", "threads"])
def test_workers_give_what_this_process_gives(
    tmp_path: Path, workers: str, request: pytest.FixtureRequest
) -> None:
    path, redact = write(tmp_path / "app.log"), Redactor(b"test", (SECRET,)).text
    here, there = (
        read(path, redact=redact, engine=name) for name in ("local:1", request.getfixturevalue(workers))
    )
    assert len(here.calls) == 6_000
    assert there.calls.equals(here.calls)
    assert there.coverage == here.coverage


@pytest.mark.real
@pytest.mark.usefixtures("small_ranges")
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_asked_there_is_answered_as_here(tmp_path: Path, processes: str, name: str) -> None:
    path, asked = write_all_sorts(tmp_path / "app.log"), by_name(name)
    here, there = (
        logs.ask(asked, [str(path)], WINDOW, redact=Redactor(b"test", (SECRET,)).text, engine=engine)
        for engine in ("local:1", processes)
    )
    assert not here.answer.says.startswith("Cannot tell")
    assert len(here.answer.rows)
    assert (there.answer.says, there.answer.covers) == (here.answer.says, here.answer.covers)
    pd.testing.assert_frame_equal(there.answer.rows, here.answer.rows)
    assert there.coverage == here.coverage


@pytest.mark.real
@pytest.mark.usefixtures("small_ranges")
@pytest.mark.parametrize("name", ["templates", "overview"])
def test_no_secret_comes_back_with_an_answer(tmp_path: Path, processes: str, name: str) -> None:
    redact = Redactor(b"test", (SECRET,)).text
    found = logs.ask(
        by_name(name), [str(write(tmp_path / "app.log"))], WINDOW, redact=redact, engine=processes
    )
    assert found.coverage[0].calls == 6_000
    assert SECRET not in found.answer.says + found.answer.rows.to_csv()


@pytest.mark.real
@pytest.mark.usefixtures("small_ranges")
def test_archives_and_urls_are_read_there_too(tmp_path: Path, processes: str) -> None:
    path = write(tmp_path / "app.log")
    subprocess.run(["gzip", "-k", str(path)], check=True)
    urls = f"{path}.gz", f"local://{path}"
    here, there = (read(*urls, engine=name) for name in ("local:1", processes))
    assert len(here.calls) == 12_000
    assert there.calls.equals(here.calls)


@pytest.mark.real
@pytest.mark.usefixtures("small_ranges")
def test_a_path_is_found_from_another_folder(
    tmp_path: Path, processes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "app.log")
    monkeypatch.chdir(tmp_path)
    found = read("app.log", engine=processes)
    assert (len(found.calls), found.coverage[0].source, found.coverage[0].gap) == (6_000, "app.log", None)


@pytest.mark.real
def test_what_cannot_travel_is_read_here(tmp_path: Path, processes: str) -> None:
    path, pipe = write(tmp_path / "app.log", 100), tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    writer.start()
    found = read(path, pipe, engine=processes)
    writer.join()
    assert [coverage.calls for coverage in found.coverage] == [100, 100]


@pytest.mark.real
def test_a_format_of_the_users_own_goes_with_the_chunks(tmp_path: Path, processes: str) -> None:
    path = tmp_path / "gateway.log"
    path.write_text("2026-11-23T05:00:00Z|POST|https://a.klaviyo.com/api/events|429\n")
    own = {
        "name": "gateway",
        "pattern": r"(?P<time>\S+)\|(?P<method>[A-Z]+)\|(?P<url>\S+)\|(?P<status>\d{3})",
        "sample": path.read_text().strip(),
        "fields": {"status_code": 429},
    }
    assert read(path, engine=processes, formats=[own]).calls["status_code"].tolist() == [429]


def test_clients_and_pipes_stay_here_and_files_travel(tmp_path: Path) -> None:
    path = write(tmp_path / "app.log", 1)
    os.mkfifo(tmp_path / "pipe")
    for url, near, far in (
        ("-", True, True),
        (tmp_path / "pipe", True, True),
        ("journald:///web", False, True),
        ("loki://localhost:3100/web", False, True),
        (path, False, False),
        (f"local://{path}", False, False),
    ):
        with suppress(klaviyo_nb.errors.SourceMissing):  # journalctl
            (chunk, *_) = resolve(str(url))[0].chunks(WINDOW)
            assert (stays(chunk, far=False), stays(chunk, far=True)) == (near, far), url


def test_another_machine_knows_a_file_by_how_it_begins(tmp_path: Path) -> None:
    path = write(tmp_path / "app.log", 10)
    (chunk,) = resolve(str(path))[0].chunks(WINDOW)
    elsewhere = files.Identity("elsewhere", (0, 0), *chunk.identity[2:])  # type: ignore[attr-defined]
    seen = files.Range(str(path), 0, chunk.size, chunk.size, elsewhere)
    with seen.open(None) as opened:
        assert opened.read(memoryview(bytearray(10**6))) == chunk.size
    path.write_bytes(b"another" + path.read_bytes())
    with pytest.raises(klaviyo_nb.errors.SourceError, match="replaced"), seen.open(None):
        pass


# Secrets


def test_secrets_known_by_heart_do_not_leave_this_machine(tmp_path: Path) -> None:
    (chunk,) = resolve(str(write(tmp_path / "app.log", 1)))[0].chunks(WINDOW)
    job = Job(0, chunk, WINDOW, Redactor(b"test", (SECRET,)).text, None, about=False)
    assert SECRET.encode() in pickle.dumps(job)
    assert SECRET.encode() not in pickle.dumps(cluster.fit_to_leave([job]))


@pytest.mark.real
def test_secrets_known_by_heart_are_taken_out_of_what_comes_back(tmp_path: Path, processes: str) -> None:
    path = write(tmp_path / "app.log", 100)
    found = read(path, redact=Redactor(b"test", (SECRET,)).text, engine=processes)
    text = found.calls.to_csv()
    assert text.count("[redacted:configured-secret]") == 100
    assert SECRET not in text
    assert "ann@" not in text


@pytest.mark.real
def test_a_secret_at_the_end_of_a_message_that_is_cut_leaves_no_beginning(
    tmp_path: Path, processes: str
) -> None:
    path = tmp_path / "app.log"
    path.write_text("Klaviyo API error: 503 ".ljust(490, ".") + SECRET + "\n")
    found = read(path, redact=Redactor(b"test", (SECRET,)).text, engine=processes)
    assert found.calls["message"].tolist() == ["Klaviyo API error: 503 ".ljust(490, ".")]


# What goes wrong


@pytest.mark.real
@pytest.mark.usefixtures("small_ranges")
def test_an_error_in_one_range_is_a_gap_and_the_others_are_read(tmp_path: Path, processes: str) -> None:
    path = write(tmp_path / "app.log")

    def fail(text: str) -> str:
        return text if ", 0" not in text else text[10**9]

    found = read(path, redact=lambda text: fail(text), engine=processes)
    (coverage,) = found.coverage
    assert 5_000 < len(found.calls) < 6_000
    assert coverage.gap == "bytes 0 to 50,000: reading it failed there: IndexError: string index out of range"
    assert coverage.truncated
    assert coverage.skipped_bytes == 50_000
    assert found.calls["line_no"].isna().all()  # nobody knows how many lines came before


@pytest.mark.real
@pytest.mark.usefixtures("small_ranges")
def test_a_range_that_kills_its_worker_is_a_gap_and_the_others_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "app.log")

    def die(text: str) -> str:
        return text if ", 0" not in text else os._exit(1)  # type: ignore[return-value]

    with local_cluster(n_workers=2) as made:
        found = read(path, redact=lambda text: die(text), engine=name_of(made))
    assert found.coverage[0].gap == "bytes 0 to 50,000: the workers that read it died"
    assert 5_000 < len(found.calls) < 6_000


@pytest.mark.real
@pytest.mark.usefixtures("small_ranges")
def test_what_a_lost_worker_had_is_read_by_another(tmp_path: Path, start: Any) -> None:
    path, (_, name) = write(tmp_path / "app.log"), scheduler_of(start)
    first, _ = worker_of(start, name), worker_of(start, name)
    found = read(path, engine=name, progress=lambda *told: first.kill())
    assert (len(found.calls), found.coverage[0].gap) == (6_000, None)


@pytest.mark.real
@pytest.mark.usefixtures("small_ranges")
def test_a_cluster_that_loses_its_last_worker_is_a_gap(tmp_path: Path, start: Any) -> None:
    path, (_, name) = write(tmp_path / "app.log"), scheduler_of(start)
    only = worker_of(start, name)
    found = read(path, engine=replace(cluster.of(name), workers_s=1.5), progress=lambda *told: only.kill())
    assert found.coverage[0].gap == f"{name} lost its workers; try: --engine local"
    assert 0 < len(found.calls) < 6_000
    assert found.coverage[0].skipped_bytes > 50_000


@pytest.mark.real
@pytest.mark.usefixtures("small_ranges")
def test_a_scheduler_that_is_lost_is_a_gap_and_what_it_gave_is_kept(tmp_path: Path, start: Any) -> None:
    path, (scheduler, name) = write(tmp_path / "app.log"), scheduler_of(start)
    worker_of(start, name)
    found = read(path, engine=name, progress=lambda *told: scheduler.kill())
    assert found.coverage[0].gap == f"{name} was lost while it read; try: --engine local"
    assert 0 < len(found.calls) < 6_000


@pytest.mark.real
def test_a_file_that_workers_do_not_see_is_a_gap_that_asks_why(tmp_path: Path, threads: str) -> None:
    path = write(tmp_path / "app.log", 10)
    (chunk,) = resolve(str(path))[0].chunks(WINDOW)
    path.unlink()
    job = Job(0, chunk, WINDOW, str, None, about=False)
    ((part,),) = engine(threads, 0).map(logs.chunks.read_chunks, [[job]], lambda task: False)
    assert part.problems == ["it was replaced while it was read on worker 127.0.0.1: do the workers see the same files?"]  # fmt: skip
    assert part.failed


@pytest.mark.real
def test_a_scheduler_that_is_not_there_is_a_gap_and_other_sources_are_read(tmp_path: Path) -> None:
    have_dask()
    path, pipe = write(tmp_path / "app.log", 100), tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    writer.start()
    found = read(path, pipe, engine="dask://127.0.0.1:9")
    writer.join()
    assert [coverage.gap for coverage in found.coverage] == [
        "dask://127.0.0.1:9 cannot be reached: Connection refused; try: --engine local", None]  # fmt: skip
    assert [coverage.calls for coverage in found.coverage] == [0, 100]
    assert found.coverage[0].skipped_bytes == path.stat().st_size


@pytest.mark.real
def test_a_port_that_says_nothing_is_left_at_the_deadline(tmp_path: Path) -> None:
    have_dask()
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = read(
            write(tmp_path / "app.log", 10),
            engine=f"dask://127.0.0.1:{server.getsockname()[1]}",
            deadline=time.monotonic() + 1.0,
        )
    assert found.coverage[0].gap is not None
    assert found.coverage[0].truncated


@pytest.mark.real
@pytest.mark.parametrize(
    ("said", "why"),
    [(b"", "TimeoutError: timed out"), (b"SSH-2.0-OpenSSH_9.2\r\n" * 2, "")],
    ids=["nobody", "another"],
)
def test_a_port_where_no_scheduler_speaks_is_a_gap_without_a_deadline_too(
    tmp_path: Path, said: bytes, why: str
) -> None:
    have_dask()
    with socket.create_server(("127.0.0.1", 0)) as server:
        greeter = threading.Thread(target=greet, args=(server, said))
        greeter.start()
        other = cluster.Cluster("127.0.0.1", server.getsockname()[1], connect_s=0.5)
        gap = read(write(tmp_path / "app.log", 10), engine=other).coverage[0].gap
        server.shutdown(socket.SHUT_RDWR)
        greeter.join()
    assert f"{other.name} cannot be reached: {why}" in str(gap)


def greet(server: socket.socket, said: bytes) -> None:
    """Say the same to everybody, and hold the line."""
    with suppress(OSError), ExitStack() as lines:
        while True:
            line = lines.enter_context(server.accept()[0])
            with suppress(ConnectionError):
                line.sendall(said)


@pytest.mark.real
def test_a_cluster_without_workers_is_a_gap_with_the_next_command(tmp_path: Path) -> None:
    with local_cluster(n_workers=0) as made:
        impatient = replace(cluster.of(name_of(made)), workers_s=0.3)
        found = read(write(tmp_path / "app.log", 10), engine=impatient)
    address = name_of(made).removeprefix("dask://")
    assert found.coverage[0].gap == f"dask://{address} has no workers; try: dask worker {address}"


@pytest.mark.real
@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("raise ModuleNotFoundError(\"No module named 'klaviyo_nb'\")", "none that can be used"),
        ("__version__ = '0.0.1'", "none that can be used"),  # that one had no cluster yet
        (f"__version__, __path__ = '0.0.1', {klaviyo_nb.__path__!r}", "0.0.1"),
    ],
    ids=["none", "a very old one", "another one"],
)
def test_workers_without_this_very_version_are_told_what_to_install(
    tmp_path: Path, start: Any, text: str, has: str
) -> None:
    (tmp_path / "klaviyo_nb").mkdir()
    (tmp_path / "klaviyo_nb" / "__init__.py").write_text(text)
    _, name = scheduler_of(start)
    worker_of(start, name, PYTHONPATH=str(tmp_path))
    (coverage,) = read(write(tmp_path / "app.log", 10), engine=name).coverage
    assert coverage.gap is not None
    assert f"{name} needs klaviyo_nb {klaviyo_nb.__version__}, on tcp://127.0.0.1" in coverage.gap
    assert f"there is {has}; try: pip install 'klaviyo-nb[cluster]==" in coverage.gap


# Time


@pytest.mark.real
@pytest.mark.usefixtures("small_ranges")
def test_at_the_deadline_the_newest_lines_were_read_and_the_rest_is_a_gap(
    tmp_path: Path, processes: str
) -> None:
    path = write(tmp_path / "app.log")
    read(path, engine=processes)  # workers import what they need
    found = read(
        path,
        engine=processes,
        deadline=time.monotonic() + 6,
        redact=lambda text: (__import__("time").sleep(0.8), text)[1],
    )
    assert 0 < len(found.calls) < 6_000
    assert found.calls["timestamp"].max().value // 10**6 == 1795410000000 + 5_999
    assert found.coverage[0].gap == LATE
    assert found.coverage[0].skipped_bytes > 50_000


@pytest.mark.real
def test_a_deadline_is_told_by_the_workers_clock(threads: str) -> None:
    from distributed import Client

    def told(task: Task) -> list[Part]:
        return [Part(0, problems=[str(task[0].deadline)])]

    job = Job(0, None, WINDOW, str, 1_000.0, about=False)  # type: ignore[arg-type]
    with Client(threads.replace("dask", "tcp"), set_as_default=False) as client:
        (address,) = client.nthreads()
        (known,) = client.submit(cluster.there, told, [job], {address: 50.0}, 5.0, pure=False).result()
        (unknown,) = client.submit(cluster.there, told, [job], {}, 5.0, pure=False).result()
    assert known.problems == ["1050.0"]
    assert float(unknown.problems[0]) == pytest.approx(time.monotonic() + 5, abs=4)


@pytest.mark.real
@pytest.mark.usefixtures("small_ranges")
def test_ctrl_c_cancels_what_was_submitted(tmp_path: Path, threads: str) -> None:
    from distributed import Client

    path, told = write(tmp_path / "app.log"), []

    def stop(*said: object) -> None:
        told.append(said)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        read(path, engine=threads, progress=stop, redact=lambda text: (time.sleep(0.05), text)[1])
    assert len(told) == 1
    with Client(threads.replace("dask", "tcp"), set_as_default=False) as client:
        for _ in range(100):  # what a worker has begun, it ends
            left = client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
            if not left:
                break
            threading.Event().wait(0.05)
    assert left == 0


# The command line


def test_without_dask_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match="needs dask") as raised:
        engine("dask://127.0.0.1:8786", 0)
    assert raised.value.hint == "pip install 'klaviyo-nb[cluster]'"


@pytest.mark.parametrize("name", ["dask://", "dask://host", "dask://host:x", "dask://host:8786/path", "dask://u@host:1", "dask://[::1:8786"])  # fmt: skip
def test_a_cluster_needs_a_host_and_a_port(name: str) -> None:
    with pytest.raises(UsageError, match="not an engine"):
        engine(name, 0)


def command(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "klaviyo_nb", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environ,
    )


@pytest.mark.real
def test_the_command_line_reads_on_a_cluster(tmp_path: Path, processes: str) -> None:
    path = write(tmp_path / "app.log", 100)
    span = ("--start", "2026-11-23T05:00:00Z", "--end", "2026-11-23T07:00:00Z")
    done = command("logs", str(path), *span, "--engine", processes, "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["coverage"][0]["calls"] == 100


@pytest.mark.real
def test_the_command_line_says_what_to_type_when_there_is_no_cluster(tmp_path: Path) -> None:
    have_dask()
    done = command("logs", str(write(tmp_path / "app.log", 10)), "--engine", "dask://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: {tmp_path}/app.log: dask://127.0.0.1:9 cannot be reached: Connection refused\n"
        "try: --engine local\n"
    )


@pytest.mark.real
def test_triage_goes_on_without_the_cluster(tmp_path: Path) -> None:
    have_dask()
    closed = "http://127.0.0.1:9"
    done = command(
        "triage", "--logs", str(write(tmp_path / "app.log", 10)), "--format", "json",
        KLAVIYO_NB_API_URL=closed, KLAVIYO_NB_STATUS_URL=closed, KLAVIYO_NB_HEALTH_URL="",
        KLAVIYO_NB_ENGINE="dask://127.0.0.1:9",
    )  # fmt: skip
    gaps = {gap["signal"]: gap["reason"] for gap in json.loads(done.stdout)["gaps"]}
    assert gaps[f"{tmp_path}/app.log"].startswith("dask://127.0.0.1:9 cannot be reached")
    assert done.returncode in (10, 11)
