"""The `[thresholds]` table of `klaviyo-nb.toml`."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from klaviyo_nb.diagnosis.thresholds import Thresholds, from_table
from klaviyo_nb.errors import UsageError


def test_what_is_not_named_stays_as_it_is() -> None:
    assert from_table({}) == Thresholds()
    changed = from_table({"noise_share": 0.1, "slow_p95_s": 5, "good_rounds": 3.0})
    assert changed == Thresholds(noise_share=0.1, slow_p95_s=5.0, good_rounds=3)
    assert isinstance(changed.good_rounds, int)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        *(("slow_p95_s", value, "a number above 0") for value in (0, -1, "3", True, nan, inf, [3])),
        *(("noise_share", value, "a share above 0 and at most 1") for value in (5, 1.01, 0.0, "5 %")),
        *(("noise_failures", value, "a whole number above 0") for value in (0.5, 4.7, 0, False, inf, nan)),
    ],
)
def test_a_value_that_would_silence_or_confuse_the_diagnosis_is_refused(
    name: str, value: Any, wanted: str
) -> None:
    with pytest.raises(UsageError) as caught:
        from_table({name: value})
    assert caught.value.where == f"klaviyo-nb.toml: thresholds.{name}"
    assert caught.value.what == f"{value!r} is not {wanted}"
    assert caught.value.hint == f"{name} = {getattr(Thresholds(), name)}"


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no such threshold") as caught:
        from_table({"noize": 3})
    assert "noise_share" in str(caught.value.hint)
