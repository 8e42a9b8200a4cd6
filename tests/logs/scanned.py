"""What a scan finds, one by one."""

from __future__ import annotations

from collections.abc import Iterable

from klaviyo_nb.logs.found import Found, Record


def each_of(found: Iterable[Found]) -> list[Record]:
    """All records, as they stand in the stream."""
    return [record for each in found for record in sorted([*each.objects.records(), *each.few, *each.others])]
