"""Reading an answer: who gave it, and what a failing call looks like from outside."""

from __future__ import annotations

from typing import Literal

#: What a failing call looks like from outside.
#: `unauthorized` 401 · `forbidden` 403 by Klaviyo's application · `throttled` 429 · `invalid` another 4xx by
#: Klaviyo's application · `server` 5xx, edge pages, challenges, resets, hangs · `unreachable` DNS, refusal,
#: TLS, proxy, portal.
Failure = Literal["unauthorized", "forbidden", "throttled", "invalid", "server", "unreachable"]
