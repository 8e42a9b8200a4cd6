"""What became of a call that failed."""

from __future__ import annotations

import pytest

from klaviyo_nb.klaviyo.outcomes import outcome


@pytest.mark.parametrize(
    ("status", "error", "who", "became"),
    [
        (202, None, None, None),
        (None, None, None, None),
        (429, None, None, "refused"),
        (408, None, None, "refused"),
        (425, None, None, "refused"),
        (503, None, "klaviyo", "refused"),
        (403, None, "challenge", "refused"),
        (407, None, "proxy", "refused"),
        (None, "dns", None, "refused"),
        (None, "refused", None, "refused"),
        (500, None, None, "unknown"),
        (502, None, "edge", "unknown"),
        (504, None, None, "unknown"),
        (525, None, "edge", "unknown"),
        (None, "timeout", None, "unknown"),
        (None, "reset", None, "unknown"),
        (400, None, None, "fix_first"),
        (401, None, None, "fix_first"),
        (403, None, "klaviyo", "fix_first"),
        (404, None, None, "fix_first"),
        (409, None, None, "fix_first"),
        (410, None, None, "fix_first"),
    ],
)
def test_an_answer_tells_whether_the_call_may_have_been_accepted(
    status: int | None, error: str | None, who: str | None, became: str | None
) -> None:
    assert outcome(status, error, who) == became
