"""Flags win over the environment, the environment over the file; a bad value names its setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from klaviyo_nb.errors import UsageError
from klaviyo_nb.settings import ENVIRONMENT, Limits, Settings, load


def write(folder: Path, text: str) -> Path:
    (folder / "klaviyo-nb.toml").write_text(text, "utf-8")
    return folder


def test_nothing_given_is_the_defaults_of_the_contract() -> None:
    settings = load({})
    assert settings == Settings()
    assert settings.api_url == "https://a.klaviyo.com"
    assert settings.health_url == "http://localhost:3000/health"
    assert settings.deadline_s == 10.0
    assert settings.webhook_url is None
    assert settings.private_key is None


def test_flags_win_then_the_environment_then_the_file(tmp_path: Path) -> None:
    folder = write(tmp_path, 'metrics_url = "http://file:1"\nsince = "1h"\nlogs = ["file.log"]\n')
    environ = {"KLAVIYO_NB_METRICS_URL": "http://environ:2", "KLAVIYO_NB_LOGS": "one.log  two.log"}
    settings = load(environ, {"metrics_url": "http://flag:3", "logs": ("flag.log",)}, folder)
    assert (settings.metrics_url, settings.logs, settings.since) == ("http://flag:3", ("flag.log",), "1h")
    settings = load(environ, {"metrics_url": None, "logs": ()}, folder)
    assert (settings.metrics_url, settings.logs) == ("http://environ:2", ("one.log", "two.log"))
    settings = load({}, {}, folder)
    assert (settings.metrics_url, settings.logs) == ("http://file:1", ("file.log",))


def test_an_empty_variable_counts_as_not_given_but_for_the_health_url(tmp_path: Path) -> None:
    environ = dict.fromkeys(ENVIRONMENT.values(), "")
    settings = load(environ, {}, write(tmp_path, 'since = "1h"\napi_url = ""\n'))
    assert settings == Settings(health_url="", since="1h")


def test_the_key_is_kept_as_found_and_never_shown() -> None:
    settings = load(
        {"KLAVIYO_PRIVATE_KEY": "pk_0123456789\n", "KLAVIYO_NB_METRICS_TOKEN": "t0ken-of-metrics"}
    )
    assert settings.private_key == "pk_0123456789\n"
    assert "pk_0123456789" not in repr(settings)
    assert "t0ken" not in repr(settings)


def test_numbers_and_times_of_the_file_are_understood(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        "deadline = 5\nstart = 2026-11-23T05:00:00Z\n[organisation]\nworking_days = ['mon', 'Sunday']\n",
    )
    settings = load({}, {}, folder)
    assert settings.deadline_s == 5.0
    assert settings.start is not None
    assert settings.start.startswith("2026-11-23T05:00:00")
    assert settings.organisation.working_days == {0, 6}


@pytest.mark.parametrize("engine", ["local", "local:12", "dask://host.example:8786", "dask://[::1]:8786"])
def test_an_engine_is_chosen_by_flag_variable_or_file(tmp_path: Path, engine: str) -> None:
    folder = write(tmp_path, f'engine = "{engine}"\n')
    assert load({}, {}, folder).engine == engine
    assert load({"KLAVIYO_NB_ENGINE": engine}).engine == engine
    assert load({"KLAVIYO_NB_ENGINE": "local:7"}, {"engine": engine}, folder).engine == engine


def test_urls_lose_blanks_around_them_and_the_last_slash() -> None:
    assert load({"KLAVIYO_NB_API_URL": " https://a.klaviyo.com/ "}).api_url == "https://a.klaviyo.com"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KLAVIYO_NB_API_URL", "a.klaviyo.com"),
        ("KLAVIYO_NB_API_URL", "ftp://a.klaviyo.com"),
        ("KLAVIYO_NB_API_URL", "https://"),
        ("KLAVIYO_NB_API_URL", "https://a.klaviyo.com\nx"),
        ("KLAVIYO_NB_API_URL", "https://a b.example"),
        ("KLAVIYO_NB_API_URL", "https://a..b"),
        ("KLAVIYO_NB_STATUS_URL", "https://[::1"),
        ("KLAVIYO_NB_HEALTH_URL", "localhost:3000/health"),
        ("KLAVIYO_NB_WEBHOOK_URL", "/webhooks"),
        ("KLAVIYO_NB_METRICS_URL", "http://host:99999"),
        ("KLAVIYO_NB_REVISION", "newest"),
        ("KLAVIYO_NB_REVISION", "2026-07-15\r\nX-Evil: 1"),
        ("KLAVIYO_NB_SINCE", "two hours"),
        ("KLAVIYO_NB_ENGINE", "abacus"),
        ("KLAVIYO_NB_ENGINE", "local:0"),
        ("KLAVIYO_NB_ENGINE", "dask://host"),
        ("KLAVIYO_NB_START", "yesterday"),
        ("KLAVIYO_NB_END", "2026-13-01"),
        ("KLAVIYO_NB_DEADLINE", "-1s"),
        ("KLAVIYO_NB_DEADLINE", "soon"),
    ],
)
def test_a_bad_variable_is_named_with_what_to_type(variable: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        load({variable: value})
    assert caught.value.where == variable
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("since = true", "since"),
        ("since = 'x'", "since"),
        ("logs = 5", "logs"),
        ("logs = [1]", "logs"),
        ("revision = 1", "revision"),
        ("api_url = 5", "api_url"),
        ("deadline = -5.0", "deadline"),
        ("deadline = nan", "deadline"),
        ("metrics = 'http://x'", "metrics"),
        ("thresholds = []", "thresholds"),
        ("colour = 'red'", "colour"),
        ("private_key = 'pk_x'", "private_key"),
        ("metrics_token = 'x'", "metrics_token"),
        ("since = ", ""),
        ("[organisation]\ntimezone = 'Mars/Base'", "organisation.timezone"),
        ("[organisation]\ntimezone = '../etc'", "organisation.timezone"),
        ("[organisation]\ntimezone = 'Europe'", "organisation.timezone"),
        ("[organisation]\nworking_days = 5", "organisation.working_days"),
        ("[organisation]\nworking_days = []", "organisation.working_days"),
        ("[organisation]\nworking_days = ['someday']", "organisation.working_days"),
        ("[organisation]\nday_end = 24", "organisation.day_end"),
        ("[organisation]\nday_end = true", "organisation.day_end"),
        ("[organisation]\ncolour = 1", "organisation.colour"),
    ],
)
def test_a_bad_line_of_the_file_is_named_with_what_to_type(tmp_path: Path, text: str, where: str) -> None:
    with pytest.raises(UsageError) as caught:
        load({}, {}, write(tmp_path, text))
    assert "klaviyo-nb.toml" in caught.value.where
    assert caught.value.where.endswith(where)
    assert caught.value.hint


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "klaviyo-nb.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        load({}, {}, tmp_path)


def test_a_bad_flag_is_named_as_it_is_typed() -> None:
    flags: list[tuple[dict[str, Any], str]] = [
        ({"metrics_url": "x"}, "--metrics"),
        ({"deadline_s": "x"}, "--deadline"),
    ]
    for flag, name in flags:
        with pytest.raises(UsageError) as caught:
            load({}, flag)
        assert caught.value.where == name


def test_credentials_in_a_bad_url_are_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        load({"KLAVIYO_NB_METRICS_URL": "htp://ann:s3cret@host"})
    assert "s3cret" not in str(caught.value)


def test_ip_addresses_are_left_unless_the_file_says_so(tmp_path: Path) -> None:
    assert not load({}).ip_addresses
    (tmp_path / "klaviyo-nb.toml").write_text("[redaction]\nip_addresses = true\n")
    assert load({}, folder=tmp_path).ip_addresses
    (tmp_path / "klaviyo-nb.toml").write_text("[redaction]\nip_addresses = 1\n")
    with pytest.raises(UsageError, match="redaction"):
        load({}, folder=tmp_path)


def test_limits_are_sizes_times_and_counts(tmp_path: Path) -> None:
    (tmp_path / "klaviyo-nb.toml").write_text(
        '[limits]\nsource_size = "3 GB"\nsource_time = "90s"\ncalls = 1000\n'
    )
    assert load({}, folder=tmp_path).limits == Limits(90.0, 3 * 1024**3, 1000, Limits().samples)
    for wrong in ('source_size = "much"', "calls = 0", "calls = true", "speed = 3", 'source_size = "0MB"'):
        (tmp_path / "klaviyo-nb.toml").write_text(f"[limits]\n{wrong}\n")
        with pytest.raises(UsageError, match="is no such limit"):
            load({}, folder=tmp_path)
