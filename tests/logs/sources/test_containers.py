"""`docker logs` and `kubectl logs`: the real clients ask small servers of ours (engine_and_cluster.py); where
there is no such client, or what is shown is how a client ends, hand-written programs stand in its place.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import samples
from engine_and_cluster import STDERR, STDOUT, World, serve
from klaviyo_nb import logs
from klaviyo_nb.commands.log_answers import raw_lines
from klaviyo_nb.errors import SourceError, SourceMissing
from klaviyo_nb.logs.questions import by_name
from klaviyo_nb.logs.reader import LogsRead
from klaviyo_nb.logs.sources import clients, resolve
from klaviyo_nb.redact import Redactor
from klaviyo_nb.settings import Settings
from klaviyo_nb.window import Window

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
WINDOW = Window.last(timedelta(hours=2), NOW)


def call(status: int) -> str:
    return f'{{"level":"error","msg":"klaviyo","url":"https://a.klaviyo.com/api/profiles","status":{status}}}'


def read(url: str, **options: Any) -> LogsRead:
    return logs.read([url], WINDOW, redact=str, **options)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def engine(
    need: Callable[[str], str], world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[World]:
    need("docker")
    with serve(world) as port:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        yield world


@pytest.fixture
def cluster(
    need: Callable[[str], str], world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[World]:
    need("kubectl")
    with serve(world) as port:
        (tmp_path / "config").write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
            f"clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\n"
            "contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n"
        )
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        monkeypatch.setenv("HOME", str(tmp_path))  # where kubectl keeps what it discovered
        yield world


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str], None]:
    """`stand_in("docker", script)` puts a shell script of that name on the path."""

    def put(name: str, script: str) -> None:
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\n" + script)
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    return put


def pod(name: str, *statuses: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": status["name"]} for status in statuses]},
        "status": {"containerStatuses": list(statuses)} | more,
    }  # fmt: skip


def running(name: str, **last: Any) -> dict[str, Any]:
    return {"name": name, "state": {"running": {"startedAt": "2026-11-23T04:00:00Z"}}, "lastState": last}


DEPLOYMENT = {
    "kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"selector": {"matchLabels": {"app": "web"}}},
}  # fmt: skip


@pytest.mark.real
def test_docker_gives_what_the_application_wrote_to_both_of_its_streams(engine: World) -> None:
    engine.containers["web"] = [
        ("2026-11-23T04:59:59.999999999Z", STDOUT, call(500)),
        ("2026-11-23T05:00:00.000000000Z", STDOUT, call(503)),
        *((f"2026-11-23T05:10:00.00000000{n}Z", STDERR, line) for n, line in enumerate(samples.TRACE)),
        ("2026-11-23T05:10:01.000000000Z", STDOUT, "order done"),
        ("2026-11-23T06:59:59.999999999Z", STDERR, call(401)),
        ("2026-11-23T07:00:00.000000000Z", STDOUT, call(500)),
    ]
    found = read("docker://web")
    assert found.calls["status_code"].tolist() == [503, 429, 401]
    assert found.calls["endpoint"].tolist() == ["/api/profiles", "/api/events", "/api/profiles"]
    assert found.calls["retry_after_s"].tolist()[1] == 12
    assert found.calls["message"].iloc[1] == "\n".join(samples.TRACE)
    (coverage,) = found.coverage
    assert (coverage.lines, coverage.calls, coverage.gap, coverage.truncated) == (9, 3, None, False)
    assert coverage.got is not None
    assert coverage.got.start == WINDOW.start


@pytest.mark.real
def test_lines_at_the_borders_of_what_docker_is_asked_for_come_once(engine: World) -> None:
    seconds = [each * 600 for each in range(12)]
    moments = [f"{WINDOW.start + timedelta(seconds=each):%Y-%m-%dT%H:%M:%S}" for each in seconds]
    engine.containers["web"] = [
        (f"{moment}.{rest}Z", STDOUT, call(503))
        for moment in moments
        for rest in ("000000000", "000000001", "999999999")
    ]
    assert len(read("docker://web").calls) == 36


@pytest.mark.real
def test_a_container_with_a_terminal_is_read_too(engine: World) -> None:
    engine.tty = True
    engine.containers["web"] = [("2026-11-23T05:00:00.000000000Z", STDOUT, call(503) + "\r")]
    assert read("docker://web").calls["status_code"].tolist() == [503]


@pytest.mark.real
def test_a_quiet_container_is_no_gap(engine: World) -> None:
    engine.containers["web"] = []
    (coverage,) = read("docker://web").coverage
    assert (coverage.calls, coverage.lines, coverage.gap, coverage.truncated) == (0, 0, None, False)


@pytest.mark.real
def test_a_container_that_is_not_there_is_a_gap_in_the_engines_own_words(engine: World) -> None:
    (coverage,) = read("docker://klaviyo-worker").coverage
    assert coverage.gap in (
        "docker (exit status 1): Error response from daemon: No such container: klaviyo-worker",
        "docker (exit status 1): Error: No such container: klaviyo-worker",  # docker 20
    )
    assert (coverage.lines, coverage.unparsed, coverage.truncated) == (0, 0, True)


@pytest.mark.real
def test_a_container_named_like_an_option_stays_a_container(engine: World) -> None:
    (coverage,) = read("docker://--help").coverage
    assert str(coverage.gap).endswith("No such container: --help")


@pytest.mark.real
def test_an_engine_that_hangs_is_left_at_the_deadline_with_what_it_sent(engine: World) -> None:
    engine.hang = threading.Event()
    engine.containers["web"] = [("2026-11-23T06:59:00.000000000Z", STDOUT, call(503))] * 50
    found = read("docker://web", deadline=time.monotonic() + 3)
    assert len(found.calls) == 49  # the last line was kept back: it might have gone on
    assert found.coverage[0].truncated
    assert str(found.coverage[0].gap).startswith("it was still sending at the deadline")


def test_without_docker_or_kubectl_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert read("docker://web").coverage[0].gap == "docker is not installed: apt-get install docker.io"
    assert (
        read("k8s://shop/deploy/web").coverage[0].gap
        == "kubectl is not installed: apt-get install kubernetes-client"
    )


@pytest.mark.real
def test_every_container_of_every_pod_is_read_and_those_before_a_restart(cluster: World) -> None:
    ended = {"terminated": {"finishedAt": "2026-11-23T05:30:00Z", "exitCode": 1}}
    long_ago = {"terminated": {"finishedAt": "2026-11-20T05:30:00Z", "exitCode": 1}}
    cluster.objects = {
        "deployments/web": DEPLOYMENT,
        "pods/web-1": pod("web-1", running("app", **ended), running("proxy")),
        "pods/web-2": pod("web-2", running("app", **long_ago)),
        "pods/other": pod("other", running("app"))
        | {"metadata": {"name": "other", "labels": {"app": "other"}}},
    }
    cluster.logs = {
        ("web-1", "app", False): [("2026-11-23T06:00:00.123456789Z", line) for line in samples.TRACE],
        ("web-1", "app", True): [
            ("2026-11-23T05:20:00.123456789Z", call(503)),
            ("2026-11-23T04:20:00Z", call(500)),
        ],
        ("web-1", "proxy", False): [("2026-11-23T06:10:00Z", call(502)), ("2026-11-23T06:10:00Z", "")],
        ("web-2", "app", False): [("2026-11-23T06:20:00Z", call(401))],
    }
    found = read("k8s://shop/deploy/web")
    assert found.calls["status_code"].tolist() == [503, 429, 502, 401]
    assert found.calls["host"].tolist() == ["web-1/app", "web-1/app", "web-1/proxy", "web-2/app"]
    assert found.calls["message"].iloc[1] == "\n".join(samples.TRACE)
    (coverage,) = found.coverage
    assert (coverage.gap, coverage.truncated) == (None, False)


@pytest.mark.real
@pytest.mark.parametrize(("restarts", "began", "told"), [(7, 5, True), (7, 4, False), (1, 5, False)])
def test_that_earlier_instances_than_the_last_are_lost_is_told(
    cluster: World, restarts: int, began: int, told: bool
) -> None:
    last = {"startedAt": f"2026-11-23T0{began}:10:00Z", "finishedAt": "2026-11-23T05:30:00Z", "exitCode": 1}
    cluster.objects = {
        "pods/web-1": pod("web-1", running("app", terminated=last) | {"restartCount": restarts})
    }
    cluster.logs = {
        ("web-1", "app", True): [("2026-11-23T05:20:00Z", call(503))],
        ("web-1", "app", False): [],
    }
    (coverage,) = read("k8s://shop/pod/web-1").coverage
    gap = "app of web-1 was restarted 7 times: only the last log is kept"
    assert (coverage.calls, coverage.gap, coverage.truncated) == (1, gap if told else None, told)


@pytest.mark.real
def test_a_workload_without_pods_or_logs_is_not_taken_for_a_quiet_one(cluster: World) -> None:
    cluster.objects = {"deployments/web": DEPLOYMENT}
    (coverage,) = read("k8s://shop/deploy/web").coverage
    assert coverage.gap == "it has no pod now: what earlier ones wrote is gone from the cluster"
    waiting = {"name": "app", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    cluster.objects["pods/web-1"] = pod("web-1", waiting)
    assert not read("k8s://shop/deploy/web").coverage[0].whole


@pytest.mark.real
def test_a_container_waiting_to_be_started_again_is_read_once(cluster: World) -> None:
    waiting = {
        "name": "app", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"finishedAt": "2026-11-23T06:30:00Z"}},
    }  # fmt: skip
    cluster.objects = {
        "pods/web-1": pod(
            "web-1", waiting, {"name": "new", "state": {"waiting": {"reason": "ContainerCreating"}}}
        )
    }
    cluster.logs = {
        ("web-1", "app", previous): [("2026-11-23T06:20:00Z", call(503))] for previous in (False, True)
    }
    found = read("k8s://shop/pod/web-1")
    assert found.calls["status_code"].tolist() == [503]
    assert found.coverage[0].gap is None


@pytest.mark.real
def test_a_service_selects_by_plain_labels(cluster: World) -> None:
    service = {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}},
    }
    cluster.objects = {"services/web": service, "pods/web-1": pod("web-1", running("app"))}
    cluster.logs = {("web-1", "app", False): [("2026-11-23T06:20:00Z", call(503))]}
    assert len(read("k8s://shop/svc/web").calls) == 1


@pytest.mark.real
def test_a_workload_that_is_not_there_or_selects_nothing_is_a_gap(cluster: World) -> None:
    cluster.objects = {
        "services/bare": {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "bare"}, "spec": {}}
    }
    gaps = [read(f"k8s://shop/{each}").coverage[0].gap for each in ("deploy/web", "svc/bare", "pod/--all")]
    assert gaps[0] == 'kubectl (exit status 1): Error from server (NotFound): deployments "web" not found'
    assert gaps[1] == "svc/bare selects no pods"
    assert str(gaps[2]).startswith("kubectl (exit status 1): ")


@pytest.mark.real
def test_a_log_that_a_cluster_refuses_is_a_gap_and_the_others_are_kept(cluster: World) -> None:
    cluster.objects = {"pods/web-1": pod("web-1", running("app"), running("gone"))}
    cluster.logs = {("web-1", "app", False): [("2026-11-23T06:20:00Z", call(503))]}
    (coverage,) = read("k8s://shop/pod/web-1").coverage
    assert coverage.calls == 1
    assert coverage.truncated
    assert (
        coverage.gap
        == 'kubectl (exit status 1): Error from server (BadRequest): container "gone" in pod "web-1" not found'
    )


def test_a_cluster_that_does_not_answer_is_a_gap_at_the_deadline(
    stand_in: Callable[[str, str], None],
) -> None:
    stand_in("kubectl", "exec sleep 60\n")
    (coverage,) = read("k8s://shop/deploy/web", deadline=time.monotonic() + 0.3).coverage
    assert coverage.gap == "kubectl did not answer in time"


def test_a_client_is_ended_with_what_it_started(stand_in: Callable[[str, str], None], tmp_path: Path) -> None:
    stand_in("docker", f"sleep 61 & echo $! > {tmp_path}/child; echo 2026-11-23T06:59:00.0Z x; wait\n")
    found = read("docker://web", deadline=time.monotonic() + 1)
    assert found.coverage[0].truncated
    try:
        child = os.pidfd_open(int((tmp_path / "child").read_text()))
    except ProcessLookupError:
        return  # it is gone, and somebody took notice
    assert select.select([child], [], [], 30)[0]  # readable: it is dead
    os.close(child)


def test_what_a_client_complains_of_with_status_0_is_kept(stand_in: Callable[[str, str], None]) -> None:
    stand_in("docker", "echo 'unable to retrieve container logs for containerd://abc'\n")
    (coverage,) = read("docker://web").coverage
    assert coverage.gap == "docker (exit status 0): unable to retrieve container logs for containerd://abc"
    assert not coverage.truncated


def test_what_a_client_complains_of_is_redacted(stand_in: Callable[[str, str], None]) -> None:
    key = "pk_0123456789abcdef0123456789abcdef01"
    stand_in("docker", f"echo 'cannot log in with {key}' >&2\nexit 1\n")
    found = logs.read(["docker://web"], WINDOW, redact=Redactor(b"key").text)
    asked = logs.ask(by_name("overview"), ["docker://web"], WINDOW, redact=Redactor(b"key").text)
    for (coverage,) in (found.coverage, asked.coverage):
        assert str(coverage.gap) == "docker (exit status 1): cannot log in with [redacted:klaviyo-key]"
    with pytest.raises(SourceError, match=r"line 3 was not reached: docker .*log in with \[redacted:kla"):
        raw_lines(Settings(logs=("docker://web",)), 3)


def test_what_a_client_complains_of_before_it_is_read_is_redacted_for_a_raw_line_too(
    stand_in: Callable[[str, str], None],
) -> None:
    stand_in("kubectl", "echo 'NotFound: pk_0123456789abcdef0123456789abcdef01' >&2\nexit 1\n")
    with pytest.raises(SourceMissing, match=r"NotFound: \[redacted:klaviyo-key\]"):
        raw_lines(Settings(logs=("k8s://shop/deploy/web",)), 3)


@pytest.mark.parametrize("size", [1, 7, 4_096])
def test_timestamps_become_a_runtimes_wherever_a_read_ends(
    stand_in: Callable[[str, str], None], tmp_path: Path, size: int
) -> None:
    long = "x" * 5_000
    text = f"2026-11-23T05:00:00.1Z a\n[pod/web-1/app] 2026-11-23T05:00:00+01:00 b {long}\nbare\n\n2026-11-23T05:00:01Z \n2026-11-23T05:00:02Z 2026-11-23T05:00:03Z c"
    (tmp_path / "out").write_text(text)
    stand_in("docker", f"cat {tmp_path}/out\n")
    got = b""
    with clients.stamped("docker://web", ["docker"], None) as opened:
        memory = bytearray(size)
        while count := opened.read(memoryview(memory)):
            got += memory[:count]
    assert got.decode() == (
        f"2026-11-23T05:00:00.1Z stdout F a\n[pod/web-1/app] 2026-11-23T05:00:00+01:00 stdout F b {long}\nbare\n\n"
        "2026-11-23T05:00:01Z stdout F \n2026-11-23T05:00:02Z stdout F 2026-11-23T05:00:03Z c"
    )
    assert opened.problems == ["docker (exit status 0): bare"]


def test_selectors_say_what_the_workload_says(stand_in: Callable[[str, str], None], tmp_path: Path) -> None:
    stand_in(
        "kubectl",
        f'echo "$@" >> {tmp_path}/asked\ncase "$*" in *selector*) echo \'{{"items": []}}\';; *) cat {tmp_path}/object;; esac\n',
    )
    (tmp_path / "object").write_text(
        '{"kind": "StatefulSet", "spec": {"selector": {"matchLabels": {"app": "web"}, "matchExpressions": ['
        '{"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "old", "operator": "DoesNotExist"},'
        '{"key": "team", "operator": "Exists"}, {"key": "env", "operator": "NotIn", "values": ["dev"]}]}}}'
    )
    (source,) = resolve("k8s://shop/sts/web")
    with pytest.raises(SourceMissing, match="no pod now"):
        source.chunks(WINDOW)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[0] == "get --namespace=shop --output=json -- sts/web"
    assert asked[1].endswith("--selector=app=web,tier in (a,b),!old,team,env notin (dev)")


def test_a_program_that_cannot_be_run_is_said_to_be_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docker").write_bytes(b"\x7fELF nonsense")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="docker"), clients.printed("docker://web", ["docker"], None):
        os._exit(3)
