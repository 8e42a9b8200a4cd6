"""How fast is redaction where there is nothing to take out, and beside a secret scanner?

    python tests/benchmarks/bench_redact.py [MB]

Data: lines of web servers and applications without secrets, and the same with an address in one of a hundred. The rival is
`detect-secrets`, on a thousandth of it, because it needs that long. Work is checked: clean text comes back as it
was, and no address is left. Figures are per core, of processor time, the best of three. One process takes the rules' clues to Hyperscan once,
before the clock runs; how long that takes is printed.
"""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Callable, Iterator

from detect_secrets.core.scan import scan_line
from detect_secrets.settings import default_settings

from klaviyo_nb.redact import Redactor

KINDS = (
    "{t} web-{h} INFO  http request_id={r} method=GET path=/api/items/{n} status=200 took={d}ms bytes={b}",
    '{{"time":"{t}","level":"info","msg":"POST https://a.klaviyo.com/api/events 202","host":"web-{h}","trace":"{x}","duration_ms":{d}}}',
    '10.1.2.{h} - - [{t}] "GET /products/{n} HTTP/1.1" 200 {b} "-" "Mozilla/5.0 (X11; Linux x86_64)"',
    "{t} WARN  [worker-{h}] retry of job {n} in {d} ms, queue depth {b}",
)


def lines(size: int) -> Iterator[str]:
    """So many bytes of them."""
    rng = random.Random(5)
    while size > 0:
        line = rng.choice(KINDS).format(
            t=f"2026-11-23T05:{rng.randrange(60):02d}:{rng.randrange(60):02d}.{rng.randrange(1000):03d}Z",
            h=rng.randrange(16), n=rng.randrange(10**6), d=rng.randrange(900), b=rng.randrange(10**5),
            x=f"{rng.getrandbits(128):032x}", r=f"{rng.getrandbits(32):08x}-7425-40de-944b-{rng.getrandbits(48):012x}",
        )  # fmt: skip
        size -= len(line) + 1
        yield line


def seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def main() -> None:
    size = int(sys.argv[1] if len(sys.argv) > 1 else 64) * 10**6
    told = list(lines(size))
    clean = "\n".join(told)
    dirty = "\n".join(
        f"{line} for ann{at}@example.com" if at % 100 == 0 else line for at, line in enumerate(told)
    )
    few = told[: max(len(told) // 1000, 100)]
    began = time.process_time()
    redact = Redactor(b"k").text
    redact("x")
    ready = time.process_time() - began
    assert redact(clean) == clean
    after = redact(dirty)
    assert "@example.com" not in after
    assert len(re.findall("email-[0-9a-f]{8}", after)) == dirty.count("@")
    ours, with_hits = size / seconds(lambda: redact(clean)) / 1e6, size / seconds(lambda: redact(dirty)) / 1e6
    with default_settings():
        theirs = sum(map(len, few)) / seconds(lambda: [list(scan_line(line)) for line in few]) / 1e6
    print(f"ready after                  {ready * 1000:9.0f} ms")
    print(f"no hits                      {ours:9.1f} MB/s per core (at least 150 wanted)")
    print(f"an address in 1 of 100 lines {with_hits:9.1f} MB/s per core")
    print(f"detect-secrets, no hits      {theirs:9.3f} MB/s per core")
    print(f"ratio                        {ours / theirs:9.0f} x")


if __name__ == "__main__":
    main()
