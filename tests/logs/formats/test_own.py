from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from klaviyo_nb.errors import UsageError
from klaviyo_nb.logs.formats.own import own_formats
from klaviyo_nb.logs.reader import read
from klaviyo_nb.settings import load
from klaviyo_nb.window import Window

DAY = Window(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
PIPES: dict[str, Any] = {
    "name": "egress gateway",
    "pattern": r"(?P<time>\S+)\|(?P<host>[\w-]+)\|(?P<method>[A-Z]+)\|(?P<url>\S+?)\|st(?P<status>\d{3})\|(?P<duration>\d+)(?P<unit>us)\|(?P<request_id>\S+)",
    "sample": "20261123T050000|gw-1|POST|a.klaviyo.com/api/events|st429|52000us|9225fc5e-0c5e-4a2e-9be1-1d6a4c8a7f10",
    "fields": {"timestamp": datetime(2026, 11, 23, 5, tzinfo=UTC), "host": "gw-1", "method": "POST", "endpoint": "/api/events",
               "status_code": 429, "duration_s": 0.052, "request_id": "9225fc5e-0c5e-4a2e-9be1-1d6a4c8a7f10"},
}  # fmt: skip
KEYS: dict[str, Any] = {
    "name": "bus",
    "keys": {"timestamp": "w", "status": "r.st", "url": "r.u", "method": "r.v", "duration_ms": "r.el", "caller": "j"},
    "sample": '{"w":1795410000,"j":"sync","r":{"st":"503","u":"https://a.klaviyo.com/api/lists","v":"get","el":1500}}',
    "fields": {"timestamp": "2026-11-23T05:00:00+00:00", "status_code": 503, "endpoint": "/api/lists", "method": "GET", "duration_s": 1.5,
               "caller": "sync"},
}  # fmt: skip
KEYS["fields"]["timestamp"] = datetime(2026, 11, 23, 5, tzinfo=UTC)


@pytest.mark.parametrize("engine", ["local", "local:2"])
def test_a_format_from_the_file_is_read_without_code(tmp_path: Path, engine: str) -> None:
    path = tmp_path / "app.log"
    lines = [PIPES["sample"], KEYS["sample"], '{"level":30,"msg":"klaviyo GET /api/tags 200"}']
    path.write_text("".join(f"{line}\n" for line in lines * 2))
    calls = read([str(path)], DAY, redact=str, formats=[PIPES, KEYS], engine=engine).calls
    assert calls["status_code"].tolist() == [429, 503, 429, 503, 200, 200]
    assert calls["duration_s"].tolist()[:2] == [0.052, 1.5]
    assert calls["parsed"].tolist()[:2] == [True, True]
    assert read([str(path)], DAY, redact=str).calls["duration_s"].tolist()[:2] != [0.052, 1.5]


def test_a_key_of_the_users_wins_over_one_that_is_known_by_name(tmp_path: Path) -> None:
    known = {"url": "https://a.klaviyo.com/api/tags", "method": "GET", "status": 200}
    own = {"name": "x", "keys": {"status": "real"}, "sample": json.dumps(known | {"real": 500}), "fields": {"status_code": 500}}  # fmt: skip
    path = tmp_path / "app.log"
    path.write_text(f"{json.dumps(known | {'real': 429})}\n{json.dumps(known)}\n")
    calls = read([str(path)], DAY, redact=str, formats=[own]).calls
    assert calls["status_code"].tolist() == [429, 200]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"pattern": "(?P<status"}, "pattern"),
        ({"pattern": r"(?P<colour>\w+)"}, "pattern"),
        ({"pattern": r"never (?P<status>\d+)"}, "pattern"),
        ({"fields": {"status_code": 200}}, "fields.status_code"),
        ({"fields": {}}, "fields"),
        ({"sample": 7}, "sample"),
        ({"keys": {"status": "s"}}, "'egress gateway'"),
        ({"patern": "x"}, "patern"),
        ({"pattern": None, "keys": {"stat": "s"}}, "keys.stat"),
        ({"pattern": None, "keys": ["status"]}, "keys"),
        ({"pattern": None, "keys": {"level": "l"}, "sample": '{"l":"info"}'}, "sample"),
    ],
)
def test_a_malformed_format_is_named(change: dict[str, Any], where: str) -> None:
    table = {name: value for name, value in (PIPES | change).items() if value is not None}
    with pytest.raises(UsageError) as caught:
        own_formats([table])
    assert caught.value.where.endswith(where)
    assert caught.value.hint


def test_the_file_has_formats(tmp_path: Path) -> None:
    (tmp_path / "klaviyo-nb.toml").write_text(
        "[[log_format]]\nname = 'x'\nkeys = { status = 's' }\nsample = '{\"s\":429}'\nfields = { status_code = 429 }\n"
    )
    assert own_formats(load({}, None, tmp_path).log_format)[0].keys == (("status", "s"),)
    (tmp_path / "klaviyo-nb.toml").write_text("log_format = 'x'")
    with pytest.raises(UsageError, match="log_format"):
        load({}, None, tmp_path)


def test_the_readmes_example_is_right() -> None:
    readme = Path(__file__).parents[3] / "README.md"
    text = readme.read_text("utf-8").split("```toml\n")[1].split("```")[0]
    assert [each.name for each in own_formats(tomllib.loads(text)["log_format"])] == ["egress gateway"]
