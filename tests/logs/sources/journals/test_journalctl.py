from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import journals
import pytest

import samples
from klaviyo_nb import logs
from klaviyo_nb.commands.log_answers import look_at_logs, read_logs, render_logs
from klaviyo_nb.logs.sources.journals.journalctl import Journal
from klaviyo_nb.settings import Settings
from klaviyo_nb.window import Window

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
WINDOW = Window.last(timedelta(hours=2), NOW)


@pytest.fixture
def journal(need: Callable[[str], str], tmp_path: Path) -> Callable[..., Path]:
    """`journal((minute, message[, unit]), …)` is a real journal file with these entries."""
    need("journalctl")
    if not Path(journals.REMOTE).exists():
        need("systemd-journal-remote")

    def make(*messages: tuple[float, bytes, str] | tuple[float, bytes]) -> Path:
        folder = tmp_path / "journal"
        folder.mkdir()
        return journals.written(
            folder / "web.journal",
            (journals.entry(WINDOW.start + timedelta(minutes=at), *what) for at, *what in messages),
        )

    return make


@pytest.mark.real
def test_a_word_is_found_wherever_it_stands_in_an_entry(journal: Callable[..., Path]) -> None:
    path = journal(
        (1, b"twick " * 20_000 + b" KLAVIYO API error: 503"),
        (2, b"two lines\nand KlaViyo API error: 502"),
        (3, b"kwtvci kl klav webhoo throttle " * 100),
    )
    assert logs.read([str(path)], WINDOW, redact=str).calls["status_code"].tolist() == [503, 502]


@pytest.mark.real
def test_a_real_journal_file_is_read(journal: Callable[..., Path]) -> None:
    path = journal(
        (-5, b"Klaviyo API error: 500"),
        (1, b"Klaviyo API error: 503 - unavailable"),
        (2, b"order done"),
        (3, b"\x1b[31mKLAVIYO API error: 502\x1b[0m"),
        (4, b"klaviyo caf\xe9 \xff answered 401"),
        (5, b"Klaviyo API error: 429 " + b"x" * 20_000),
        (59, b"order done"),
        *((60 + n / 1000, line.encode()) for n, line in enumerate(samples.TRACE)),
        (70, b"klaviyo plugin loaded"),
        (80, b"[Webhook] Invalid signature rejected"),
        (121, b"Klaviyo API error: 500"),
    )
    found = logs.read([str(path)], WINDOW, redact=str)
    assert found.calls["status_code"].tolist() == [503, 502, 401, 429, 429]
    assert found.calls["endpoint"].iloc[-1] == "/api/events"
    assert set(found.calls["host"]) == {"web-1"}
    assert set(found.calls["worker"]) == {"17"}
    assert found.calls["offset"].isna().all()
    assert found.calls["timestamp"].iloc[0] == WINDOW.start + timedelta(minutes=1)
    assert found.webhooks["outcome"].tolist() == ["bad_signature"]
    (coverage,) = found.coverage
    assert (coverage.calls, coverage.unparsed, coverage.gap, coverage.truncated) == (5, 1, None, False)


@pytest.mark.real
def test_a_folder_of_journals_is_read(journal: Callable[..., Path]) -> None:
    path = journal((1, b"Klaviyo API error: 503"))
    assert len(logs.read([str(path.parent)], WINDOW, redact=str).calls) == 1


@pytest.mark.real
def test_a_unit_about_klaviyo_need_not_name_it(journal: Callable[..., Path]) -> None:
    path = journal((1, b"request failed with status code 503"), (2, b"order done"))
    renamed = path.rename(path.with_name("klaviyo-sync.journal"))
    assert logs.read([str(renamed)], WINDOW, redact=str).calls["status_code"].tolist() == [503]


@pytest.mark.real
def test_a_journal_without_an_entry_about_klaviyo_is_no_gap(journal: Callable[..., Path]) -> None:
    (coverage,) = logs.read([str(journal((1, b"order done")))], WINDOW, redact=str).coverage
    assert (coverage.calls, coverage.gap, coverage.truncated) == (0, None, False)


@pytest.mark.real
def test_the_live_journal_is_asked_for_the_unit(need: Callable[[str], str]) -> None:
    need("journalctl")
    found = logs.read(["journald:///no-such-unit-here.service"], WINDOW, redact=str)
    assert found.calls.empty
    assert found.coverage[0].source == "journald:///no-such-unit-here.service"


def test_without_journalctl_the_source_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    (coverage,) = logs.read(["journald:///shop.service"], WINDOW, redact=str).coverage
    assert coverage.gap == "journalctl is not installed: apt-get install systemd"


def test_slices_cover_the_window_once_the_newest_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "journalctl"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    slices = Journal("journald:///web", ("--unit=web",)).chunks(WINDOW)
    assert slices[0].until == WINDOW.end.timestamp() * 1e6 - 1  # type: ignore[attr-defined]
    assert slices[-1].since == WINDOW.start.timestamp() * 1e6  # type: ignore[attr-defined]
    for newer, older in itertools.pairwise(slices):
        assert newer.since - older.until == 1  # type: ignore[attr-defined]
    command = slices[0].command()  # type: ignore[attr-defined]
    assert "--unit=web" in command
    assert "--all" in command
    assert f"--until=@{WINDOW.end.timestamp() - 1:.0f}.999999" in command


def test_what_journalctl_says_on_stderr_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "journalctl"
    program.write_text(
        "#!/bin/sh\necho 'No journal files were opened due to insufficient permissions.' >&2\nexit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (coverage,) = logs.read(["journald:///web"], WINDOW, redact=str).coverage
    assert (
        coverage.gap
        == "journalctl (exit status 1): No journal files were opened due to insufficient permissions."
    )


@pytest.mark.parametrize(("unit", "whole"), [("web", True), ("wbe", False)])
def test_a_unit_that_there_is_not_is_not_taken_for_a_quiet_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unit: str, whole: bool
) -> None:
    program = tmp_path / "journalctl"
    program.write_text(
        '#!/bin/sh\ncase "$*" in *--output=json*) exit 1;; *--unit=web*--output=cat*) echo order done;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    settings = Settings(logs=(f"journald:///{unit}",))
    found = read_logs(settings)
    assert found.coverage[0].whole == whole
    if whole:
        assert "it is there, and has no line that was asked for" in render_logs(found, (), "text").decode()
    else:
        assert "there is no line of it, in the window or before" in str(found.coverage[0].gap)
        assert look_at_logs(found) == "systemctl list-units --all 'wbe*'"


def test_journals_that_may_not_be_read_are_a_gap_though_json_does_not_tell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of an ordinary user, who may read the journal of that user alone. The words are those of systemd 252."""
    program = tmp_path / "journalctl"
    program.write_text("""#!/bin/sh
case "$*" in *--output=json*) exit 1;; esac
echo "Hint: You are currently not seeing messages from other users and the system.
      Users in groups 'adm', 'systemd-journal' can see all messages.
      Pass -q to turn off this notice." >&2
echo "-- No entries --"
""")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (coverage,) = logs.read(["journald:///web"], WINDOW, redact=str).coverage
    assert coverage.truncated
    assert coverage.gap == (
        "journalctl: You are currently not seeing messages from other users and the system."
        " Users in groups 'adm', 'systemd-journal' can see all messages."
    )
