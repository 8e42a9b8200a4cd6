"""Real metrics servers for tests: Prometheus with backfilled blocks, VictoriaMetrics, all with the same samples."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx

Need = Callable[[str], str]
KINDS = {
    "klaviyo_api_requests_total": "counter",
    "klaviyo_api_errors_total": "counter",
    "klaviyo_api_duration_seconds": "histogram",
    "klaviyo_rate_limit_remaining": "gauge",
    "ALERTS": "gauge",
}


@dataclass
class Samples:
    """Family → series → time and value of each sample [s since the epoch]."""

    samples: dict[str, dict[str, list[tuple[float, float]]]] = field(
        default_factory=lambda: {family: {} for family in KINDS}
    )

    def add(self, family: str, series: str, at: float, value: float) -> None:
        self.samples[family].setdefault(series, []).append((at, value))

    def openmetrics(self) -> str:
        lines = []
        for family, series in self.samples.items():
            lines.append(f"# TYPE {family.removesuffix('_total')} {KINDS[family]}")
            lines += [f"{name} {value:.15g} {at:.3f}" for name, rows in series.items() for at, value in rows]
        return "\n".join([*lines, "# EOF", ""])

    def exposition(self) -> str:
        """Prometheus text; times in milliseconds."""
        return "".join(
            f"{name} {value:.15g} {at * 1000:.0f}\n"
            for series in self.samples.values()
            for name, rows in series.items()
            for at, value in rows
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], ready: str, log: Path) -> Iterator[None]:
    """A server, from the moment it answers `ready`."""
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            deadline = time.monotonic() + 20
            while not _answers(ready):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
            yield
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1, trust_env=False).is_success
    except httpx.TransportError:
        return False


@contextmanager
def prometheus(
    need: Need,
    folder: Path,
    samples: Samples,
    config: str = "global: {scrape_interval: 15s}\n",
    version: str = "",
) -> Iterator[str]:
    text, data, yml = folder / "samples.txt", folder / "data", folder / "prometheus.yml"
    text.write_text(samples.openmetrics())
    yml.write_text(config)
    backfill = [need(f"promtool{version}"), "tsdb", "create-blocks-from", "openmetrics", str(text), str(data)]
    subprocess.run(backfill, check=True, capture_output=True, timeout=60)
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        need(f"prometheus{version}"),
        f"--config.file={yml}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=10y",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--rules.alert.resend-delay=1s",  # it looks for an Alertmanager only after the first has been sent
    ]
    with running(command, f"{url}/-/ready", folder / "prometheus.log"):
        yield url


@contextmanager
def victoria(need: Need, folder: Path, samples: Samples, version: str = "") -> Iterator[str]:
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        need(f"victoria-metrics{version}"),
        f"-storageDataPath={folder / 'vm'}",
        f"-httpListenAddr={url.removeprefix('http://')}",
        "-retentionPeriod=10y",
    ]
    with running(command, f"{url}/health", folder / "vm.log"):
        answer = httpx.post(f"{url}/api/v1/import/prometheus", content=samples.exposition(), trust_env=False)
        assert answer.is_success, answer.text
        assert httpx.get(f"{url}/internal/force_flush", trust_env=False).is_success
        yield url


#: By the name of their program. Debian's stable release has Prometheus 2 and a VictoriaMetrics of 2022.
SERVERS = {
    "prometheus": prometheus,
    "prometheus-3": partial(prometheus, version="-3"),
    "victoria-metrics": victoria,
    "victoria-metrics-new": partial(victoria, version="-new"),
}
