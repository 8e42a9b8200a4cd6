from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from klaviyo_nb.logs.formats.table import Format, formats
from klaviyo_nb.logs.formats.understand import Told, understand

NEAR = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
SAMPLES = [(each, text, fields) for each in formats() for text, fields in each.samples]


def differing(told: Told, fields: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Field → (found, expected) where they differ."""
    found = told.fields | {"timestamp": told.moment}
    wanted = dict(fields)
    if "timestamp" in wanted:
        wanted["timestamp"] = round(datetime.fromisoformat(wanted["timestamp"]).timestamp() * 1e6)
    approximately = {
        name: pytest.approx(value) if isinstance(value, float) else value for name, value in wanted.items()
    }
    return {
        name: (found.get(name), value) for name, value in approximately.items() if found.get(name) != value
    }


@pytest.mark.parametrize(("each", "text", "fields"), SAMPLES, ids=lambda value: getattr(value, "name", ""))
def test_a_sample_gives_its_fields(each: Format, text: str, fields: dict[str, Any]) -> None:
    told = understand(text.encode(), NEAR)
    assert told.kind == ("call" if fields else "mention")
    assert differing(told, fields) == {}
    assert not fields or told.fields["parsed"] or not (each.pattern or each.has)


@pytest.mark.parametrize("each", formats(), ids=lambda each: each.name)
def test_a_format_has_a_specification_and_samples(each: Format) -> None:
    assert each.spec.startswith("https://")
    assert each.samples
    assert (each.pattern is not None) + bool(each.has) + bool(each.by) == 1
