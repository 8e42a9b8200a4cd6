"""What collectors make of an application's lines: the same text in each of their clothes."""

from __future__ import annotations

import json
from collections.abc import Callable

STAMP = "2026-11-23T05:00:00.250000"
#: What every wrapper but `plain` says: when a line was taken, in microseconds since 1970.
MOMENT = 1795410000250000


def plain(lines: list[str]) -> list[str]:
    """As the application wrote it."""
    return lines


def docker(lines: list[str]) -> list[str]:
    """Docker's json-file driver."""
    return [json.dumps({"log": f"{line}\n", "stream": "stderr", "time": f"{STAMP}000Z"}) for line in lines]


def cri(lines: list[str]) -> list[str]:
    """Kubernetes' CRI, whose long lines are cut: here after 1,000 characters."""
    out = []
    for line in lines:
        pieces = [line[at : at + 1_000] for at in range(0, len(line), 1_000)] or [""]
        flags = ["P"] * (len(pieces) - 1) + ["F"]
        out += [f"{STAMP}000Z stderr {flag} {piece}" for flag, piece in zip(flags, pieces, strict=True)]
    return out


def journal(lines: list[str]) -> list[str]:
    """`journalctl -o json`, one entry per line."""
    return [_entry(line) for line in lines]


def journal_whole(lines: list[str]) -> list[str]:
    """One entry for all lines, as a service that logs to the journal itself writes it."""
    return [_entry("\n".join(lines))]


def journal_bytes(lines: list[str]) -> list[str]:
    """The same as an array of bytes, which is what journald makes of text with control characters."""
    return [_entry(list("\n".join([*lines, "\x1b[0m"]).encode()))]


def syslog(lines: list[str]) -> list[str]:
    """BSD syslog, RFC 3164."""
    return [f"Nov 23 05:00:00.250 web-1 shop[41]: {line}" for line in lines]


def syslog5424(lines: list[str]) -> list[str]:
    """Syslog, RFC 5424."""
    return [f"<11>1 {STAMP}Z web-1 shop 41 - - {line}" for line in lines]


def _entry(message: object) -> str:
    return json.dumps(
        {
            "__REALTIME_TIMESTAMP": str(MOMENT),
            "_HOSTNAME": "web-1",
            "SYSLOG_IDENTIFIER": "shop",
            "_PID": "41",
            "PRIORITY": "3",
            "COREDUMP": None,  # too long: journalctl writes null
            "MESSAGE": message,
        },
        separators=(",", ":"),
    )


WRAPPERS: tuple[Callable[[list[str]], list[str]], ...] = (
    plain, docker, cri, journal, journal_whole, journal_bytes, syslog, syslog5424,
)  # fmt: skip
